"""Executions that stand still for longer than their lease, lose the process that renews it, or are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sc.errors import ExitCode
from tests.processes.conftest import (
    LIMIT_SECONDS,
    ROOT,
    TOKEN,
    all_processes,
    environment,
    send,
    wait_until,
)

WAITS = "touch {here}/began-$SATURN_RUN_LOCAL_RANK; until [ -e {here}/go ]; do sleep 0.05; done; "


class Holders:
    """Executions of the same two runs, each with its own processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self._token = uuid.uuid4().hex
        self._count = 0

    def start(self, command: str, count: int = 2) -> tuple[subprocess.Popen[str], str]:
        """Returns it and the mark of its processes."""
        self._count += 1
        token = f"{self._token}-{self._count}-"
        words = [sys.executable, "-m", "tests.processes.leaseholder"]
        process = subprocess.Popen(
            [*words, str(self.out), str(count), command],
            cwd=ROOT,
            env={**os.environ, TOKEN: token, "TMPDIR": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        return process, token

    def run(self, command: str) -> ExitCode:
        process, _ = self.start(command)
        process.communicate(timeout=LIMIT_SECONDS)
        return ExitCode(process.returncode)

    def begin(self, then: str) -> tuple[subprocess.Popen[str], str]:
        """One whose two runs go on until there is a file `go`."""
        started = self.start(WAITS.format(here=self.folder) + then)
        wait_until(lambda: len(list(self.folder.glob("began-*"))) == 2, "both runs go on")
        return started

    def go(self) -> None:
        (self.folder / "go").touch()

    def processes(self, token: str = "") -> list[int]:
        mark = (token or self._token).encode()
        return [pid for pid in all_processes() if mark in environment(pid)]

    def stored(self, name: str = "stdout") -> list[str]:
        files = [self.out / f"{number}/{name}" for number in range(2)]
        return [file.read_text() if file.exists() else "" for file in files]

    def leases(self) -> list[str]:
        return sorted(path.name for path in self.out.glob(".sc/*/leases/*"))


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[Holders]:
    them = Holders(tmp_path)
    try:
        yield them
    finally:
        send(them.processes(), signal.SIGKILL)


def test_one_that_stood_still_stores_nothing_over_what_another_has_done(holders: Holders) -> None:
    frozen, token = holders.begin("echo frozen")
    send(holders.processes(token), signal.SIGSTOP)
    wait_until(lambda: holders.run("echo other") == ExitCode.OK, "its lease is over")
    assert holders.stored() == ["other\n"] * 2
    holders.go()
    send(holders.processes(token), signal.SIGCONT)
    told, _ = frozen.communicate(timeout=LIMIT_SECONDS)
    assert frozen.returncode == ExitCode.REFUSED
    assert "somebody else has executed some of its runs meanwhile" in told
    assert holders.stored() == ["other\n"] * 2
    assert holders.stored("status_code") == ["0"] * 2
    assert holders.leases() == []


def test_one_that_stood_still_while_nobody_came_goes_on(holders: Holders) -> None:
    frozen, token = holders.begin("echo frozen")
    send(holders.processes(token), signal.SIGSTOP)
    wait_until(partial(is_old, holders), "its lease is over")
    holders.go()
    send(holders.processes(token), signal.SIGCONT)
    frozen.communicate(timeout=LIMIT_SECONDS)
    assert frozen.returncode == ExitCode.OK
    assert holders.stored() == ["frozen\n"] * 2
    assert holders.leases() == []


def is_old(holders: Holders) -> bool:
    """By a clock that a file made now tells."""
    (holders.folder / "now").touch()
    now = (holders.folder / "now").stat().st_mtime
    (lease,) = holders.out.glob(".sc/batch/leases/*.json")
    return now - lease.stat().st_mtime > 6


def test_one_that_is_killed_is_in_nobodys_way(holders: Holders) -> None:
    killed, _ = holders.begin("echo killed")
    killed.kill()  # and nobody takes note of its end: it is a zombie
    assert holders.run("echo other") == ExitCode.OK
    assert holders.stored() == ["other\n"] * 2
    assert holders.leases() == []
    killed.communicate()


def test_a_lease_is_renewed_also_when_the_process_that_does_so_was_killed(holders: Holders) -> None:
    going_on, _ = holders.begin("echo first")
    (lease,) = holders.out.glob(".sc/batch/leases/*.json")
    errands = [pid for pid in children(going_on.pid) if is_fork(pid, going_on.pid)]
    send(errands, signal.SIGKILL)
    before = lease.stat().st_mtime_ns
    wait_until(lambda: lease.stat().st_mtime_ns > before + 3e9, "it is renewed")
    assert holders.run("echo other") == ExitCode.REFUSED
    holders.go()
    going_on.communicate(timeout=LIMIT_SECONDS)
    assert going_on.returncode == ExitCode.OK
    assert holders.stored() == ["first\n"] * 2


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_fork(pid: int, parent: int) -> bool:
    """The first child of ours: nothing else is there when the lease is taken."""
    return pid == min(children(parent))


def test_of_several_that_start_together_one_executes_the_runs(holders: Holders) -> None:
    started = [holders.start(f"echo {number}; echo {number}")[0] for number in range(3)]
    for process in started:
        process.communicate(timeout=LIMIT_SECONDS)
    codes = [process.returncode for process in started]
    assert set(codes) <= {ExitCode.OK, ExitCode.REFUSED}
    assert ExitCode.OK in codes
    first, second = holders.stored()
    assert first == second
    assert holders.leases() == []
