"""Who executes runs: a process of some machine, and whether it is still there if that machine is this one."""

from __future__ import annotations

import os
import pwd
import socket
from typing import NamedTuple, Optional


class Holder(NamedTuple):
    """A process, described so that another one can tell whether it is alive, and a person whom to ask."""

    host: str
    user: str
    pid: int
    since: float
    """Unix seconds of that machine's clock, when the execution began."""
    started: int = -1
    """When the process began, in ticks since the machine's start: process ids are used again. -1: not known."""
    boot: str = ""
    """Of this start of the machine. Empty where the system does not tell."""
    namespace: int = 0
    """The inode of the namespace that the process id is of: each container has its own."""

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (process {self.pid})"


def this_process(since: float, proc: str = "/proc") -> Holder:
    """The calling one."""
    pid = os.getpid()
    started = _start(pid, proc)
    return Holder(
        host=socket.gethostname(),
        user=_user(),
        pid=pid,
        since=since,
        started=-1 if started is None else started,
        boot=_boot(proc),
        namespace=_namespace(proc),
    )


def is_alive(holder: Holder, proc: str = "/proc") -> Optional[bool]:
    """None: it is, or was, a process of another machine or container, of which nothing can be known here."""
    here = socket.gethostname(), _boot(proc), _namespace(proc)
    if (holder.host, holder.boot, holder.namespace) != here or not (here[1] and here[2]):
        return None
    if holder.started < 0 or holder.pid <= 0:
        return None
    started = _start(holder.pid, proc)
    if started is not None:
        return started == holder.started
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return None
    return None  # it is there, and /proc does not show those of other users


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except (KeyError, OSError):  # a container's user has no name
        return str(os.getuid())


def _start(pid: int, proc: str) -> Optional[int]:
    """In ticks; -1 for a process that only waits for its parent to take note of its end. None: it cannot be seen."""
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot(proc: str) -> str:
    try:
        with open(f"{proc}/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def _namespace(proc: str) -> int:
    try:
        return os.stat(f"{proc}/self/ns/pid").st_ino
    except OSError:
        return 0
