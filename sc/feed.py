"""A plain batch as the executor wants it: one run after the other, and told of every end.

    runs ─▶ chunk ─▶ errand: find what lies there ─▶ known ─▶ (a slot is free) ─▶ errand: remove it ─▶ ready ─▶ executor
    executor ─▶ outcome ─▶ Tally, records

What lies at a run's output path is removed when there is a free slot for it, and not before: an execution that is
interrupted, in whatever way, leaves to all others what they had. While one errand is under way further slots become
free, and the next errand is for all of them, so that a storage that answers slowly is asked no more often than it can
answer. A run at whose output path nothing lies waits for nothing; where outputs are written in place the executor
removes the old ones itself.
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
from sc.held_lease import HeldLease
from sc.leases import namer
from sc.model import COMPLETED, FAILED, LOST, NOT_STORED, Counts, Outcome, Run
from sc.previous_outputs import Previous, remove_previous
from sc.records import PAUSE_SECONDS, Records
from sc.storage import Storage
from sc.strangers import NOBODY, Found, Own, find_ours, refused

CHUNK = 1000
"""Runs that are looked after together: as many status codes as one request of S3 can remove."""
FIRST_CHUNK = 50
FAILURES = 5
"""So many of each kind are kept to be shown."""
LAST_ERRANDS_SECONDS = 120.0
"""For the last records, after the last run has ended."""

_ALL, _NONE = frozenset([0]), frozenset[int]()
"""Of the one origin that a plain batch has."""

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

    def tell_removed(self, runs: int) -> None:
        """The outputs of so many that had ended are gone."""
        completed = min(runs, self.completed)
        self.completed -= completed
        self.failed -= runs - completed
        self.not_stored += runs

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
        lease: Optional[HeldLease] = None,
        own: Own = NOBODY,
    ) -> None:
        """Below `fresh_below`, if it is a place, lies nothing yet: nothing has to be removed there. Most of the runs
        have their outputs below `remote_output_path`: what lies there already is looked for with one listing. `lease`:
        nobody else executes these runs as long as we have it. `own`: under which name it is executed."""
        self._runs: Iterator[Run] = iter(runs)
        self._tally = tally
        self._storage = storage
        self._errands = errands
        self._records = records
        self._show = show
        self._place, self._own, self._lease = remote_output_path, own, lease
        self._fresh = paths.join(fresh_below, "") if fresh_below else ""
        self._ready: deque[Run] = deque()
        self._looking: dict[int, list[Run]] = {}
        """Runs of which it is asked what lies at their output paths, by the number of the errand."""
        self._known: deque[tuple[Run, Optional[Previous]]] = deque()
        self._starting: dict[int, list[Run]] = {}
        """Runs whose old outputs are being removed, by the number of the errand."""
        self._chunk, self._is_read = FIRST_CHUNK, False
        self._storing: dict[int, tuple[str, bytes]] = {}
        """Records under way, by the number of the errand: a place, and what is to stand there."""
        self._unkept: dict[str, bytes] = {}
        """Records that could not be stored, by their place, to be tried again."""
        self._try_again_at = 0.0
        self.trouble = ""
        """Why no more runs can be started; empty while they can."""
        self.records_trouble = ""
        """Why records are not stored; empty if all are."""

    def take(self, wanted: int = 1) -> Optional[Task]:
        """The next run whose old outputs are gone; none when too many have failed, or nothing can be removed."""
        if self._tally.is_broken or self.trouble:
            return None
        if len(self._known) <= CHUNK // 2 and not self._looking and not self._is_read:
            self._fetch()
        if not self._ready and not self._starting:
            self._clear(min(wanted, CHUNK))
        return Task(self._ready.popleft()) if self._ready else None

    def is_over(self) -> bool:
        is_empty = not (self._looking or self._known or self._starting or self._ready)
        return self._tally.is_broken or (self._is_read and is_empty)

    def fileno(self) -> Optional[int]:
        return self._errands.fileno()

    def read_news(self) -> None:
        self._hear(0)

    def revoked(self) -> frozenset[int]:
        return _ALL if self._lease is not None and self._lease.lost else _NONE

    def is_in_doubt(self) -> bool:
        return self._lease is not None and self._lease.is_in_doubt()

    def is_stopping(self) -> bool:
        return bool(self.trouble)

    def is_urgent(self) -> bool:
        return False

    def ended(self, task: Task, outcome: Outcome) -> None:
        self._tally.add(outcome)
        self._records.add(outcome)

    def tick(self, gauge: Gauge) -> float:
        self._keep_records()
        pause = self._show(self._tally, gauge)
        return pause if self._lease is None else min(pause, self._lease.step())

    def finish(self, seconds: float = LAST_ERRANDS_SECONDS) -> None:
        """Store the last records, and let others have the runs; waits for it, but no longer than this."""
        self._keep_records(at_once=True)
        if self._lease is not None:
            self._lease.give_up(is_finished=not self._tally.not_run)
        limit = time.monotonic() + seconds
        try:
            while self._errands.waiting and (left := limit - time.monotonic()) > 0:
                self._hear(min(1.0, left))
        finally:
            if self._storing and not self.records_trouble:
                self.records_trouble = "there was no time to store them"

    def _fetch(self) -> None:
        """Look what lies at the output paths of the next runs."""
        chunk = list(islice(self._runs, self._chunk))
        self._is_read = len(chunk) < self._chunk
        self._chunk = CHUNK
        places = [run.remote_output_path for run in chunk]
        places = [place for place in places if self._may_have_outputs(place)]
        if places:
            self._looking[self._errands.ask(_find, places, self._place, self._own)] = chunk
        else:
            self._known.extend((run, None) for run in chunk)

    def _clear(self, wanted: int) -> None:
        """Have removed what lies at the output paths of so many runs, which are about to start."""
        runs: list[Run] = []
        old: dict[str, Previous] = {}
        while self._known and len(runs) < wanted:
            run, previous = self._known.popleft()
            runs.append(run)
            if previous is not None:
                old[run.remote_output_path] = previous
        if old:
            self._starting[self._errands.ask(remove_previous, old)] = runs
        else:
            self._ready.extend(runs)

    def _may_have_outputs(self, place: str) -> bool:
        """False for places where there can be none, and where the executor removes them itself."""
        if self._fresh and place.startswith(self._fresh):
            return False
        return self._storage.local_path(place) is None

    def _hear(self, seconds: float) -> None:
        for answer in self._errands.answers(seconds):
            if self._lease is not None and self._lease.hear(answer):
                self.trouble = self.trouble or self._lease.lost
                continue
            chunk = self._looking.pop(answer.number, None)
            runs = self._starting.pop(answer.number, None)
            if chunk is None and runs is None:
                self._records_answered(answer)
            elif answer.error:
                self.trouble = answer.error
            elif chunk is not None:
                self._found(chunk, answer.result)
            elif runs is not None:
                self._ready.extend(runs)

    def _found(self, chunk: Iterable[Run], found: Found) -> None:
        for run in chunk:
            stranger = found.strangers.get(run.remote_output_path)
            if stranger is None:
                self._known.append((run, found.previous.get(run.remote_output_path)))
            else:  # what lay there at the start was refused as a whole: this was too far behind to be seen then
                self.ended(Task(run), refused(run, stranger, time.time()))

    def _records_answered(self, answer: Answer) -> None:
        if answer.number not in self._storing:  # the lease has been given up
            return
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


def _find(storage: Storage, runs: list[str], place: str, own: Own) -> Found:
    return find_ours(storage, runs, place, own, namer(place))


def _put(storage: Storage, place: str, data: bytes) -> None:
    storage.put(place, data)
