"""What time it is for a file system, which may live on another machine with another clock."""

from __future__ import annotations

import os
from typing import Callable

from sc.storage.atomic_files import Draft

_FRESH_SECONDS = 5.0


class FolderClock:
    """Ages of files by the clock that wrote their times: that of a file made just now.

    The difference to this machine's `monotonic` is kept for five seconds per file system. Where
    no file can be made, this machine's `wall` clock has to do.
    """

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._offsets: dict[int, tuple[float, float]] = {}

    def age(self, folder: str, status: os.stat_result) -> float:
        """The age in seconds, at least 0, of a file of `folder`."""
        return max(0.0, self._now(folder, status.st_dev) - status.st_mtime)

    def age_of(self, path: str) -> float:
        """The age in seconds of the file at `path`. Raises FileNotFoundError."""
        return self.age(os.path.dirname(path) or ".", os.lstat(path))

    def _now(self, folder: str, device: int) -> float:
        now = self._monotonic()
        known = self._offsets.get(device)
        if known is None or now - known[0] > _FRESH_SECONDS:
            known = (now, self._probe(folder) - now)
            self._offsets[device] = known
        return now + known[1]

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
