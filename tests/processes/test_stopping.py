"""What an interrupt does to outputs that are still on their way."""

from __future__ import annotations

import signal

from tests.processes.conftest import Execution, wait_until

TICKS = 40
"""Of the feed, in 0.2 s each: longer than anything may stand still."""


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
