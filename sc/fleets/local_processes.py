"""The processes of this machine, as /proc tells of them: who is below whom, and how to end all of a tree at once.

A tree is frozen before it is killed. Whoever kills a process whose child is about to fork loses the grandchild: it
gets another parent, and nobody knows any more whose it was. What is stopped neither forks nor loses its parent.
"""

from __future__ import annotations

import os
import pwd
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

POLL_SECONDS = 0.02
FREEZE_SECONDS = 1.0
"""For so long new processes of a tree are looked for: some may be held up in the kernel."""
_GONE, _HALTED = (b"Z", b"X"), (b"T", b"t", b"Z", b"X")


class Entry(NamedTuple):
    """A process."""

    pid: int
    parent: int
    session: int
    state: bytes
    """As proc(5) has it: `R`, `S`, `D`, `T`, `Z` …"""
    start: int
    """Ticks since the machine was started; with `pid` no other process ever has it."""
    user: int
    name: str

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.start


def table(proc: str = "/proc") -> dict[int, Entry]:
    """All processes that are there, dead ones included that nobody has waited for."""
    return {entry.pid: entry for entry in _entries(proc)}


def _entries(proc: str) -> Iterator[Entry]:
    for name in os.listdir(proc) if os.path.isdir(proc) else ():
        if not name.isdigit():
            continue
        try:
            user = os.stat(f"{proc}/{name}").st_uid
            with open(f"{proc}/{name}/stat", "rb") as file:
                before, _, after = file.read().rpartition(b")")
        except OSError:
            continue  # it has ended meanwhile
        fields = after.split()
        title = before.partition(b"(")[2].decode("utf-8", "replace")
        yield Entry(
            int(name), int(fields[1]), int(fields[3]), fields[0], int(fields[19]), user, title
        )


def below(there: Mapping[int, Entry], roots: Collection[int]) -> list[Entry]:
    """The roots and all that is below them, as far as it lives; parents before children."""
    children: dict[int, list[Entry]] = {}
    for entry in there.values():
        children.setdefault(entry.parent, []).append(entry)
    found: dict[int, Entry] = {}
    heads = [there[pid] for pid in roots if pid in there]
    while heads:
        entry = heads.pop(0)
        if entry.pid not in found:
            found[entry.pid] = entry
            heads += children.get(entry.pid, ())
    return [entry for entry in found.values() if entry.state not in _GONE]


def wake(roots: Collection[int]) -> None:
    """Have all that was stopped below the roots go on: what is frozen hears no request to end."""
    for entry in below(table(), roots):
        if entry.state in _HALTED:
            _send(entry.pid, signal.SIGCONT)


def kill_all(
    roots: Collection[int],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Entry]:
    """SIGKILL for the roots and all that is below them, but not for this process. Returns who it was sent to, or
    was to be: some may belong to another user."""
    end = now() + FREEZE_SECONDS
    frozen: dict[tuple[int, int], Entry] = {}
    while True:
        there = [entry for entry in below(table(), roots) if entry.pid != os.getpid()]
        new = [entry for entry in there if entry.key not in frozen]
        for entry in new:
            _send(entry.pid, signal.SIGSTOP)
        frozen.update((entry.key, entry) for entry in new)
        may_fork = new or any(entry.state not in _HALTED for entry in there)
        if not may_fork or now() >= end:
            break
        sleep(POLL_SECONDS)
    for entry in reversed(list(frozen.values())):  # children first
        _send(entry.pid, signal.SIGKILL)
    return list(frozen.values())


def still_there(entries: Collection[Entry]) -> list[Entry]:
    """Those of them that live, as they are now."""
    there = table()
    return [
        there[entry.pid]
        for entry in entries
        if entry.pid in there
        and there[entry.pid].key == entry.key
        and there[entry.pid].state not in _GONE
    ]


def user_name(user: int) -> str:
    """Of a user's number."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # it has ended, or belongs to another user; what is still there is told at the end
