"""Simulated time for many workers at once: each is a thread that runs plain code, and one of them runs at a time."""

from __future__ import annotations

import gc
import heapq
import threading
from collections.abc import Callable
from itertools import count
from typing import Optional

from tests.fakes.memory_storage import Clock

_STACK_BYTES = 256 * 1024


class Timeline(Clock):
    """A clock that jumps to whoever is to go on next. The same calls give the same story each time."""

    def __init__(self, now: float = 1000.0) -> None:
        super().__init__(now)
        self._turns: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._is_over = threading.Semaphore(0)
        self._failure: Optional[BaseException] = None

    def start(self, at: float, work: Callable[[], None]) -> None:
        """At that moment `work` begins."""
        thread = threading.Thread(target=self._live, args=(work,), daemon=True)
        self._add(at, thread.start)

    def sleep(self, seconds: float) -> None:
        """Called by `work`: let the others go on until then."""
        baton = threading.Lock()  # a semaphore is one in Python, and takes three times as long
        baton.acquire()
        self._add(self.now + seconds, baton.release)
        self._next()
        baton.acquire()

    def run(self) -> None:
        """Until all have come to their end; the first exception of any is raised here."""
        before = threading.stack_size(_STACK_BYTES)
        collects = gc.isenabled()
        gc.disable()  # a thousand that wait hold a million things, and it would look at all of them again and again
        try:
            self._next()
            self._is_over.acquire()
        finally:
            threading.stack_size(before)
            if collects:
                gc.enable()
        if self._failure is not None:
            raise self._failure

    def _live(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - `run` raises it
            self._failure = failure
            self._is_over.release()
        else:
            self._next()

    def _add(self, at: float, go_on: Callable[[], None]) -> None:
        heapq.heappush(self._turns, (at, next(self._numbers), go_on))

    def _next(self) -> None:
        if not self._turns:
            self._is_over.release()
            return
        self.now, _, go_on = heapq.heappop(self._turns)
        go_on()
