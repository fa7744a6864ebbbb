"""Processes of `sc` that stand still at a bad moment, and go on when the world is another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from sc.executor import tree
from sc.executor.folder import TemporaryFolder
from tests.processes.conftest import Execution, wait_until

RESULT = "echo whole >$SATURN_RUN_LOCAL_RESULTS_DIR/result"


def test_a_keeper_that_outlives_its_execution_marks_no_run_whose_results_are_gone(
    execution: Execution,
) -> None:
    """Another `sc` that comes meanwhile tidies up; what a member that lives may still want is not its to remove."""
    go, printed = execution.folder / "go", execution.folder / "printed"
    script = f"touch {printed}; until test -e {go}; do sleep 0.02; done; {RESULT}"
    execution.start({"cmd": script}, nprocs=1)
    wait_until(printed.exists, "the run goes on")
    keeper = named(execution, b"sc keeper 0")
    os.kill(keeper, signal.SIGSTOP)
    go.touch()
    wait_until(lambda: all(map(is_dead, tree.children(keeper))), "the run has ended")
    assert execution.process is not None
    execution.process.kill()
    execution.process.wait()
    TemporaryFolder(str(execution.temp)).remove()
    os.kill(keeper, signal.SIGCONT)
    wait_until(lambda: not execution.processes(), "nothing is left")
    if (execution.out / "0/status_code").exists():
        assert execution.read("0/results/result") == "whole\n"


def named(execution: Execution, title: bytes) -> int:
    """The process of the execution that has this title."""
    assert execution.process is not None
    (pid,) = (
        pid
        for pid in tree.children(execution.process.pid)
        if title in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    return pid


def is_dead(pid: int) -> bool:
    """It has ended, and nobody has waited for it."""
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()
