"""Processes that fetch: one for each processor, since what Python does for a small object takes longer than the answer.

Both ends of the wire are here. A process ends when its pipe does, so none outlives the pull. One that is killed with
files half written does not tidy up any more: the one that has killed it does.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from sc.errors import MissingError, OutageError, ScError
from sc.pulling.memory import Item
from sc.storage import Storage
from sc.storage.atomic_files import hidden_prefix

THREADS = 8
"""Requests at a time of each process."""
MOST_PROCESSES = 4
GONE, UNPLACED, REFUSED, NOT_TRIED = -1, -2, -3, -4
ANSWER_SECONDS = 5.0
"""For so long a storage that has answered is believed to be there."""
MOST_OUTAGES = 16
LOOK_SECONDS = 0.2
LAST_SECONDS = 1.0
"""For what is under way when it is of no use to go on."""
_OF_THE_MACHINE = frozenset(
    [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM]
)
"""What the next object would meet, too."""
_OF_THE_NAME = frozenset(
    [errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL]
)


class Fetched(NamedTuple):
    """What became of an object."""

    modified: int
    """When its file was changed, in nanoseconds; or GONE, UNPLACED, REFUSED, or NOT_TRIED."""
    reason: str = ""
    """Why it was refused, or has no place, to be read after its name."""


class Answer(NamedTuple):
    """What became of a chunk."""

    modified: Sequence[int]
    """Of each object, as `Fetched` has it."""
    problems: Sequence[tuple[str, str]]
    """The places that were refused or have none here, and why."""
    trouble: str
    """Why nothing more can be fetched; empty if it can."""


class Crew:
    """The processes, seen from the one that tells them what to fetch."""

    def __init__(self, open_storage: Callable[[], Storage], dest: str) -> None:
        context: Any = multiprocessing.get_context("fork")
        self.size = max(2, min(MOST_PROCESSES, os.cpu_count() or 1))
        self._dest = dest
        self._in_work: list[deque[list[Item]]] = [deque() for _ in range(self.size)]
        """Of each process, the chunks of which a file may be half written."""
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for _ in range(self.size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, [*self._pipes, ours], open_storage, dest), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def send(self, number: int, chunk: list[Item]) -> None:
        """Have one more chunk fetched. Raises ScError as `receive` does."""
        self._in_work[number].append(chunk)
        try:
            self._pipes[number].send(chunk)
        except OSError:
            raise _killed() from None

    def receive(self, number: int) -> Answer:
        """The answer to the oldest chunk that is unanswered. Raises ScError for a process that was killed."""
        try:
            answer: Answer = self._pipes[number].recv()
        except (EOFError, OSError):
            raise _killed() from None
        if not answer.trouble:  # else its other threads are still at it
            self._in_work[number].popleft()
        return answer

    def close(self) -> None:
        """End them, at once, and remove what they have half written."""
        for process in self._processes:
            process.kill()
        for pipe in self._pipes:
            pipe.close()
        for process, chunks in zip(self._processes, self._in_work):
            process.join()
            _sweep(self._dest, process.pid, (item for chunk in list(chunks) for item in chunk))


def _killed() -> ScError:
    return ScError("A process that fetches was killed; call 'sc pull' again for the rest.")


def _sweep(dest: str, writer: int, items: Iterable[Item]) -> None:
    """Remove what this process has left beside the files that it was about to write. It must be dead."""
    for folder in {os.path.dirname(f"{dest}/{item.path}") for item in items}:
        with suppress(OSError):  # it may never have been made; and tidiness is no reason to fail
            for name in os.listdir(folder):
                if name.startswith(hidden_prefix(writer)):
                    os.unlink(f"{folder}/{name}")


def _serve(
    pipe: Connection, others: list[Connection], open_storage: Callable[[], Storage], dest: str
) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in others:
        other.close()
    fetcher = Fetcher(open_storage(), dest)
    with ThreadPoolExecutor(THREADS) as threads:
        while True:
            try:
                chunk = pipe.recv()
                pipe.send(fetcher.fetch_all(threads, chunk))
            except (EOFError, OSError):
                return


class Fetcher:
    """One process's work. What is wrong with one object does not keep others from coming; what is wrong with this
    machine, or with the way to the storage, does."""

    def __init__(
        self, storage: Storage, dest: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage = storage
        self._dest = dest
        self._clock = clock
        self._lock = threading.Lock()
        self._trouble = ""
        self._answered_at = -ANSWER_SECONDS
        self._outages = 0
        """Objects in a row that a storage which lists them does not give."""

    def fetch_all(self, threads: ThreadPoolExecutor, chunk: Sequence[Item]) -> Answer:
        """Bring a chunk; when it is of no use to go on, no more than what is here already."""
        fetching = [threads.submit(self._fetch, item) for item in chunk]
        waiting = fetching
        while waiting and not self._trouble:
            waiting = list(wait(waiting, LOOK_SECONDS).not_done)
        if self._trouble:
            wait(fetching, LAST_SECONDS)
        not_tried = Fetched(NOT_TRIED)
        found = [one.result() if one.done() else not_tried for one in fetching]
        return Answer(
            [one.modified for one in found],
            [(item.place, one.reason) for item, one in zip(chunk, found) if one.reason],
            self._trouble,
        )

    def _fetch(self, item: Item) -> Fetched:
        if self._trouble:
            return Fetched(NOT_TRIED)
        try:
            modified = fetch(self._storage, self._dest, item)
        except MissingError:
            modified = GONE
        except (ScError, OSError) as error:
            return self._not_fetched(item, error)
        self._outages = 0
        return Fetched(modified)

    def _not_fetched(self, item: Item, error: Exception) -> Fetched:
        """Tell what is wrong with one object from what is wrong with all."""
        path, cause = f"{self._dest}/{item.path}", error.__cause__
        is_here = isinstance(error, OSError) or str(error).startswith(path)
        number = next((one.errno for one in (error, cause) if isinstance(one, OSError)), None)
        if is_here and number in _OF_THE_NAME:
            return Fetched(
                UNPLACED, f"has no place in {self._dest}: its name is not possible there"
            )
        text = (
            f"{path} cannot be written: {error.strerror}"
            if isinstance(error, OSError)
            else str(error)
        )
        if number in _OF_THE_MACHINE or not self._is_of_the_object(item, error):
            self._trouble = self._trouble or text
            return Fetched(NOT_TRIED)
        for known in (item.place, path):
            text = text[len(known) :].lstrip() if text.startswith(known) else text
        return Fetched(REFUSED, text)

    def _is_of_the_object(self, item: Item, error: Exception) -> bool:
        """Whether the storage answers otherwise, as far as a listing tells."""
        if isinstance(error, OutageError):
            self._outages += 1
            if self._outages >= MOST_OUTAGES:
                return False
        if self._storage.local_path(item.place) is not None:
            return True
        with self._lock:
            if self._clock() - self._answered_at >= ANSWER_SECONDS:
                try:
                    next(iter(self._storage.list(item.place.rpartition("/")[0])), None)
                except ScError:
                    return False
                self._answered_at = self._clock()
        return True


def fetch(storage: Storage, dest: str, item: Item) -> int:
    """Bring one object; the time of the file's change. Raises OSError and ScError."""
    path = f"{dest}/{item.path}"
    storage.get_file(item.place, path, item.size)
    return os.stat(path).st_mtime_ns
