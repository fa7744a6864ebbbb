"""What goes on in a job, learnt with a handful of requests at a time, whatever its size.

    look()        reads all there is: `glances/`, `done/`, each heartbeat, `stop`
    look_again()  at most REQUESTS of them: what is most worth knowing now
        glances/   every time: the counts of all workers, a request for a thousand of them
        done/      a block of a thousand parts is listed every minute, sooner when all seems ended; never again when
                   all of its parts are done. Sizes tell how many runs have failed (see `claims.done_note`)
        workers/   with what is left: whose failures are news, then who was not read for longest
        stop       now and then

In a folder of this machine, where a look costs next to nothing, more is read at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from sc import paths
from sc.blocks import BLOCK, Block, Blocks
from sc.claims import failed_by_size, read_done_note
from sc.errors import MissingError
from sc.glances import Glance, Seen, read_glances, silent_seconds
from sc.grouping import Groups
from sc.halting import Stop, read_stop
from sc.heartbeats import Heartbeat, heartbeat_of
from sc.job_state import State, Worker
from sc.staging import Job, gone
from sc.storage import Storage

REQUESTS, NEAR_REQUESTS = 5, 100
"""Of one look, but the first and the last; NEAR is a folder of this machine."""
DONE_EVERY_SECONDS, NEAR_DONE_EVERY_SECONDS, STOP_EVERY_SECONDS = 60.0, 2.0, 20.0
MOST_KINDS = 100
"""Kinds of errors that are told apart here."""
_THREADS = 16
_MUCH = 1e9


class _Read(NamedTuple):
    """A heartbeat that was read, and what its worker's glance said then."""

    heartbeat: Optional[Heartbeat]
    glance: Glance
    at: float


@dataclass
class _Block:
    """Parts of which one LIST tells, and what it has told."""

    block: Block
    listed_at: Optional[float] = None
    done: dict[int, int] = field(default_factory=dict)
    """Part -> size of its note."""

    @property
    def is_full(self) -> bool:
        return len(self.done) >= len(self.block)


class Observer:
    """Looks at one job. `now` is a clock that only goes forward."""

    def __init__(self, storage: Storage, job_url: str, job: Job, now: Callable[[], float]) -> None:
        self._storage = storage
        self._url = job_url
        self._job = job
        self._now = now
        is_near = storage.local_path(job_url) is not None
        self._requests = NEAR_REQUESTS if is_near else REQUESTS
        self._done_seconds = NEAR_DONE_EVERY_SECONDS if is_near else DONE_EVERY_SECONDS
        self._silent_seconds = silent_seconds(is_near)
        self._all = Blocks(job.parts)
        self._blocks = [_Block(block) for block in self._all]
        self._seen: dict[str, Seen] = {}
        self._read: dict[str, _Read] = {}
        self._lost: dict[int, int] = {}
        self._failed: dict[int, int] = {}
        """Of parts whose notes had to be read."""
        self._not_stored: dict[int, int] = {}
        self._troubles: dict[int, str] = {}
        self._stop: Optional[Stop] = None
        self._stop_at = -STOP_EVERY_SECONDS

    def look(self) -> State:
        """Everything, in parallel."""
        self._look_at_glances()
        self._look_for_stop()
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(self._list, [one for one in self._blocks if not one.is_full]))
            list(threads.map(self._read_note, self._unread_notes()))
            list(threads.map(self._read_heartbeat, [one for one in self._seen if self._news(one)]))
        return self.state()

    def look_again(self) -> State:
        """A few requests."""
        left = self._requests - self._look_at_glances()
        if self._now() - self._stop_at >= STOP_EVERY_SECONDS:
            left -= self._look_for_stop()
        for block in self._due_blocks()[: max(1, left // 2)]:
            self._list(block)
            left -= 1
        for part in self._unread_notes()[: max(0, left)]:
            self._read_note(part)
            left -= 1
        for worker in self._worth_reading()[: max(0, left)]:
            self._read_heartbeat(worker)
        return self.state()

    def state(self) -> State:
        """What is known now."""
        glances = [seen.glance for seen in self._seen.values()]
        failed, lost = sum(one.failed for one in glances), sum(one.lost for one in glances)
        completed = sum(one.completed for one in glances)
        not_stored = sum(one.not_stored for one in glances)
        runs, parts_done = self._job.runs, sum(len(block.done) for block in self._blocks)
        if parts_done >= self._job.parts and not self._unread_notes():
            # What is done counts; workers may have done some runs twice, or died before they told of others.
            sizes = (failed_by_size(size) for block in self._blocks for size in block.done.values())
            failed = sum(size or 0 for size in sizes) + sum(self._failed.values())
            lost = sum(self._lost.values())
            not_stored = sum(self._not_stored.values())
            rest = runs - failed - lost - not_stored
            completed = min(completed, rest) if self._troubles else rest
        groups = Groups(MOST_KINDS)
        for read in self._read.values():
            groups.add_all(read.heartbeat.errors if read.heartbeat else ())
        failed = min(failed, runs)
        lost = min(lost, runs - failed)
        not_stored = min(not_stored, runs - failed - lost)
        return State(
            self._url,
            self._job.name,
            runs,
            self._job.parts,
            parts_done,
            max(0, min(completed, runs - failed - lost - not_stored)),
            failed,
            lost,
            [self._worker(seen) for _, seen in sorted(self._seen.items())],
            groups.sorted(),
            list(self._troubles.values()),
            self._stop,
            not_stored,
            sum(one.ended_processes for one in glances),
            sum(one.unstored_files for one in glances),
        )

    def _worker(self, seen: Seen) -> Worker:
        read = self._read.get(seen.glance.worker)
        is_silent = not seen.glance.is_last and seen.age_seconds > self._silent_seconds
        return Worker(seen.glance, seen.age_seconds, is_silent, read.heartbeat if read else None)

    def _look_at_glances(self) -> int:
        """Returns how many requests that took."""
        self._seen = dict(read_glances(self._storage, self._url))
        return 1 + len(self._seen) // BLOCK

    def _look_for_stop(self) -> int:
        self._stop_at = self._now()
        if self._stop is not None:
            return 0
        try:
            self._stop = read_stop(self._storage.get(paths.stop(self._url)))
        except MissingError:
            self._stop = None
        return 1

    def look_for_job(self) -> None:
        """One request. Raises MissingError if somebody has removed all that the job keeps, or moved it away."""
        if self._storage.stat(paths.recipe(self._url)) is None:
            raise gone(self._url)

    def _due_blocks(self) -> Sequence[_Block]:
        """Blocks that should be listed, the ones that were not for longest first."""
        ended = sum(seen.glance.ended for seen in self._seen.values())
        is_last = bool(self._seen) and all(seen.glance.is_last for seen in self._seen.values())
        pause = 0.0 if ended >= self._job.runs or is_last else self._done_seconds
        open_ones = [block for block in self._blocks if not block.is_full]
        due = [
            block
            for block in open_ones
            if block.listed_at is None or self._now() - block.listed_at >= pause
        ]
        return sorted(due, key=lambda block: block.listed_at or 0.0)

    def _list(self, block: _Block) -> None:
        entries = self._all.entries(self._storage, paths.join(self._url, "done"), [block.block])
        block.done = {part: entry.size for part, entry in entries}
        block.listed_at = self._now()

    def _unread_notes(self) -> Sequence[int]:
        """Parts whose notes tell more than their size does."""
        sizes = ((part, size) for block in self._blocks for part, size in block.done.items())
        return [
            part for part, size in sizes if part not in self._lost and failed_by_size(size) is None
        ]

    def _read_note(self, part: int) -> None:
        try:
            note = read_done_note(self._storage.get(paths.done(self._url, part)))
        except MissingError:
            return
        self._failed[part], self._lost[part] = note.failed, len(note.lost)
        self._not_stored[part] = note.not_stored
        if note.trouble:
            self._troubles[part] = note.trouble

    def _worth_reading(self) -> Sequence[str]:
        """Workers whose heartbeat has changed since it was read."""
        changed = [worker for worker in self._seen if self._news(worker)]
        return sorted(changed, key=self._news, reverse=True)

    def _news(self, worker: str) -> float:
        """How much there is to be learnt about a worker: seconds, as it were; 0 if nothing is new."""
        read, glance = self._read.get(worker), self._seen[worker].glance
        if read is None:
            return 3 * _MUCH
        if read.glance == glance:
            return 0.0
        has_failed = glance.unsuccessful != read.glance.unsuccessful
        return _MUCH * has_failed + _MUCH * glance.is_last + self._now() - read.at + 1.0

    def _read_heartbeat(self, worker: str) -> None:
        try:
            heartbeat = heartbeat_of(self._storage.get(paths.heartbeat(self._url, worker)))
        except MissingError:
            heartbeat = None
        self._read[worker] = _Read(heartbeat, self._seen[worker].glance, self._now())
