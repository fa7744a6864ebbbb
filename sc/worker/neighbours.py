"""Which machines of the same job have fallen silent, so that somebody ends them. The clerk's side.

A machine that hangs cannot end itself, and costs money. The others see it: its glance does not change any more. How
long it has been silent is told by this worker's own writes that succeeded, so a storage that is away makes nobody
silent. Of those who see it, each waits a turn longer than the one before it (in an order that is another for each
silent machine), so that of a thousand one asks AWS, and the others find that it is done.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple, Optional

from sc import paths
from sc.errors import MissingError
from sc.glances import SILENT_SECONDS, Glance, Seen, read_glances
from sc.heartbeats import Heartbeat, heartbeat_of
from sc.storage import Storage

LOST_SECONDS = 15 * 60.0
"""Of this worker's successful writes, for which a machine that is to be ended has said nothing."""
LOOK_SECONDS = 180.0
"""Between two looks: one LIST for a thousand workers."""
LONGEST_GAP_SECONDS = 60.0
"""A longer time between two of our own writes is not counted: something was wrong here, or with the storage."""
_STEP_SECONDS = 5.0
"""S3 tells whole seconds, and answers take time."""
_FLEET = "ec2"


class _Known(NamedTuple):
    glance: Glance
    said_at: float
    """When it was written, by our clock."""
    since: float
    """What was counted when it was seen first."""


class Neighbours:
    """`now` is this worker's monotonic clock, in seconds. Methods raise StorageError."""

    def __init__(self, storage: Storage, job_url: str, worker: str) -> None:
        self._storage = storage
        self._job_url = job_url
        self._worker = worker
        self._known: dict[str, _Known] = {}
        self._settled: dict[str, _Known] = {}
        """Those of whom nothing more is to be done, as long as they say nothing."""
        self._counted = 0.0
        self._wrote_at: Optional[float] = None
        self._next_look = 0.0

    def wrote(self, now: float) -> None:
        """A heartbeat of our own is stored."""
        gap = LONGEST_GAP_SECONDS if self._wrote_at is None else now - self._wrote_at
        if gap < LONGEST_GAP_SECONDS:
            self._counted += gap
        self._wrote_at = now

    def lost(self, now: float, seen: Optional[Mapping[str, Seen]] = None) -> list[Heartbeat]:
        """The last words of machines that somebody should end now, and it is our turn. Nothing between two looks.

        `seen`: what somebody has just listed, so that it is not listed again.
        """
        if now < self._next_look:
            return []
        self._next_look = now + LOOK_SECONDS
        seen = read_glances(self._storage, self._job_url) if seen is None else seen
        for worker, one in seen.items():
            self._note(worker, one, now)
        silent = [worker for worker in seen if self._is_lost(worker)]
        fresh = [name for name, one in seen.items() if one.age_seconds < SILENT_SECONDS]
        mine = [worker for worker in silent if self._is_our_turn(worker, fresh)]
        return [one for one in map(self._last_words, mine) if one is not None]

    def settle(self, worker: str) -> None:
        """What could be done about it is done."""
        self._settled[worker] = self._known[worker]

    def _note(self, worker: str, seen: Seen, now: float) -> None:
        said_at, known = now - seen.age_seconds, self._known.get(worker)
        if known and known.glance == seen.glance and said_at < known.said_at + _STEP_SECONDS:
            return
        self._known[worker] = _Known(seen.glance, said_at, self._counted)

    def _silence(self, worker: str) -> float:
        return self._counted - self._known[worker].since

    def _is_lost(self, worker: str) -> bool:
        known = self._known[worker]
        if worker == self._worker or known.glance.is_last or self._settled.get(worker) == known:
            return False
        return self._silence(worker) >= LOST_SECONDS

    def _is_our_turn(self, worker: str, fresh: list[str]) -> bool:
        order = sorted(
            {*fresh, self._worker}, key=lambda name: zlib.crc32(f"{name} {worker}".encode())
        )
        return self._silence(worker) >= LOST_SECONDS + LOOK_SECONDS * order.index(self._worker)

    def _last_words(self, worker: str) -> Optional[Heartbeat]:
        """Of a machine of EC2; others are nobody's to end."""
        try:
            said = heartbeat_of(self._storage.get(paths.heartbeat(self._job_url, worker)))
        except MissingError:
            said = None
        if said is None or said.fleet != _FLEET or said.is_last or said.worker != worker:
            self.settle(worker)
            return None
        return said
