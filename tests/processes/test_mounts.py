"""Runs that mount something and leave it: what is mounted is never emptied. In mount namespaces of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.conftest import Execution, wait_until
from tests.processes.test_frozen import named

INTO = "$SATURN_RUN_LOCAL_RESULTS_DIR"
TWICE = ["sh", "-c", '"$@"; exec "$@"', "sh"]
"""The second execution begins while what the first one left is still mounted."""


def can_mount() -> bool:
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not can_mount(), reason="to mount needs root")


@pytest.fixture
def data(execution: Execution) -> Iterator[Path]:
    """What is mounted; it has to stay as it is."""
    folder = execution.folder / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/precious").write_text("data")
    (folder / "file").write_text("data")
    yield folder
    assert sorted(os.listdir(folder)) == ["deep", "file"]
    assert (folder / "deep/precious").read_text() == "data"
    # When its namespace has ended nothing is mounted any more: the next execution removes what was left.
    (execution.folder / "outcomes.jsonl").unlink(missing_ok=True)
    execution.run({"cmd": "true", "remote_output_path": execution.place("last")})
    assert execution.files_left() == []


KINDS = {
    "a folder": "mkdir {into}/m && mount --bind {data} {into}/m",
    "a folder deep down": "mkdir -p {into}/a/b/m {into}/a/z && mount --bind {data}/deep {into}/a/b/m",
    "another file system": 'mkdir -p "{into}/a b" && mount -t tmpfs none "{into}/a b" && echo x >"{into}/a b/y"',
    "a file": "touch {into}/f && mount --bind {data}/file {into}/f",
    "the results folder": "mount --bind {data} {into}",
    "a mount on a mount": "mkdir {into}/m && mount -t tmpfs none {into}/m && mkdir {into}/m/n && "
    "mount --bind {data} {into}/m/n",
    "a folder above": "mkdir {into}/m && mount --bind {data} {into}/m && mount --rbind {into} {into}",
}


def command(kind: str, data: Path) -> str:
    return KINDS[kind].format(into=INTO, data=data)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_mounted_stays_and_is_named(execution: Execution, data: Path, kind: str) -> None:
    execution.start(
        {"cmd": f"echo made >{INTO}/made; {command(kind, data)}"},
        before=["unshare", "-m", *TWICE],
    )
    ended = execution.finish()
    assert [(one.code, one.cause) for one in ended] == [(0, "exit")] * 2
    assert all("could not be removed: '" in one.reason for one in ended)
    assert all("(something is mounted there)" in one.reason for one in ended)
    assert str(execution.temp) in execution.ending()["unremoved"]
    if kind not in ("the results folder", "a folder above"):
        assert execution.read("0/results/made") == "made\n"
    assert not (execution.out / "0/results/m/deep").exists()


def test_a_run_that_is_tried_again_or_stopped_empties_nothing(
    execution: Execution, data: Path
) -> None:
    mount, wait = command("a folder", data), execution.folder / "waits"
    execution.start(
        {"cmd": f"{mount}; exit 1", "retries": 1},
        {"cmd": f"{mount}; touch {wait}; sleep 600"},
        before=["unshare", "-m"],
    )
    wait_until(wait.exists, "the second run has mounted it")
    wait_until(lambda: len(execution.outcomes()) == 1, "the first one has ended")
    assert execution.process is not None
    execution.process.terminate()
    assert [(one.code, one.cause) for one in execution.finish()] == [
        (1, "exit"),
        (None, "interrupted"),
    ]
    assert "is mounted there" in execution.ending()["unremoved"]


def test_a_run_whose_keeper_was_killed_empties_nothing(execution: Execution, data: Path) -> None:
    once = execution.folder / "once"
    script = f"{command('a folder', data)}; mkdir {once} && sleep 600; true"
    execution.start({"cmd": script}, nprocs=1, before=["unshare", "-m"])
    wait_until(once.exists, "the run goes on")
    os.kill(named(execution, b"sc keeper 0"), signal.SIGKILL)
    assert [one.code for one in execution.finish()] == [0]


def test_members_of_a_loop_that_was_killed_empty_nothing(execution: Execution, data: Path) -> None:
    once = execution.folder / "once"
    script = f"{command('a folder', data)}; touch {once}; sleep 600"
    execution.start({"cmd": script}, before=["unshare", "-m"])
    wait_until(once.exists, "the run goes on")
    assert execution.process is not None
    execution.process.kill()
    execution.process.wait()
    wait_until(lambda: not execution.processes(), "the others have left")


@pytest.mark.parametrize("kind", ["a folder", "a file", "the results folder"])
@pytest.mark.parametrize("name", ["results", "attempts"])
def test_old_outputs_with_a_mount_in_them_keep_a_run_from_starting(
    near: Execution, kind: str, name: str
) -> None:
    (near.folder / "data").mkdir()
    (near.folder / "data/file").write_text("data")
    old = near.out / "0" / name
    old.mkdir(parents=True)
    (near.out / "0/status_code").write_text("0")
    mount = KINDS[kind].format(into=old, data=near.folder / "data")
    (ended,) = near.run(
        {"cmd": "echo ran"}, before=["unshare", "-m", "sh", "-c", f'{mount}; exec "$@"', "sh"]
    )
    assert (ended.code, ended.cause, ended.status) == (None, "upload", "not stored")
    assert ended.reason.startswith(
        f"an earlier output in {near.out}/0 could not be removed: '{old}"
    )
    assert "(something is mounted there); unmount it, or choose" in ended.reason
    assert (near.folder / "data/file").read_text() == "data"
    assert not (near.out / "0/stdout").exists()
    assert near.read("0/status_code") == "0"  # nothing of it is removed


def test_a_wanted_folder_that_is_a_mount_point_is_used_and_emptied(execution: Execution) -> None:
    disk, wanted = execution.folder / "disk", execution.folder / "wanted"
    disk.mkdir()
    wanted.mkdir()
    run = {"cmd": f"mkdir {INTO}/a; echo x >{INTO}/a/x", "local_results_dir": str(wanted)}
    mount = f'mount --bind {disk} {wanted}; exec "$@"'
    execution.run(run, before=["unshare", "-m", "sh", "-c", mount, "sh"])
    assert execution.read("0/results/a/x") == "x\n"
    assert os.listdir(disk) == os.listdir(wanted) == []


@pytest.mark.parametrize("kind", ["a folder", "the results folder"])
def test_what_is_mounted_in_or_on_a_wanted_folder_stays(
    execution: Execution, data: Path, kind: str
) -> None:
    wanted = execution.folder / "wanted"
    execution.start(
        {"cmd": command(kind, data), "local_results_dir": str(wanted)},
        {"cmd": "true", "local_results_dir": str(wanted)},
        nprocs=1,
        before=["unshare", "-m"],
    )
    first, second = execution.finish()
    assert (first.code, first.unstored_files) == (0, 1)
    assert f"could not be removed: '{wanted}" in first.reason
    assert (second.cause, "is not empty" in second.reason) == ("upload", True)
