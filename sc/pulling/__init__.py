"""Outputs of many runs into a local folder: in parallel, and only what has changed.

    listing threads ─▶ selection ─▶ what is here already? ─▶ chunks ─▶ processes, each with threads ─▶ files
     (key ranges)      (whose, what,      (memory)                            (fetching)       │
                        and where to)         ▲─────────────── what was fetched ──────────────┘

At the end `stale` removes what an earlier pull has fetched of runs that were executed again since, and nothing else.
Memory: 8 bytes a run (24 if there was an earlier pull), 33 bytes an object fetched before, and a few chunks.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Optional

from sc.codes import ranges
from sc.errors import OutageError, ScError, StorageError
from sc.paths import BEHIND, JOBS, STATUS_CODE, STDERR, STDOUT
from sc.pulling.crew import GONE, LAST_SECONDS, REFUSED, UNPLACED, Crew
from sc.pulling.memory import Item, Memory
from sc.pulling.selection import Selection
from sc.pulling.stale import Executions, Stale
from sc.storage import Entry, Storage

LISTERS = 4
CHUNK = 64
_CHUNKS_WAITING = 32
_LOOK_SECONDS = 0.2
_ALWAYS_STORED = tuple(f"/{name}" for name in (STATUS_CODE, STDERR, STDOUT))
_REASONS_KEPT, _EXAMPLES_KEPT = 20, 5
OTHER_REASONS = "did not come, for other reasons"


@dataclass
class Pulled:
    """What has become of the objects so far."""

    objects: int = 0
    """Seen, of those that are wanted."""
    fetched: int = 0
    bytes: int = 0
    unchanged: int = 0
    gone: int = 0
    """Removed between the listing and the fetching."""
    removed: int = 0
    """Files that an earlier pull has fetched, of runs that were executed again since and have them no more."""
    unplaced: int = 0
    """Whose names this machine cannot keep."""
    refused: int = 0
    """That the storage has, and does not give."""
    unlisted: int = 0
    """Listings that came to no end: there may be more objects than were seen."""
    problems: dict[str, Problem] = field(default_factory=dict)
    """All of these by their reasons, which are sentences without a subject."""

    @property
    def is_all(self) -> bool:
        """True if nothing is known that is not here."""
        return not (self.unplaced or self.refused or self.unlisted)

    def add_problem(self, place: str, reason: str) -> None:
        if reason not in self.problems and len(self.problems) >= _REASONS_KEPT:
            reason = OTHER_REASONS
        self.problems.setdefault(reason, Problem()).add(place)


@dataclass
class Problem:
    """Objects that have not come, for one reason."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    """The first places."""

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.examples) < _EXAMPLES_KEPT:
            self.examples.append(place)


class Pull:
    """One pull. To be made in a process without other threads, since it forks."""

    def __init__(
        self,
        storage: Storage,
        open_storage: Callable[[], Storage],
        selection: Selection,
        dest: str,
        show: Callable[[Pulled], None],
        runs: Callable[[], Iterable[str]] = tuple,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`runs` gives the output paths of the selection again, for what is to be removed of them."""
        self.pulled = Pulled()
        self._storage = storage
        self._selection = selection
        self._dest = dest
        self._show = show
        self._runs = runs
        self._now = now
        self._executions = Executions()
        self._memory = Memory(dest)
        self._crew = Crew(open_storage, dest)
        self._chunks: queue.Queue[Optional[list[Item]]] = queue.Queue(_CHUNKS_WAITING)
        self._lock = threading.Lock()
        self._failure: Optional[BaseException] = None
        self._unlisted: Optional[StorageError] = None

    def run(self) -> Pulled:
        """Until all is here. Raises ScError for what stops it; what was fetched is remembered all the same."""
        carriers = [threading.Thread(target=self._carry, args=(n,)) for n in range(self._crew.size)]
        ways = queue.SimpleQueue[Callable[[], Iterable[Entry]]]()
        for way in self._ways():
            ways.put(way)
        listers = [
            threading.Thread(target=self._look, args=(ways,))
            for _ in range(min(LISTERS, ways.qsize()))
        ]
        try:
            for thread in (*carriers, *listers):
                thread.daemon = True
                thread.start()
            self._wait(listers)
            for _ in carriers:
                self._put(None)
            self._wait(carriers)
            if self._failure is None:
                self._conclude()
            for thread in carriers:  # what came to its end beside the trouble counts
                thread.join(LAST_SECONDS / len(carriers))
        finally:
            self._failure = self._failure or _Stopped()
            self._crew.close()
            self._memory.close()
        if not isinstance(self._failure, _Stopped):
            raise self._failure
        return self.pulled

    def _wait(self, threads: Iterable[threading.Thread]) -> None:
        for thread in threads:
            while thread.is_alive() and self._failure is None:
                thread.join(_LOOK_SECONDS)
                with self._lock:
                    self._show(self.pulled)

    def _ways(self) -> Iterator[Callable[[], Iterable[Entry]]]:
        """Listings that together tell of all that is wanted, each once."""
        selection, storage = self._selection, self._storage
        for path in selection.singles:
            yield lambda path=path: storage.list(path)  # type: ignore[misc]
        if selection.inside is None:
            return
        place, bounds = selection.inside, [("", "")]
        if storage.local_path(place) is None:
            bounds = ranges(sorted(selection.sample.paths), selection.sample.count)
        for start, end in _without_jobs(bounds):
            yield lambda start=start, end=end: storage.list(place, start, end)  # type: ignore[misc]

    def _conclude(self) -> None:
        if self._unlisted is None:
            self.pulled.removed = self._remove_stale()
        elif not self.pulled.objects:
            self._failure = self._unlisted  # as of a place that may not be listed at all

    def _look(self, ways: queue.SimpleQueue[Callable[[], Iterable[Entry]]]) -> None:
        """List, one range after the other, and pass on what is not here yet."""
        try:
            while self._failure is None:
                self._list(ways.get_nowait())
        except queue.Empty:
            return
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            self._failure = self._failure or error

    def _list(self, way: Callable[[], Iterable[Entry]]) -> None:
        chunk: list[Item] = []
        try:
            for entry in way():
                self._consider(entry, chunk)
                if len(chunk) == CHUNK:
                    self._put(chunk)
                    chunk = []
                if self._failure is not None:
                    return
        except OutageError:
            raise
        except StorageError as error:  # others may be listed all the same
            with self._lock:
                self._unlisted = self._unlisted or error
                self.pulled.unlisted += 1
                place, _, reason = str(error).partition(" ")
                self.pulled.add_problem(place, reason)
        if chunk:
            self._put(chunk)

    def _consider(self, entry: Entry, chunk: list[Item]) -> None:
        self._note_execution(entry)
        item = self._selection.item(entry)
        if item is None:
            return
        problem = self._selection.problem(item)
        modified = -1 if problem else _modified(self._dest, item)
        is_here = not problem and self._memory.has(item, modified)
        self._memory.see(item)
        with self._lock:
            self.pulled.objects += 1
            self.pulled.unchanged += is_here
            if problem:
                self.pulled.unplaced += 1
                self.pulled.add_problem(item.place, problem)
        if not is_here and not problem:
            chunk.append(item)

    def _note_execution(self, entry: Entry) -> None:
        """Of what every execution of a run stores anew: its age tells when that was."""
        if self._memory.is_empty() or not entry.is_age_sure:
            return
        if entry.place.endswith(_ALWAYS_STORED):
            run = self._selection.run_of(entry.place)
            if run is not None and run == entry.place.rpartition("/")[0]:
                with self._lock:
                    self._executions.note(run, self._now() - entry.age_seconds)

    def _remove_stale(self) -> int:
        if not self._memory.has_unseen():
            return 0
        stale = Stale(self._dest, self._selection, self._memory, self._executions)
        return stale.remove(self._runs())

    def _put(self, chunk: Optional[list[Item]]) -> None:
        while self._failure is None:
            try:
                self._chunks.put(chunk, timeout=_LOOK_SECONDS)
                return
            except queue.Full:
                continue

    def _carry(self, number: int) -> None:
        """Between the chunks and one process, which always has one more chunk than it works on."""
        waiting: list[list[Item]] = []
        try:
            while self._failure is None:
                try:
                    chunk = self._chunks.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    continue
                if chunk is not None:
                    self._crew.send(number, chunk)
                    waiting.append(chunk)
                while len(waiting) > (chunk is not None):
                    self._take_in(number, waiting.pop(0))
                if chunk is None:
                    return
            while waiting:
                self._take_in(number, waiting.pop(0))
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            self._failure = self._failure or error

    def _take_in(self, number: int, chunk: list[Item]) -> None:
        answer = self._crew.receive(number)
        with self._lock:
            pulled = self.pulled
            for item, modified in zip(chunk, answer.modified):
                if modified >= 0:
                    self._memory.add(item, modified)
                    pulled.fetched += 1
                    pulled.bytes += item.size
            pulled.gone += answer.modified.count(GONE)
            pulled.unplaced += answer.modified.count(UNPLACED)
            pulled.refused += answer.modified.count(REFUSED)
            for place, reason in answer.problems:
                pulled.add_problem(place, reason)
        if answer.trouble:
            raise StorageError(answer.trouble)


class _Stopped(ScError):
    """Tells the threads that it is over."""


def _without_jobs(bounds: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The ranges without what jobs keep for themselves, which may be many objects."""
    first_end = bounds[0][1]
    if bounds[0][0] or (first_end and first_end <= JOBS + BEHIND):
        return bounds
    return [("", JOBS + "/"), (JOBS + BEHIND, first_end), *bounds[1:]]


def _modified(dest: str, item: Item) -> int:
    """Of the file that is here, if it has the right size; else -1."""
    try:
        status = os.stat(f"{dest}/{item.path}")
    except OSError:
        return -1
    return status.st_mtime_ns if status.st_size == item.size else -1
