"""How long a command and everything it started took, and what it cost.

CPU time is the steadier figure on a machine that others use too: it counts the whole tree, also what was left to
init, since this process makes itself the reaper of orphans (`PR_SET_CHILD_SUBREAPER`).
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Sample:
    """One contender measured once."""

    wall_seconds: float
    cpu_seconds: float
    """User and system time of the whole tree."""
    others: float = 0.0
    """Cores that this machine spent meanwhile on anything else: the noise."""
    server_cpu_seconds: float = 0.0
    """CPU time of the storage's server, where there is one."""
    peak_bytes: int = 0
    """The most memory that its first process had (VmHWM)."""


class Failed(Exception):
    """The contender ran and did not do its work; the text says how."""


def adopt_orphans() -> None:
    """From now on a daemon of a contender becomes a child of this process, and is counted."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_cpu_seconds() -> float:
    """User and system time of all children of this process that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine_cpu_seconds() -> float:
    """Busy CPU time of the whole machine since it was started, time stolen by its host included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def process_cpu_seconds(pid: int) -> float:
    """User and system time of a live process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reap_orphans(limit_seconds: float = 5.0) -> None:
    """Wait for what the contender left behind; what stays longer is ended, since it would spoil the next one."""
    end = time.monotonic() + limit_seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            if time.monotonic() > end:
                raise Failed("it left processes behind that do not end")
            time.sleep(0.01)


def measure(
    command: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    limit_seconds: float = 600.0,
    server_pid: Optional[int] = None,
) -> Sample:
    """Run `command` to its end, start-up included. Raises Failed when it does not exit with 0."""
    busy, cpu = machine_cpu_seconds(), children_cpu_seconds()
    server = process_cpu_seconds(server_pid) if server_pid else 0.0
    begin = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
        try:
            code, peak = _wait(process, limit_seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    wall = time.monotonic() - begin
    if server_pid is None:
        reap_orphans()
    cpu = children_cpu_seconds() - cpu
    server = process_cpu_seconds(server_pid) - server if server_pid else 0.0
    others = max(0.0, (machine_cpu_seconds() - busy - cpu - server) / wall)
    if code != 0:
        end = log.read_bytes()[-600:].decode(errors="replace")
        raise Failed(f"{command[0]} ended with {code}: {end}")
    return Sample(wall, cpu, others, server, peak)


def _wait(process: subprocess.Popen[bytes], limit_seconds: float) -> tuple[int, int]:
    """The exit code, and the most memory in bytes.

    `ru_maxrss` would tell no less than this process had when it forked.
    """
    end, peak = time.monotonic() + limit_seconds, 0
    while True:
        peak = max(peak, _peak_bytes(process.pid))
        try:
            return process.wait(0.005), peak
        except subprocess.TimeoutExpired:
            if time.monotonic() > end:
                raise


def _peak_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) * 1024 if found else 0
