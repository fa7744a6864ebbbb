"""What time it is for a file system, which may live on another machine with another clock."""

from __future__ import annotations

import os
from typing import Callable, NamedTuple

from sc.storage.atomic_files import Draft

STEP_SECONDS = 2.0
"""A clock that differs by more from what it was has been set; less is how it goes."""
FRESH_SECONDS = 5.0
_MOST_CLOCKS = 8


class Age(NamedTuple):
    """How old a file is."""

    seconds: float
    """At least 0. Where the clock was set meanwhile, and the file may be of before or after: the smaller one."""
    is_sure: bool = True
    """False: there is another possible one."""


class FolderClock:
    """Ages of files by the clock that wrote their times: that of a file made just now.

    The difference to this machine's `monotonic` is kept for five seconds per file system. Where
    no file can be made, this machine's `wall` clock has to do.

    A clock may be set. So the differences that it had before are remembered, and a time that lies in
    the future tells of one that it must have had: a file is as young as any of them makes it.
    """

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._clocks: dict[int, list[float]] = {}
        """By file system: the difference that its clock has now, and after it those that it had."""
        self._furthest: dict[int, float] = {}
        """The one that it must have had, because of a file that is of the future for all of these."""
        self._looked: dict[int, float] = {}

    def age(self, folder: str, status: os.stat_result) -> Age:
        """The age of a file of `folder`."""
        device = status.st_dev
        clocks = self._clocks_of(folder, device)
        lead = status.st_mtime - self._monotonic()
        if lead > max(clocks) + STEP_SECONDS:
            self._furthest[device] = max(lead, self._furthest.get(device, lead))
        clocks = [*clocks, self._furthest.get(device, clocks[0])]
        possible = [clock - lead for clock in clocks if clock - lead >= -STEP_SECONDS]
        return Age(max(0.0, min(possible)), max(possible) - min(possible) <= STEP_SECONDS)

    def age_of(self, path: str) -> float:
        """The age in seconds of the file at `path`. Raises FileNotFoundError."""
        return self.age(os.path.dirname(path) or ".", os.lstat(path)).seconds

    def _clocks_of(self, folder: str, device: int) -> list[float]:
        now = self._monotonic()
        clocks = self._clocks.setdefault(device, [])
        if not clocks or now - self._looked[device] > FRESH_SECONDS:
            self._looked[device] = now
            difference = self._probe(folder) - now
            if clocks and abs(difference - clocks[0]) <= STEP_SECONDS:
                clocks[0] = difference
            else:
                clocks.insert(0, difference)
                del clocks[_MOST_CLOCKS:]
        return clocks

    def _probe(self, folder: str) -> float:
        try:
            probe = Draft(folder)
        except OSError:
            return self._wall()
        try:
            os.write(probe.fd, b"?")  # NFS: the server sets the time when it is written to
            return os.fstat(probe.fd).st_mtime
        except OSError:
            return self._wall()
        finally:
            probe.discard()
