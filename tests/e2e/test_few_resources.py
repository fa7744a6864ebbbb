"""Few open files, few processes, little memory: the real `sc` makes do with what there is, or says so in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.faults import BATCH, SPLIT, Count, Record, Trial, wait_until
from tests.e2e.program import Program
from tests.processes.test_oom import HUNGRY, oom_kills, small_group
from tests.servers import S3Server

__all__ = ["small_group"]  # a fixture

STRANGER = 20000 + os.getpid() % 40000
"""A user with no other process, those of other tests that go on beside this one included; root is exempt from a limit
of processes."""
CAPABILITIES = "-all,+dac_override,+dac_read_search"
"""It can read what root can, and is bound by its limits nevertheless."""


@pytest.fixture(params=["folder", "s3"])
def place(
    request: pytest.FixtureRequest, trial: Trial, s3_environment: S3Server, bucket: str
) -> str:
    """Where outputs go."""
    trial.environment = s3_environment.environment()
    return f"s3://{bucket}/out" if request.param == "s3" else ""


@pytest.mark.parametrize(("files", "nprocs"), [(64, 4), (64, 16), (64, 64), (32, 64)])
def test_few_open_files_are_enough_for_fewer_slots(
    trial: Trial, place: str, files: int, nprocs: int, record_property: Record
) -> None:
    trial.before = ["prlimit", f"--nofile={files}:{files}"]
    count = Count(trial, "EMFILE")
    trial.write(24, place, nprocs=nprocs)
    ended = trial.run(*BATCH)
    assert ended.returncode == 0, ended.stderr
    trial.assert_all_whole()
    trial.assert_nothing_left()
    if nprocs == 64:
        count.assert_met(record_property)


def test_two_workers_with_few_open_files(trial: Trial, place: str, record_property: Record) -> None:
    trial.before = ["prlimit", "--nofile=64:64"]
    count = Count(trial, "EMFILE")
    trial.write(12, place, nprocs=64)
    ended = trial.run(*SPLIT)
    assert ended.returncode == 0, ended.stderr
    trial.assert_all_whole()
    trial.assert_nothing_left()
    count.assert_met(record_property)


@pytest.mark.parametrize("files", [8, 10, 12, 14])
def test_too_few_open_files_are_told(trial: Trial, files: int, record_property: Record) -> None:
    trial.before = ["prlimit", f"--nofile={files}:{files}"]
    count = Count(trial, "EMFILE")
    trial.write(4, nprocs=4)
    for words in (BATCH, SPLIT):
        ended = trial.run(*words)
        assert ended.returncode == 3
        assert "open files" in ended.stderr
        count.assert_met(record_property)
        assert trial.whole() == set()
    trial.assert_nothing_left()


@pytest.fixture
def open_trial(program: Program, trial: Trial) -> Iterator[Trial]:
    """In a folder that every user can reach."""
    if os.geteuid() != 0:
        pytest.skip("to become another user needs root")
    folder = Path(tempfile.mkdtemp(prefix="sc-test-", dir="/tmp"))
    one = Trial(program, folder)
    try:
        yield one
    finally:
        one.end_all()
        shutil.rmtree(folder)


def as_stranger(trial: Trial, processes: int) -> None:
    """Let it be called by a user who may have so many processes, threads included."""
    (trial.folder / "home").mkdir()
    for folder in (trial.folder, trial.folder / "home", trial.temp):
        folder.chmod(0o777)
    home = trial.folder / "home"
    user = [
        "setpriv",
        f"--reuid={STRANGER}",
        "--clear-groups",
        f"--inh-caps={CAPABILITIES}",
    ]
    trial.before = ["prlimit", f"--nproc={processes}:{processes}", *user]
    trial.before += [f"--ambient-caps={CAPABILITIES}"]
    trial.environment = {**trial.environment, "HOME": str(home), "XDG_CACHE_HOME": ""}


@pytest.mark.parametrize("processes", [14, 24])
def test_few_processes_are_enough_for_fewer_slots(
    open_trial: Trial, trial: Trial, place: str, processes: int
) -> None:
    """As many keepers as could be made would leave no room for what they keep. The runs start no process themselves."""
    open_trial.environment = trial.environment
    open_trial.write(0, place)
    as_stranger(open_trial, processes)
    (open_trial.folder / "batch.txt").write_text("echo printed\n" * 16)
    where = ["--remote-output-path", open_trial.place]
    ended = open_trial.run("batch", "batch.txt", "--nprocs", "64", *where)
    assert ended.returncode == 0, ended.stderr
    assert "16 completed" in ended.stderr
    open_trial.assert_nothing_left()


def test_no_process_at_all_is_told(open_trial: Trial) -> None:
    open_trial.write(4)
    as_stranger(open_trial, 2)
    for words in (BATCH, SPLIT):
        ended = open_trial.run(*words)
        assert ended.returncode == 3
        assert ended.stderr.splitlines()[-1].startswith("sc: ")
        assert open_trial.whole() == set()
    open_trial.assert_nothing_left()


def test_a_run_that_the_kernel_kills_for_want_of_memory_harms_no_other(
    trial: Trial, small_group: Path, record_property: Record
) -> None:
    """All of `sc` is in the same small control group: the kernel takes the largest."""
    trial.write(8, free=4)
    document = json.loads((trial.folder / "batch.json").read_text())
    for number, run in enumerate(document["runs"]):
        run["remote_output_path"] = str(number)
    hungry = {"cmd": [sys.executable, "-c", HUNGRY], "remote_output_path": "hungry"}
    document["runs"].insert(4, hungry)
    (trial.folder / "batch.json").write_text(json.dumps(document))
    trial.before = ["sh", "-c", f'echo $$ > {small_group}/cgroup.procs; exec "$0" "$@"']
    for words in (BATCH, SPLIT):
        before = oom_kills(small_group)
        running = trial.start(*words)
        wait_until(lambda: oom_kills(small_group) > before, "one is killed")  # noqa: B023
        trial.let_go()
        ended = trial.end(running)
        assert ended.returncode == 1, ended.stderr
        assert "8 completed, 1 failed" in ended.stderr
        assert (trial.folder / "out/hungry/status_code").read_text() == "137"
        trial.assert_all_whole()
        trial.assert_nothing_left()
        record_property("oom_kill", oom_kills(small_group) - before)


@pytest.mark.parametrize("megabytes", [24, 90, 250])
def test_little_memory_for_sc_itself(trial: Trial, place: str, megabytes: int) -> None:
    """It is done, or not begun; what cannot be stored at once is stored later. (Around 30 it is done now and then.)"""
    trial.write(8, place)
    trial.before = ["prlimit", f"--as={megabytes << 20}"]
    ended = trial.run(*BATCH)
    if megabytes < 30:
        assert ended.returncode == 3
        assert "not enough memory" in ended.stderr
        assert trial.whole() == set()
    else:
        assert ended.returncode == 0, ended.stderr
        trial.assert_all_whole()
    trial.assert_nothing_left()
