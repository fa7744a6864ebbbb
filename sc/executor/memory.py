"""Memory that is short: whether the kernel killed something for want of it, and how to need less."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Optional

M_ARENA_MAX = -8
REMEMBER_SECONDS = 1.0
"""The kernel takes 25 µs to tell, a fortieth of what a short run costs in all."""


class MemoryKills:
    """Counts the kernel's out-of-memory kills: in this process's control group where it tells
    (`memory.events` of version 2, `memory.oom_control` of version 1), else on the whole machine."""

    def __init__(self) -> None:
        self._paths = [*_control_group_files(), "/proc/vmstat"]
        self._known: Optional[int] = None
        self._known_until = 0.0

    def count_before(self, now: float) -> Optional[int]:
        """How many there have been, as known for a second at the most; None where nothing tells."""
        if now >= self._known_until:
            self.count()
            self._known_until = now + REMEMBER_SECONDS
        return self._known

    def count(self) -> Optional[int]:
        """How many there have been until now."""
        while self._paths:
            try:
                _, found, after = _read(self._paths[0]).partition(b"oom_kill ")
            except OSError:
                found = b""
            if found:
                self._known = int(after.split(None, 1)[0])
                break
            del self._paths[0]  # this one does not tell
        return self._known


def _read(path: str) -> bytes:
    """Without a file object: each keeper has its own memory for what that touches."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))
    finally:
        os.close(descriptor)


def _control_group_files() -> Iterator[str]:
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield f"/sys/fs/cgroup/memory{path}/memory.oom_control"
        elif number == "0" and path != "/":
            yield f"/sys/fs/cgroup{path}/memory.events"


def use_one_heap() -> None:
    """All threads of this process share one. Else each gets its own, for which glibc reserves 64 MiB of addresses, and
    `ulimit -v` counts these."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
