"""What a command has left running, and which of it only drains.

A command may exit before what reads its output has done so: `exec > >(tee log)`, a pipe into a slow filter, a
sorter that begins when its input has ended. Such a *drain* is waited for, since killing it loses what the command
printed. A process is a drain if it reads a pipe whose writers have all gone, or are drains themselves; or if all that
it has started, and waits for, are drains. CPU time and writes alone make no drain: a daemon has these, too.

`classify` is pure; `read_survivors` reads `/proc`. Where there is none, nothing is known to be a drain.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

from sc.executor import tree

MOST_NAMES = 5
"""So many are told of those that were ended."""
Pipe = tuple[int, int]
"""Device and inode: named pipes are pipes, too."""


class Process(NamedTuple):
    """A process that is still there when the command has exited."""

    pid: int
    parent: int
    name: str
    reads: frozenset[Pipe] = frozenset()
    """Pipes of which it holds an end to read from."""
    writes: frozenset[Pipe] = frozenset()
    progress: int = 0
    """Grows with the CPU time and the bytes that it and its waited-for children use."""


class Survivors(NamedTuple):
    """All of them, by what is to be done with each."""

    drains: Sequence[Process] = ()
    sources: Sequence[Process] = ()
    """To be ended first: they feed others, or nobody feeds them. What they feed may then come to its end by itself."""
    fed: Sequence[Process] = ()
    """No drains yet: they read from a source."""


def classify(processes: Sequence[Process], known_drains: frozenset[int] = frozenset()) -> Survivors:
    """Sort processes. `known_drains` were drains before: one that has read all, and has closed its pipe, still is."""
    drains = _drains(processes, known_drains)
    others = [one for one in processes if one.pid not in drains]
    written = {pipe: one.pid for one in others for pipe in one.writes}
    fed = [
        one for one in others if any(written.get(pipe, one.pid) != one.pid for pipe in one.reads)
    ]
    if len(fed) == len(others):
        fed = []  # they feed one another: nobody would be the first
    sources = [one for one in others if one not in fed]
    return Survivors([one for one in processes if one.pid in drains], sources, fed)


def _drains(processes: Sequence[Process], known: frozenset[int]) -> set[int]:
    """The least set that the definition allows: of two that only wait for each other neither is a drain."""
    writers: dict[Pipe, set[int]] = {}
    children: dict[int, set[int]] = {}
    for one in processes:
        children.setdefault(one.parent, set()).add(one.pid)
        for pipe in one.writes:
            writers.setdefault(pipe, set()).add(one.pid)
    found = {one.pid for one in processes if one.pid in known}
    while True:
        more = {
            one.pid
            for one in processes
            if one.pid not in found
            and (
                any(writers.get(pipe, set()) <= found for pipe in one.reads)
                or (one.pid in children and children[one.pid] <= found)
            )
        }
        if not more:
            return found
        found |= more


def sentence(ended: Iterable[Process]) -> tuple[int, str]:
    """How many processes of those that were ended did something, and what a person is told of them.

    A shell that only waits for its command is not counted beside it.
    """
    every = list(ended)
    parents = {one.parent for one in every}
    working = [one for one in every if one.pid not in parents]
    names = list(dict.fromkeys(one.name for one in working))
    more = ", …" if len(names) > MOST_NAMES else ""
    were = "process was" if len(working) == 1 else "processes were"
    was_ended = "was ended" if len(working) == 1 else "were ended"
    shown = ", ".join(names[:MOST_NAMES]) + more
    text = f"{len(working)} {were} still running when the command exited and {was_ended}: {shown}"
    return len(working), text


def read_survivors(root: int) -> list[Process]:
    """What lives below `root` now."""
    found = map(_read_process, tree.descendants(root))
    return [process for process in found if process is not None]


def _read_process(pid: int) -> Optional[Process]:
    """None if it has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            head, _, rest = file.read().rpartition(b")")
    except FileNotFoundError:
        return None if os.path.isdir("/proc/self") else Process(pid, 0, f"process {pid}")
    except OSError:
        return None
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    fields = rest.split()
    reads, writes = _pipes(pid)
    ticks = sum(map(int, fields[11:15]))  # proc(5): utime, stime, cutime, cstime
    return Process(pid, int(fields[1]), name, reads, writes, ticks + _moved_bytes(pid))


def _pipes(pid: int) -> tuple[frozenset[Pipe], frozenset[Pipe]]:
    """Those that it reads from, and those that it writes to."""
    reads: set[Pipe] = set()
    writes: set[Pipe] = set()
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        numbers = []  # it has ended, or is another user's: no drain as far as anyone can see
    for number in numbers:
        try:
            target = os.stat(f"{folder}/{number}")
            mode = os.lstat(f"{folder}/{number}").st_mode  # proc(5): how it was opened
        except OSError:
            continue  # closed meanwhile
        if stat.S_ISFIFO(target.st_mode):
            pipe = target.st_dev, target.st_ino
            reads.update([pipe] if mode & stat.S_IRUSR else ())
            writes.update([pipe] if mode & stat.S_IWUSR else ())
    return frozenset(reads), frozenset(writes)


def _moved_bytes(pid: int) -> int:
    """Read and written, also through pipes: `rchar` and `wchar` of proc(5)."""
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            lines = file.read().split(b"\n", 2)
        return int(lines[0].split()[1]) + int(lines[1].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
