"""Whether anything more can come of a run that has not ended: whether anybody executes it, or is going to.

Told by the leases below the batch's place (`sc.leases`): that of a plain execution, which is renewed and names its
process, and that of a job, whose workers' glances tell whether it lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sc import paths
from sc.errors import MissingError
from sc.holder import is_alive
from sc.job_leases import may_work
from sc.leases import EXECUTION, JOB, TIMES, Other, Runs, lease_of, others
from sc.run_index import RunIndex
from sc.storage import Storage

MOST_FOLDERS = 8
"""So many folders above a run are looked into for jobs, if it is not known which batch it is of."""


class Prospect(NamedTuple):
    """What is known of who executes a run."""

    is_open: bool
    """Somebody executes it, or may still come to it."""
    reason: str = ""
    """Why not: what became of those who had it. Empty if nobody ever had it, as far as is known."""


class Prospects:
    """Of one run. Methods raise StorageError."""

    def __init__(self, storage: Storage, run: str, place: str = "") -> None:
        """`place` is that of the run's batch; empty: any of those above it."""
        self._storage = storage
        self._run = run
        self._places = [place] if place else list(_above(run))
        self._known: dict[str, bool] = {}
        """Whether the run is among those of an execution; that never changes."""

    def look(self) -> Prospect:
        """A LIST or two for each name under which the batch was executed, and a GET for each lease."""
        reason = ""
        for place in self._places:
            for other in others(self._storage, place):
                if other.kind not in (EXECUTION, JOB) or not self._has(place, other):
                    continue
                why = self._why_over(other)
                if not why:
                    return Prospect(True)
                reason = why
        return Prospect(False, reason)

    def _has(self, place: str, other: Other) -> bool:
        if other.execution not in self._known:
            try:
                data = self._storage.get(paths.leased_runs(other.url, other.execution))
            except MissingError:
                return False
            index: RunIndex = Runs(place, lambda: [self._run]).to_index()
            self._known[other.execution] = next(iter(index.shared(data)), None) is not None
        return self._known[other.execution]

    def _why_over(self, other: Other) -> str:
        """Empty while it goes on."""
        if other.kind == JOB:
            return self._why_job_over(other)
        try:
            data = self._storage.get(other.entry.place)
        except MissingError:
            return "its execution has ended"
        holder = lease_of(other.execution, data).holder
        alive = is_alive(holder)
        if alive or (alive is None and other.entry.age_seconds <= TIMES.lease_seconds):
            return ""
        return f"{holder}, which executed it, was killed or is gone"

    def _why_job_over(self, other: Other) -> str:
        is_near = self._storage.local_path(other.url) is not None
        is_stopped = self._storage.stat(paths.stop(other.url)) is not None
        is_working = may_work(other.entry.age_seconds, other.glances, is_near)
        if is_working and (other.glances or not is_stopped):
            return ""
        return f"the job {other.url} {'was stopped' if is_stopped else 'has no workers any more'}"


def _above(run: str) -> Iterator[str]:
    scheme, separator, rest = run.rpartition("://")
    names: Sequence[str] = rest.rstrip("/").split("/")
    for count in range(len(names) - 1, max(0, len(names) - 1 - MOST_FOLDERS), -1):
        above = "/".join(names[:count])
        if above:
            yield f"{scheme}{separator}{above}"
