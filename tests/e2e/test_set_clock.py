"""The clock of a machine is set in the middle of a job: back, forward, for ever. No run is lost or done twice.

The real clock is nobody's to set. A small library (set_clock.c) moves what `sc` is told, of times of files, too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sc.model import Outcome
from sc.storage import local_clock
from tests.e2e.faults import BATCH, SPLIT, Record, Trial, wait_until
from tests.e2e.program import Program
from tests.servers import S3Server

HOUR, DECADE = 3600, 10 * 366 * 86400
STEPS = (-HOUR, HOUR, DECADE, 1000 - int(time.time()))
"""The last one leads to January 1970."""
RUNS = 5

if sys.version_info < (3, 11):
    pytest.skip(
        "before 3.11 Python itself waits by the clock that can be set", allow_module_level=True
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("library") / "set_clock.so"
    source = Path(__file__).with_name("set_clock.c")
    if shutil.which("cc") is None or not sys.platform.startswith("linux"):
        pytest.skip("it needs a C compiler, and Linux")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(made), str(source)], check=True)
    return made


class Machine(Trial):
    """One whose clock can be set."""

    def preload(self, library: Path) -> None:
        clock = {"SC_TEST_CLOCK": str(self.folder / "clock"), "LD_PRELOAD": str(library)}
        met = {"SC_TEST_CLOCK_MET": str(self.folder / "met")}
        self.environment = {**self.environment, **clock, **met}

    def assert_met(self, least: int, record: Record) -> None:
        """So many processes have been told another time after the clock was set."""
        met = len((self.folder / "met").read_bytes())
        record("processes that met the clock", met)
        assert met >= least

    def write_gated(self, place: str = "") -> None:
        """All but the first are over at once, and the first waits for `go`. Each notes that it has begun."""
        self.write(RUNS, place, nprocs=1)
        gate = f"until test -e {self.folder}/go; do sleep 0.05; done"
        runs = [
            {
                "cmd": f"echo begun >> {self.folder}/run-{number}; {gate if not number else 'true'}; exit {number}"
            }
            for number in range(RUNS)
        ]
        document = {"remote_output_path": self.place, "nprocs": 1, "runs": runs}
        (self.folder / "batch.json").write_text(json.dumps(document))

    def set_clock(self, seconds: int) -> None:
        half = self.folder / "clock.half"
        # From the next second on: what was written before must keep its time.
        moment = int(time.time()) + 1
        half.write_text(f"{moment} {seconds}")
        half.rename(self.folder / "clock")
        wait_until(lambda: time.time() >= moment, "the clock is set")

    def begun(self) -> list[int]:
        """How often each run was."""
        files = [self.folder / f"run-{number}" for number in range(RUNS)]
        return [file.read_text().count("begun") if file.exists() else 0 for file in files]

    def assert_told_right(self) -> None:
        """By everything that looks at what was done, with the clock as it is now."""
        told = self.run("summarize-batch", "batch.json", "--json")
        counts = {"failed": RUNS - 1, "completed": 1, "not_stored": 0, "incomplete": 0}
        assert json.loads(told.stdout)["counts"].items() >= counts.items()
        told = self.run("report", "batch.json", "-o", "report.html", "--json")
        assert json.loads(told.stdout)["records"] == RUNS
        told = self.run("split", "recipe.yaml", "batch.json", "rest", "--skip-completed", "--json")
        assert json.loads(told.stdout)["included"] == RUNS - 1


@pytest.fixture
def machines(program: Program, tmp_path: Path, library: Path) -> Iterator[list[Machine]]:
    """One for each step."""
    made = []
    for number in range(len(STEPS)):
        (tmp_path / str(number)).mkdir()
        made.append(Machine(program, tmp_path / str(number)))
        made[-1].preload(library)
    try:
        yield made
    finally:
        for one in made:
            one.end_all()


def records(folder: Path) -> list[Outcome]:
    files = folder.glob("out/.sc/*/records/*.jsonl")
    return [Outcome.from_line(line) for file in files for line in file.read_text().splitlines()]


def test_no_claim_is_stolen_when_the_clock_is_set(
    machines: list[Machine], record_property: Record
) -> None:
    """One worker has a long run, the other has nothing to do but to look for what it may take over."""
    running = []
    for one in machines:
        one.write_gated()
        running.append(one.start(*SPLIT, "--batch-size", "1"))
    for one in machines:
        wait_until(lambda one=one: one.begun() == [1] * RUNS, "all runs have begun")
    for one, seconds in zip(machines, STEPS):
        one.set_clock(seconds)
    time.sleep(1.5 * local_clock.FRESH_SECONDS)  # nobody can see that the idle worker has looked
    for one in machines:
        (one.folder / "go").touch()
    for one, process in zip(machines, running):
        ended = one.end(process)
        assert ended.returncode == 1, ended.stderr
        one.assert_met(3, record_property)  # who waits for the end, and each worker
        assert f"1 completed, {RUNS - 1} failed" in ended.stderr
        assert one.begun() == [1] * RUNS
        told = records(one.folder)
        assert sorted(record.code or 0 for record in told) == list(range(RUNS))
        assert all(0 <= record.ended - record.started < 120 for record in told)
        watched = one.run("watch", "commands", "--json")
        assert (watched.returncode, json.loads(watched.stdout.splitlines()[-1])["failed"]) == (
            1,
            RUNS - 1,
        )
        one.assert_told_right()
        one.assert_nothing_left()


def test_a_batch_into_s3_goes_on_when_the_clock_is_set(
    machines: list[Machine], s3_environment: S3Server, bucket: str, record_property: Record
) -> None:
    running = []
    for number, one in enumerate(machines):
        one.environment = {**one.environment, **s3_environment.environment()}
        one.write_gated(f"s3://{bucket}/{number}")
        running.append(one.start(*BATCH))
    for one, seconds in zip(machines, STEPS):
        wait_until(lambda one=one: one.begun()[0] == 1, "the first run has begun")
        one.set_clock(seconds)
        (one.folder / "go").touch()
    for one, process in zip(machines, running):
        ended = one.end(process)
        assert ended.returncode == 1, ended.stderr
        one.assert_met(2, record_property)
        assert one.begun() == [1] * RUNS
        one.assert_told_right()
        one.assert_nothing_left()
