"""What an interrupt does to outputs that are still on their way."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes.conftest import Execution, wait_until

TICKS = 40
"""Of the feed, in 0.2 s each: longer than anything may stand still."""


@pytest.mark.parametrize("runs_first", [True, False])
def test_service_that_is_stopped_as_a_whole_marks_no_run(
    execution: Execution, runs_first: bool
) -> None:
    """As a system manager does it, and a machine that is switched off: all processes are told at the same moment."""
    shells = {"cmd": "sh -c 'sleep 100; exit $?'"}
    execution.start(*[{"cmd": "sleep 100"}, shells] * 2, nprocs=4)
    wait_until(lambda: len(sleeping(execution)) == 4, "all runs go on")
    for pid in sorted(execution.processes(), reverse=runs_first):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    assert [one.cause for one in execution.finish()] == ["interrupted"] * 4
    assert list(execution.out.glob("*/status_code")) == []


def sleeping(execution: Execution) -> list[int]:
    found = []
    for pid in execution.processes():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                found.append(pid)
    return found


def stall(far: Execution, is_moving: bool) -> None:
    """Have a run end whose outputs are on their way when the execution is stopped."""
    (far.out / ".stalled").touch()
    if is_moving:
        (far.out / ".moving").touch()
    far.start({"cmd": "echo x"}, {"cmd": "echo y"})
    wait_until(lambda: far.gauge().get("saving") == 2, "outputs are on their way")
    assert far.process is not None
    far.process.send_signal(signal.SIGTERM)


def test_upload_that_moves_goes_on_after_an_interrupt(far: Execution) -> None:
    stall(far, is_moving=True)
    before = int(far.gauge()["ticks"])
    wait_until(lambda: far.gauge()["ticks"] >= before + TICKS, "it goes on")
    assert far.gauge()["is_stopping"]
    (far.out / ".stalled").unlink()
    assert [one.code for one in far.finish()] == [0, 0]
    assert far.ending()["kept_runs"] == 0


def test_second_interrupt_ends_an_upload_that_moves(far: Execution) -> None:
    stall(far, is_moving=True)
    wait_until(lambda: far.gauge()["is_stopping"], "it is being stopped")
    assert far.process is not None
    far.process.send_signal(signal.SIGINT)
    assert [one.cause for one in far.finish()] == ["upload", "upload"]
    assert_kept(far, 2)


def test_upload_that_stands_still_is_given_up_after_an_interrupt(far: Execution) -> None:
    stall(far, is_moving=False)
    assert [one.cause for one in far.finish()] == ["upload", "upload"]
    assert_kept(far, 2)


def assert_kept(far: Execution, runs: int) -> None:
    """Where it was told, and nowhere else."""
    ending = far.ending()
    assert ending["kept_runs"] == runs
    kept = far.temp / ending["kept_folder"].rpartition("/")[2]
    assert sorted(path.read_text() for path in kept.glob("*/stdout")) == ["x\n", "y\n"]
    for path in sorted(kept.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    kept.rmdir()
