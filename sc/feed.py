"""A plain batch as the executor wants it: one run after the other, and told of every end.

    runs ─▶ chunk ─▶ errand: remove previous outputs ─▶ ready ─▶ executor ─▶ outcome ─▶ Tally, records

A run whose outputs are written in place goes straight to `ready`: there the executor removes the old ones itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Optional

from sc import paths
from sc.errands import Answer, Errands
from sc.errors import ExitCode
from sc.executor import Ending, Gauge, Task
from sc.halting import Limit
from sc.model import COMPLETED, FAILED, LOST, NOT_STORED, Counts, Outcome, Run
from sc.previous_outputs import find_previous, remove_previous
from sc.records import PAUSE_SECONDS, Records
from sc.storage import Storage

CHUNK = 1000
"""Runs that are looked after together: as many status codes as one request of S3 can remove."""
FIRST_CHUNK = 50
FAILURES = 5
"""So many of each kind are kept to be shown."""
LAST_ERRANDS_SECONDS = 120.0
"""For the last records, after the last run has ended."""

Show = Callable[["Tally", Gauge], float]
"""Shows the state of things; returns in how many seconds it wants to do so again."""


@dataclass
class Tally(Counts):
    """What has become of the runs so far. A few numbers, however many runs there are."""

    total: int = 0
    failures: list[Outcome] = field(default_factory=list)
    """The first ones."""
    with_ended_processes: list[Outcome] = field(default_factory=list)
    with_unstored_files: list[Outcome] = field(default_factory=list)
    limit: Optional[Limit] = None
    """With so many failures nothing more is started."""

    def add(self, outcome: Outcome) -> None:
        super().add(outcome)
        for kept, is_such in (
            (self.failures, outcome.status in (FAILED, NOT_STORED, LOST)),
            (self.with_ended_processes, outcome.ended_processes),
            (self.with_unstored_files, outcome.unstored_files),
        ):
            if is_such and len(kept) < FAILURES:
                kept.append(outcome)

    @property
    def is_broken(self) -> bool:
        """True when too many have failed."""
        return self.limit is not None and self.limit.is_reached(self.ended, self.unsuccessful)

    @property
    def not_run(self) -> int:
        return self.total - self.ended

    def counts(self) -> dict[str, int]:
        """By the word that people see; `not run` is left to the end of it all."""
        return {
            COMPLETED: self.completed,
            FAILED: self.failed,
            LOST: self.lost,
            NOT_STORED: self.not_stored,
        }

    def exit_code(self, ending: Ending) -> ExitCode:
        """What the whole ends in: an interruption first, then trouble, then failures."""
        if ending.was_interrupted:
            return ExitCode.INTERRUPTED
        if ending.kept_runs or self.not_stored or (self.not_run and not self.is_broken):
            return ExitCode.REFUSED
        return ExitCode.RUNS_FAILED if self.failed or self.lost else ExitCode.OK


class BatchFeed:
    """The `Feed` of a batch that is executed here. Memory: two chunks of runs."""

    def __init__(
        self,
        runs: Iterable[Run],
        tally: Tally,
        storage: Storage,
        errands: Errands,
        records: Records,
        show: Show,
        fresh_below: str = "",
        remote_output_path: str = "",
    ) -> None:
        """Below `fresh_below`, if it is a place, lies nothing yet: nothing has to be removed there. Most of the runs
        have their outputs below `remote_output_path`: what lies there already is looked for with one listing."""
        self._runs: Iterator[Run] = iter(runs)
        self._tally = tally
        self._storage = storage
        self._errands = errands
        self._records = records
        self._show = show
        self._place = remote_output_path
        self._fresh = paths.join(fresh_below, "") if fresh_below else ""
        self._ready: deque[Run] = deque()
        self._chunks: dict[int, list[Run]] = {}
        self._chunk = FIRST_CHUNK
        self._is_read = False
        self._storing: dict[int, tuple[str, bytes]] = {}
        """Records under way, by the number of the errand: a place, and what is to stand there."""
        self._unkept: dict[str, bytes] = {}
        """Records that could not be stored, by their place, to be tried again."""
        self._try_again_at = 0.0
        self.trouble = ""
        """Why no more runs can be started; empty while they can."""
        self.records_trouble = ""
        """Why records are not stored; empty if all are."""

    def take(self) -> Optional[Task]:
        """The next run whose old outputs are gone; none when too many have failed."""
        if self._tally.is_broken:
            return None
        if len(self._ready) <= CHUNK // 2 and not self._chunks and not self._is_read:
            self._fetch()
        return Task(self._ready.popleft()) if self._ready else None

    def is_over(self) -> bool:
        return self._tally.is_broken or (self._is_read and not self._ready and not self._chunks)

    def fileno(self) -> Optional[int]:
        return self._errands.fileno()

    def read_news(self) -> None:
        self._hear(0)

    def revoked(self) -> frozenset[int]:
        return frozenset()

    def is_stopping(self) -> bool:
        return bool(self.trouble)

    def ended(self, task: Task, outcome: Outcome) -> None:
        self._tally.add(outcome)
        self._records.add(outcome)

    def tick(self, gauge: Gauge) -> float:
        self._keep_records()
        return self._show(self._tally, gauge)

    def finish(self, seconds: float = LAST_ERRANDS_SECONDS) -> None:
        """Store the last records; waits for it, but no longer than this."""
        self._keep_records(at_once=True)
        limit = time.monotonic() + seconds
        try:
            while self._errands.waiting and time.monotonic() < limit:
                self._hear(1.0)
        finally:
            if self._storing and not self.records_trouble:
                self.records_trouble = "there was no time to store them"

    def _fetch(self) -> None:
        chunk = list(islice(self._runs, self._chunk))
        self._is_read = len(chunk) < self._chunk
        self._chunk = CHUNK
        places = [run.remote_output_path for run in chunk]
        places = [place for place in places if self._may_have_outputs(place)]
        if places:
            self._chunks[self._errands.ask(_forget, places, self._place)] = chunk
        else:
            self._ready.extend(chunk)

    def _may_have_outputs(self, place: str) -> bool:
        """False for places where there can be none, and where the executor removes them itself."""
        if self._fresh and place.startswith(self._fresh):
            return False
        return self._storage.local_path(place) is None

    def _hear(self, seconds: float) -> None:
        for answer in self._errands.answers(seconds):
            chunk = self._chunks.pop(answer.number, None)
            if chunk is None:
                self._records_answered(answer)
            elif answer.error:
                self.trouble = answer.error
            else:
                self._ready.extend(chunk)

    def _records_answered(self, answer: Answer) -> None:
        place, data = self._storing.pop(answer.number)
        if answer.error and all(place != other for other, _ in self._storing.values()):
            self._unkept[place] = data
            self._try_again_at = time.monotonic() + PAUSE_SECONDS
            self.records_trouble = answer.error
        elif not self._unkept and not answer.error:
            self.records_trouble = ""

    def _keep_records(self, at_once: bool = False) -> None:
        now = time.monotonic()
        while (due := self._records.due(now, at_once)) is not None:
            self._store(*due)
        if self._unkept and (at_once or now >= self._try_again_at):
            for place, data in list(self._unkept.items()):
                self._store(place, data)

    def _store(self, place: str, data: bytes) -> None:
        self._unkept.pop(place, None)  # what stands there from now on has all of that
        self._storing[self._errands.ask(_put, place, data)] = place, data


def _forget(storage: Storage, places: list[str], below: str) -> None:
    remove_previous(storage, find_previous(storage, places, below))


def _put(storage: Storage, place: str, data: bytes) -> None:
    storage.put(place, data)
