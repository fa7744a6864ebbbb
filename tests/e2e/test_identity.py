"""A batch that was edited: outputs of another command are told as that, and done again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sc.storage import open_storage
from tests.e2e.program import Program

BEFORE: list[dict[str, Any]] = [{"cmd": "echo one"}, {"cmd": "echo two; exit 3"}]
AFTER: list[dict[str, Any]] = [{"cmd": "echo NEW"}, *BEFORE]


class Place:
    """A place of either kind, and a batch and a recipe for it."""

    def __init__(self, program: Program, folder: Path, url: str) -> None:
        self.url, self._program, self.folder = url, program, folder

    def batch(self, runs: list[dict[str, Any]], **head: Any) -> None:
        document = {"remote_output_path": self.url, "nprocs": 2, **head, "runs": runs}
        (self.folder / "b.json").write_text(json.dumps(document))

    def recipe(self, **spec: Any) -> None:
        document = {"type": "job", "spec": {"name": "j", "instance_type": "local", **spec}}
        (self.folder / "r.json").write_text(json.dumps(document))

    def sc(self, *words: str, code: int = 0) -> tuple[str, str]:
        done = self._program.run(*words, cwd=self.folder, environment=dict(os.environ))
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    def counts(self) -> Mapping[str, int]:
        counts: Mapping[str, int] = json.loads(self.sc("summarize-batch", "b.json", "--json")[0])[
            "counts"
        ]
        words = ("completed", "failed", "not_stored", "incomplete")
        assert sum(counts[word] for word in words) == len(
            json.loads((self.folder / "b.json").read_text())["runs"]
        )
        return counts

    def skipped(self) -> int:
        words = (
            "split",
            "r.json",
            "b.json",
            "cut",
            "--skip-completed",
            "--skip-failures",
            "--dry-run",
            "--json",
        )
        told = json.loads(self.sc(*words)[0])
        return int(told["skipped_completed"] + told["skipped_failed"])


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, program: Program, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(program, tmp_path, str(tmp_path / "out"))
    request.getfixturevalue("s3_environment")
    return Place(program, tmp_path, f"s3://{request.getfixturevalue('bucket')}/out")


def test_run_inserted_at_the_top_is_told_wherever_the_run_is_told_of(place: Place) -> None:
    place.batch(BEFORE)
    place.sc("batch", "b.json", code=1)
    place.batch(AFTER)
    counts = place.counts()
    assert (counts["completed"], counts["failed"], counts["incomplete"]) == (0, 0, 3)
    assert counts["runs_with_changed_command"] == 2
    told = json.loads(place.sc("summarize-batch", "b.json", "--json")[0])["runs"]
    assert [("another command" in one.get("reason", ""), one["status_code"]) for one in told] == [
        (True, None),
        (True, None),
        (False, None),
    ]
    assert "2 runs have the outputs of another command" in place.sc("summarize-batch", "b.json")[1]
    for words in (
        ("logs", "b.json", "0"),
        ("logs", "b.json", "0", "-f"),
        ("logs", "b.json", "0", "--attempt", "1"),
    ):
        out, err = place.sc(*words)
        assert out == "one\n"
        assert "those of another command" in err
    assert "another command" in json.loads(place.sc("logs", "b.json", "0", "--json")[0])["reason"]
    out, err = place.sc("logs", "b.json", "--failed")
    assert (out, "another command" in err) == ("", True)
    _, err = place.sc("rerun", "b.json", "--failed")
    assert "--incomplete" in err
    out, err = place.sc("pull", "b.json", "here", "--json")
    assert (json.loads(out)["runs_with_changed_command"], "another command" in err) == (2, True)
    assert json.loads(place.sc("pull", "b.json", "failed", "--failed", "--json")[0])["objects"] == 0
    out, err = place.sc("report", "b.json", "-o", "r.html", "--json")
    assert (json.loads(out)["incomplete"], "another command" in err) == (3, True)
    assert "another command" in (place.folder / "r.html").read_text()
    place.sc("rerun", "b.json", "--incomplete", "--save", code=1)
    counts = place.counts()
    assert (counts["completed"], counts["failed"], counts["runs_with_changed_command"]) == (2, 1, 0)


CHANGES: Mapping[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    # head of the batch, both of its runs, spec of the recipe
    "folder of the batch": ({"working_directory": "/"}, {}, {}),
    "folder of a run": ({}, {"working_directory": "sub"}, {}),
    "folder of the recipe": ({}, {}, {"working_directory": "sub"}),
    "env of the batch": ({"env": {"A": "1"}}, {}, {}),
    "env of a run": ({}, {"env": {"A": "1"}}, {}),
    "env of the recipe": ({}, {}, {"environment_variables": {"A": "1"}}),
    "gpus": ({}, {"gpus": 0.5}, {}),
}
NO_CHANGES: Mapping[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "times": ({"timeout": 60, "retries": 0}, {"expected_time": 5}, {"max_hours": 2, "scale": 2}),
    "results": ({"nprocs": 1}, {"local_results_dir": "kept"}, {}),
    "folder written otherwise": ({"working_directory": "./"}, {}, {"working_directory": "."}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_split_skips_no_run_of_which_something_that_decides_has_changed(
    program: Program, tmp_path: Path, name: str
) -> None:
    head, run, spec = CHANGES[name]
    (tmp_path / "sub").mkdir()
    place = Place(program, tmp_path, str(tmp_path / "out"))
    runs: list[dict[str, Any]] = [{"cmd": "true"}, {"cmd": ["sh", "-c", "exit 3"]}]
    place.recipe()
    place.batch(runs)
    place.sc("split", "r.json", "b.json", "cut", "--start", "--wait", code=1)
    assert place.skipped() == 2
    if "gpus" not in run:
        place.recipe(**spec)
        place.batch([{**one, **run} for one in runs], **head)
        assert place.skipped() == 0
        place.sc("split", "r.json", "b.json", "cut", "--start", "--wait", code=1)
        assert place.skipped() == 2
        place.recipe()
        place.batch(runs)
        assert place.skipped() == 0
    assert place.counts()["runs_with_changed_command"] == (0 if spec or "gpus" in run else 2)


@pytest.mark.parametrize("name", NO_CHANGES)
def test_split_skips_what_is_the_same_run_still(
    program: Program, tmp_path: Path, name: str
) -> None:
    head, run, spec = NO_CHANGES[name]
    place = Place(program, tmp_path, str(tmp_path / "out"))
    place.batch([{"cmd": "true"}])
    place.sc("batch", "b.json")
    place.recipe(**spec)
    place.batch([{"cmd": "true", **run}], **head)
    assert place.skipped() == 1


def test_variables_of_the_recipe_that_the_run_gives_itself_do_not_matter(
    program: Program, tmp_path: Path
) -> None:
    place = Place(program, tmp_path, str(tmp_path / "out"))
    place.batch([{"cmd": "true", "env": {"A": "1"}}])
    place.sc("batch", "b.json")
    for value, skipped in (("1", 1), ("2", 1)):
        place.recipe(environment_variables={"A": value})
        assert place.skipped() == skipped
    place.recipe(environment_variables={"B": "1"})
    assert place.skipped() == 0


def test_records_of_earlier_versions_count_by_their_hash(place: Place) -> None:
    runs = [{"cmd": "true", "working_directory": "/"}]
    place.batch(runs)
    place.recipe(environment_variables={"A": "1"})
    place.sc("batch", "b.json")
    storage = open_storage()
    entries = [e.place for e in storage.list(f"{place.url}/.sc/batch/records")]
    for entry in entries:
        lines = [json.loads(line) for line in storage.get(entry).decode().splitlines()]
        old = [{k: v for k, v in line.items() if "identity" not in k} for line in lines]
        storage.put(entry, "".join(json.dumps(line) + "\n" for line in old).encode())
    assert place.skipped() == 1
    assert place.counts()["completed"] == 1
    place.batch([{**runs[0], "cmd": "echo other"}])
    assert place.skipped() == 0
    storage.delete(entries)  # as after Saturn's client
    assert place.skipped() == 1
