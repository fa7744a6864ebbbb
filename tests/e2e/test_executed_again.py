"""A place in which runs are executed again: at its end there is exactly what the last execution made."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from sc.storage import Storage, open_storage
from tests.e2e.program import Program
from tests.faulty_s3 import FaultyS3, faulty_s3
from tests.processes.conftest import wait_until
from tests.servers import S3Server

RECIPE = "type: job\nspec: {name: again, instance_type: local, scale: 2}\n"
NAMES = ("a", "a1", "a-b", "a!", "results/1", "b/results", "b/attempts/1", "é é")
PRINTED = ("status_code", "stderr", "stdout")
ATTEMPT = ("attempts/1/stderr", "attempts/1/stdout")


class Place:
    """A place of either kind, and what lies there."""

    def __init__(self, program: Program, folder: Path, url: str) -> None:
        self.url, self._program, self._folder = url, program, folder
        (folder / "recipe.yaml").write_text(RECIPE)

    def write(self, commands: Mapping[str, str], retries: int = 0) -> None:
        """The batch: a command for each name."""
        runs = [
            {"cmd": cmd, "remote_output_path": f"{self.url}/{name}", "retries": retries}
            for name, cmd in commands.items()
        ]
        batch = {"remote_output_path": self.url, "nprocs": 4, "runs": runs}
        (self._folder / "batch.json").write_text(json.dumps(batch))

    def sc(self, *words: str, code: int = 0) -> str:
        done = self._program.run(*words, cwd=self._folder, environment=dict(os.environ))
        assert done.returncode == code, done.stderr
        return done.stdout

    def split(self, *words: str, code: int = 0) -> None:
        self.sc(
            "split", "recipe.yaml", "batch.json", "commands", *words, "--start", "--wait", code=code
        )

    def objects(self) -> Mapping[str, bytes]:
        """All but what jobs keep."""
        storage: Storage = open_storage()
        below = len(self.url) + 1
        listed = (entry.place for entry in storage.list(self.url))
        return {
            one[below:]: storage.get(one) for one in listed if not one[below:].startswith(".sc/")
        }


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, program: Program, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(program, tmp_path, str(tmp_path / "out"))
    request.getfixturevalue("s3_environment")
    return Place(program, tmp_path, f"s3://{request.getfixturevalue('bucket')}/out")


def making(*files: str, exit_at: int = 0) -> str:
    """A command that leaves these results, and fails in its attempts before that one."""
    made = [
        f"mkdir -p $SATURN_RUN_LOCAL_RESULTS_DIR/$(dirname {file}); echo > $SATURN_RUN_LOCAL_RESULTS_DIR/{file}"
        for file in files
    ]
    return "; ".join([*made, f"test $SATURN_RUN_ATTEMPT -ge {exit_at}"])


def expected(names: Sequence[str], *files: str) -> list[str]:
    return sorted(f"{name}/{file}" for name in names for file in files)


FIRST = making("a", "d/a", "d/e/status_code", exit_at=2)


def test_a_second_batch_leaves_nothing_of_the_first(place: Place) -> None:
    place.write(dict.fromkeys(NAMES, FIRST), retries=1)
    place.sc("batch", "batch.json")
    first = ("results/a", "results/d/a", "results/d/e/status_code")
    assert sorted(place.objects()) == expected(NAMES, *PRINTED, *ATTEMPT, *first)
    place.write(dict.fromkeys(NAMES, making("b")))
    place.sc("batch", "batch.json")
    assert sorted(place.objects()) == expected(NAMES, *PRINTED, "results/b")


def test_batch_split_and_rerun_each_leave_what_they_made(place: Place) -> None:
    place.write(dict.fromkeys(NAMES, making("d")))
    place.split()
    place.write(dict.fromkeys(NAMES, FIRST), retries=1)
    place.sc("batch", "batch.json")
    place.write(dict.fromkeys(NAMES, making("b/x", exit_at=3)), retries=2)
    place.split()
    attempts = (*ATTEMPT, "attempts/2/stderr", "attempts/2/stdout")
    assert sorted(place.objects()) == expected(NAMES, *PRINTED, *attempts, "results/b/x")
    place.write({**dict.fromkeys(NAMES, making("b/x")), "a": making("c") + "; exit 3"})
    place.sc("rerun", "batch.json", "0", "--save", code=1)
    others = [name for name in NAMES if name != "a"]
    assert sorted(place.objects()) == sorted(
        expected(["a"], *PRINTED, "results/c")
        + expected(others, *PRINTED, *attempts, "results/b/x")
    )


def test_a_skipped_run_keeps_all_that_it_has(place: Place) -> None:
    place.write({"a": FIRST, "b": "exit 1"}, retries=1)
    place.sc("batch", "batch.json", code=1)
    before = {key: data for key, data in place.objects().items() if key.startswith("a/")}
    place.split("--skip-completed", code=1)
    after = place.objects()
    assert {key: data for key, data in after.items() if key.startswith("a/")} == before
    assert sorted(set(after) - set(before)) == expected(["b"], *PRINTED, *ATTEMPT)


def test_a_second_pull_has_what_the_last_execution_made(place: Place, tmp_path: Path) -> None:
    place.write(dict.fromkeys(NAMES, FIRST), retries=1)
    place.sc("batch", "batch.json")
    place.sc("pull", "batch.json", "here")
    mine = tmp_path / "here/a/results/mine"
    mine.write_text("0")
    pulled_at = time.time()
    wait_until(lambda: time.time() > pulled_at + 2, "storages tell whole seconds")
    place.write({**dict.fromkeys(NAMES, making("b")), "a": making("a")})
    place.sc("batch", "batch.json")
    told = json.loads(place.sc("pull", "batch.json", "here", "--json"))
    # Of each run two of the attempt, and three results of which one run made one again.
    assert told["removed"] == 5 * len(NAMES) - 1
    here = {
        str(path.relative_to(tmp_path / "here")): path.read_bytes()
        for path in (tmp_path / "here").rglob("*")
        if path.is_file() and path.name not in (".sc-pull", "mine")
    }
    assert here == place.objects()
    assert mine.exists()


@pytest.fixture(scope="module")
def proxy(seaweed: S3Server) -> Iterator[FaultyS3]:
    with faulty_s3(seaweed) as one:
        yield one


def test_executing_again_costs_one_list_where_nothing_was(
    program: Program, proxy: FaultyS3, seaweed: S3Server, tmp_path: Path
) -> None:
    """Lists and deletes of a batch into a fresh place, beside others' outputs, and over its own."""
    line, place = proxy.line(), f"s3://{seaweed.bucket()}/out"
    counts = []
    for names in (range(20), range(20, 40), range(20)):
        runs = [{"cmd": making("a"), "remote_output_path": f"{place}/{name}"} for name in names]
        (tmp_path / "batch.json").write_text(
            json.dumps({"remote_output_path": place, "runs": runs})
        )
        before = line.tally()
        done = program.run("batch", "batch.json", cwd=tmp_path, environment=line.environment())
        assert done.returncode == 0, done.stderr
        after = line.tally()
        counts.append((after.lists - before.lists, after.deletes - before.deletes))
    (fresh, release), beside, over = counts
    assert release == 1  # of the lease on the runs
    # One LIST is for the records of the one before, which tell how long runs take; the other is for what lies there.
    assert beside == (fresh + 2, release)
    # Each run loses what it had when it starts: status_code first, then the rest; several together where they can.
    assert over[0] == fresh + 2
    assert release + 2 <= over[1] <= release + 2 * len(range(20))
