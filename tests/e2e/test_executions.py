"""Executions of the same runs, and of others in the same place; over a folder and over S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import Program
from tests.servers import S3Server

LIMIT_SECONDS = 90
WAITS = "touch {here}/began-{name}; until [ -e {here}/go-{name} ]; do sleep 0.05; done; "


@dataclass
class Place:
    """Where outputs go, and a folder of batch files."""

    program: Program
    folder: Path
    place: str
    environment: Mapping[str, str]
    client: Any = None
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def batch(self, name: str, commands: Mapping[str, str], **more: Any) -> str:
        runs = [{"cmd": cmd, "remote_output_path": path} for path, cmd in commands.items()]
        document = {"remote_output_path": self.place, "runs": runs, **more}
        (self.folder / name).write_text(json.dumps(document))
        return name

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.program.run(*words, cwd=self.folder, environment=self.environment)

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = self.program.start(*words, cwd=self.folder, environment=self.environment)
        self.started.append(process)
        return process

    def waits(self, name: str) -> str:
        """Until `go`; that it has begun is seen by `wait_for`."""
        return WAITS.format(here=self.folder, name=name)

    def wait_for(self, *names: str) -> None:
        wait_until(lambda: all((self.folder / f"began-{name}").exists() for name in names))

    def go(self, *names: str) -> None:
        for name in names:
            (self.folder / f"go-{name}").touch()

    def files(self) -> dict[str, str]:
        """All that is stored there, without what jobs keep."""
        return {name: text for name, text in self._all() if not name.startswith(".sc/")}

    def leases(self) -> list[str]:
        return [name for name, _ in self._all() if "/leases/" in name]

    def _all(self) -> list[tuple[str, str]]:
        if self.client is None:
            root = Path(self.place)
            paths = sorted(path for path in root.rglob("*") if path.is_file())
            return [(str(path.relative_to(root)), text_of(path)) for path in paths]
        bucket, _, prefix = self.place[len("s3://") :].partition("/")
        found = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return [(one["Key"][len(prefix) + 1 :], self._read(bucket, one["Key"])) for one in found]

    def _read(self, bucket: str, key: str) -> str:
        try:
            body = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return ""
        return str(body.decode("utf-8", "replace"))


def text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def wait_until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.05)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, program: Program, tmp_path: Path) -> Iterator[Place]:
    one = Place(program, tmp_path, str(tmp_path / "out"), {})
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("seaweed")
        bucket: str = request.getfixturevalue("bucket")
        one.place, one.environment = f"s3://{bucket}/out", server.environment()
        one.client = server.client()
    try:
        yield one
    finally:
        for process in one.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, told = process.communicate(timeout=LIMIT_SECONDS)
    return process.returncode, told


SECOND: Sequence[Sequence[str]] = (
    ("batch", "both.json"),
    ("batch", "some.json", "--name", "other"),
    ("rerun", "both.json", "1", "--save"),
    ("split", "recipe.yaml", "both.json", "commands", "--start"),
)


def test_a_second_execution_of_a_run_is_refused_and_changes_nothing(place: Place) -> None:
    (place.folder / "recipe.yaml").write_text(
        "type: job\nspec:\n  name: trial\n  instance_type: local\n"
    )
    place.batch("both.json", {"0": "echo old", "1": "echo old"})
    assert place.run("batch", "both.json", "--quiet").returncode == 0
    place.batch("first.json", {"1": place.waits("1") + "echo first"})
    place.batch("some.json", {"1": "echo second", "2": "echo second"})
    first = place.start("batch", "first.json")
    place.wait_for("1")
    before = place.files(), place.leases()
    for second in SECOND:
        refused = place.run(*second)
        assert refused.returncode == 3, refused.stderr
        told = refused.stderr
        assert f"{place.place}/1 is being executed by " in told
        assert f"(process {first.pid}) since 20" in told
        assert "wait for its end, or stop it there; nothing was changed here" in told
        assert (place.files(), place.leases()) == before, second
    place.go("1")
    assert end(first)[0] == 0
    assert place.files()["1/stdout"] == "first\n"
    assert place.files()["0/stdout"] == "old\n"
    assert place.run("rerun", "both.json", "1", "--save").returncode == 0
    assert place.leases() == []


def test_parts_of_one_batch_run_side_by_side_in_one_place(place: Place) -> None:
    commands = {part: place.waits(part) + f"echo {part}" for part in "abc"}
    for part, command in commands.items():
        place.batch(f"{part}.json", {part: command})
    started = [place.start("batch", f"{part}.json") for part in "abc"]
    place.wait_for("a", "b", "c")
    place.go("a", "b", "c")
    assert [end(one)[0] for one in started] == [0, 0, 0]
    found = place.files()
    assert [found[f"{part}/stdout"] for part in "abc"] == ["a\n", "b\n", "c\n"]
    assert [found[f"{part}/status_code"] for part in "abc"] == ["0", "0", "0"]
    assert place.leases() == []
    place.batch("all.json", commands)
    told = json.loads(place.run("summarize-batch", "all.json", "--json").stdout)
    assert [one["status_code"] for one in told["runs"]] == [0, 0, 0]


def test_max_jobs_takes_only_the_runs_that_it_executes(place: Place) -> None:
    place.batch("all.json", {"0": place.waits("0"), "1": "echo second"})
    place.batch("last.json", {"1": "echo other"})
    first = place.start("batch", "all.json", "--max-jobs", "1")
    place.wait_for("0")
    assert place.run("batch", "last.json").returncode == 0
    place.go("0")
    assert end(first)[0] == 0


def test_after_a_kill_the_same_batch_can_be_started_at_once(place: Place) -> None:
    place.batch("batch.json", {"0": place.waits("0") + "echo first"})
    killed = place.start("batch", "batch.json")
    place.wait_for("0")
    killed.kill()  # it stays a zombie, as with a shell that has not looked yet
    place.go("0")
    began = time.monotonic()
    again = place.run("batch", "batch.json")
    assert again.returncode == 0, again.stderr
    assert "may have died" not in again.stderr
    assert time.monotonic() - began < 45, "a lease of a minute was not waited for"
    assert place.files()["0/stdout"] == "first\n"
    assert place.leases() == []
    killed.communicate()


def test_a_batch_is_refused_what_a_job_works_on_and_gets_the_rest(place: Place) -> None:
    (place.folder / "recipe.yaml").write_text(
        "type: job\nspec:\n  name: trial\n  instance_type: local\n"
    )
    place.batch("job.json", {"0": "echo job; exit 3", "1": place.waits("1")}, nprocs=1)
    place.batch("all.json", {"0": "echo batch", "1": "echo batch", "2": "echo batch"})
    place.batch("rest.json", {"2": "echo batch"})
    words = ["split", "recipe.yaml", "job.json", "commands", "--start"]
    started = place.run(*words)
    assert started.returncode == 0, started.stderr
    try:
        place.wait_for("1")
        refused = place.run("batch", "all.json")
        assert refused.returncode == 3, refused.stderr
        assert f"by the job {place.place}/.sc/trial, which " in refused.stderr
        assert f"sc stop {place.place}/.sc/trial" in refused.stderr
        assert place.run("batch", "rest.json").returncode == 0
    finally:
        place.go("1")
    assert place.run("watch", "commands").returncode == 1
    assert place.run("batch", "all.json").returncode == 0
    assert place.files()["0/stdout"] == "batch\n"


INTERRUPTIONS = {"ctrl-c": signal.SIGINT, "term": signal.SIGTERM, "kill": signal.SIGKILL}


@pytest.mark.parametrize("number", INTERRUPTIONS.values(), ids=INTERRUPTIONS.keys())
def test_what_was_completed_and_is_not_done_again_outlives_an_interruption(
    place: Place, number: signal.Signals
) -> None:
    place.batch("quick.json", {str(run): f"echo old {run}" for run in range(12)})
    assert place.run("batch", "quick.json", "--quiet").returncode == 0
    commands = {str(run): "echo new" for run in range(2)}
    commands.update({str(run): place.waits(str(run)) for run in range(2, 12)})
    place.batch("slow.json", commands)
    slow = place.start("batch", "slow.json", "--nprocs", "2", "--keep-order")
    place.wait_for("2", "3")
    wait_until(lambda: place.files().get("1/stdout") == "new\n")
    slow.send_signal(number)
    slow.communicate(timeout=LIMIT_SECONDS)
    found = place.files()
    assert [found.get(f"{run}/status_code", "") for run in range(2, 4)] == ["", ""]
    assert {found.get(f"{run}/status_code") for run in range(4, 12)} == {"0"}
    assert [found[f"{run}/stdout"] for run in range(4, 12)] == [
        f"old {run}\n" for run in range(4, 12)
    ]
