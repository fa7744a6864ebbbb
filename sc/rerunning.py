"""Runs done again before somebody's eyes: one after the other, with what they print shown as it comes.

Feed (of a batch, or of a list) ─▶ OneByOne ─▶ executor
                                      └─ at each tick: what is new in stdout and stderr ─▶ echo
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Optional

from sc import paths
from sc.executor import Feed, Gauge, Task
from sc.model import Outcome, Run

LOOK_SECONDS = 0.1

Echo = Callable[[str, bytes], None]
"""Takes the name of a stream, `stdout` or `stderr`, and new bytes of it."""
Places = Callable[[str], str]
"""Where on this machine a run's stream lies while it goes on, by the stream's name; "" if nowhere."""


class OneByOne:
    """A Feed that gives the runs of another one by one."""

    def __init__(
        self,
        inner: Feed,
        echo: Echo,
        places: Callable[[Run], Places],
        begin: Callable[[Run], None],
        end: Callable[[Outcome], None],
        fetch: Optional[Callable[[str], bytes]] = None,
    ) -> None:
        """`fetch` gets the stored output of a run that was over before anybody could look."""
        self._inner = inner
        self._echo = echo
        self._places = places
        self._begin = begin
        self._end = end
        self._fetch = fetch
        self._tails: list[FileTail] = []

    def take(self, wanted: int = 1) -> Optional[Task]:
        if self._tails:
            return None
        task = self._inner.take()
        if task is not None:
            places = self._places(task.run)
            streams = (paths.STDOUT, paths.STDERR)
            self._tails = [FileTail(name, places, self._echo) for name in streams]
            self._begin(task.run)
        return task

    def is_over(self) -> bool:
        return not self._tails and self._inner.is_over()

    def fileno(self) -> Optional[int]:
        return self._inner.fileno()

    def read_news(self) -> None:
        self._inner.read_news()

    def revoked(self) -> frozenset[int]:
        return self._inner.revoked()

    def is_in_doubt(self) -> bool:
        return self._inner.is_in_doubt()

    def is_stopping(self) -> bool:
        return self._inner.is_stopping()

    def is_urgent(self) -> bool:
        return self._inner.is_urgent()

    def ended(self, task: Task, outcome: Outcome) -> None:
        for tail in self._tails:
            tail.look()
            if not tail.has_seen and self._fetch is not None:
                place = paths.join(task.run.remote_output_path, tail.name)
                self._echo(tail.name, self._fetch(place))
            tail.close()
        self._tails = []
        self._inner.ended(task, outcome)
        self._end(outcome)

    def tick(self, gauge: Gauge) -> float:
        for tail in self._tails:
            tail.look()
        return min(LOOK_SECONDS, self._inner.tick(gauge))


class ListFeed:
    """A Feed of a few runs that leave nothing anywhere."""

    def __init__(self, runs: Iterator[Run]) -> None:
        self._runs = runs
        self._next = next(runs, None)

    def take(self, wanted: int = 1) -> Optional[Task]:
        run, self._next = self._next, next(self._runs, None)
        return None if run is None else Task(run)

    def is_over(self) -> bool:
        return self._next is None

    def fileno(self) -> Optional[int]:
        return None

    def read_news(self) -> None:
        """There is none."""

    def revoked(self) -> frozenset[int]:
        return frozenset()

    def is_in_doubt(self) -> bool:
        return False

    def is_stopping(self) -> bool:
        return False

    def is_urgent(self) -> bool:
        return False

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Nothing is kept."""

    def tick(self, gauge: Gauge) -> float:
        return LOOK_SECONDS


class FileTail:
    """Shows what is written to a file that may be replaced, or removed, at any time."""

    def __init__(self, name: str, places: Places, echo: Echo) -> None:
        self.name = name
        self.has_seen = False
        self._places = places
        self._echo = echo
        # What an earlier execution left is held open, so that its inode cannot be taken for a new file's.
        self._old = _opened(places(name))
        self._fd: Optional[int] = None

    def look(self) -> None:
        """Pass on what is new."""
        found = _opened(self._places(self.name))
        if found is not None and (_is_same(found, self._old) or _is_same(found, self._fd)):
            os.close(found)
            found = None
        self._drain()
        if found is not None:
            if self._fd is not None:
                os.close(self._fd)
            self._fd, self.has_seen = found, True
            self._drain()

    def close(self) -> None:
        for fd in (self._old, self._fd):
            if fd is not None:
                os.close(fd)
        self._old = self._fd = None

    def _drain(self) -> None:
        if self._fd is not None:
            while data := os.read(self._fd, 1 << 16):
                self._echo(self.name, data)


def places_of_attempts(temp_folder: str) -> Places:
    """Of a run whose output is stored elsewhere: in the newest of the executor's own folders."""

    def place(name: str) -> str:
        found = [
            path
            for path in glob.glob(f"{glob.escape(temp_folder)}/*/*/{name}")
            if path.split("/")[-2].isdigit()
        ]
        return max(found, key=lambda path: int(path.split("/")[-2]), default="")

    return place


def _opened(path: str) -> Optional[int]:
    if path:
        with suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    return None


def _is_same(one: int, other: Optional[int]) -> bool:
    return other is not None and os.path.sameopenfile(one, other)
