"""Whether the job was stopped, by a person or by its own failures. The clerk's side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from sc import paths
from sc.errors import MissingError
from sc.glances import Seen, ended_and_failed, read_glances
from sc.halting import Stop, limit_of, read_stop, reason
from sc.model import Counts
from sc.staging import Job
from sc.storage import Storage

COUNT_SECONDS = 1.0
"""Between two counts of all workers' failures at least."""


class Brake:
    """Methods raise StorageError."""

    def __init__(self, storage: Storage, job_url: str, job: Job) -> None:
        self._storage = storage
        self._place = paths.stop(job_url)
        self._job_url = job_url
        self._job = job
        self._limit = limit_of(job.max_failures, job.runs)
        self._counted_at = 0.0
        self.seen: Optional[Mapping[str, Seen]] = None
        """What the last `count` has listed, if it had to."""

    def look(self) -> Optional[Stop]:
        """What `stop` says, if it is there. One request, as long as it is not."""
        if self._storage.stat(self._place) is None:
            return None
        try:
            return read_stop(self._storage.get(self._place))
        except MissingError:
            return None

    def count(self, now: float) -> Optional[Stop]:
        """All workers' failures together; the first to see too many says so to everybody. To be called when this
        worker has written its glance. No request for a job without a limit."""
        self.seen = None
        if self._limit is None:
            return None
        self._counted_at = now
        self.seen = read_glances(self._storage, self._job_url)
        ended, failed = ended_and_failed(one.glance for one in self.seen.values())
        if not self._limit.is_reached(ended, failed):
            return None
        stop = Stop(reason(self._job.max_failures, ended, failed), lets_end=True)
        self._storage.create(self._place, stop.to_bytes())
        return stop

    def next_count(self, tally: Counts) -> Optional[float]:
        """When to count, before the next heartbeat is due: if the other workers are as far as this one it is time."""
        failed = tally.unsuccessful * self._job.scale
        if self._limit is None or failed < self._limit.failures:
            return None
        return self._counted_at + COUNT_SECONDS
