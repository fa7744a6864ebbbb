"""Processes that fetch: one for each processor, since what Python does for a small object takes longer than the answer.

Both ends of the wire are here. A process ends when its pipe does, so none outlives the pull. One that is killed with
files half written does not tidy up any more: the one that has killed it does.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from sc.errors import MissingError, ScError, StorageError
from sc.pulling.memory import Item
from sc.storage import Storage
from sc.storage.atomic_files import hidden_prefix

THREADS = 8
"""Requests at a time of each process."""
MOST_PROCESSES = 4
GONE, UNPLACED = -1, -2
_OF_THE_NAME = frozenset(
    [errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL]
)


class Answer(NamedTuple):
    """What became of a chunk."""

    modified: Sequence[int]
    """Of each file, in nanoseconds; GONE or UNPLACED for an object that has none."""
    gone: int
    problems: Sequence[str]
    """Of what has no place here."""
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
    storage = open_storage()
    with ThreadPoolExecutor(THREADS) as threads:
        while True:
            try:
                chunk = pipe.recv()
                pipe.send(_fetch_all(threads, storage, dest, chunk))
            except (EOFError, OSError):
                return


def _fetch_all(
    threads: ThreadPoolExecutor, storage: Storage, dest: str, chunk: list[Item]
) -> Answer:
    modified: list[int] = []
    problems: list[str] = []
    try:
        for item, found in zip(chunk, threads.map(lambda one: fetch(storage, dest, one), chunk)):
            modified.append(found)
            if found == UNPLACED:
                problems.append(
                    f"{item.place} has no place in {dest}: its name is not possible there"
                )
    except ScError as error:
        return Answer(modified, 0, problems, str(error))
    except OSError as error:
        return Answer(modified, 0, problems, f"{dest} cannot be written to: {error.strerror}")
    return Answer(modified, modified.count(GONE), problems, "")


def fetch(storage: Storage, dest: str, item: Item) -> int:
    """Bring one object; the time of the file's change, GONE, or UNPLACED."""
    path = f"{dest}/{item.path}"
    try:
        storage.get_file(item.place, path, item.size)
        return os.stat(path).st_mtime_ns
    except MissingError:
        return GONE
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _OF_THE_NAME:
            return UNPLACED
        raise
