"""Threads that do what they are given: as many as are wanted, or as the machine allows.

Python's own pool keeps what it was given when it cannot start a thread, and does it at some later time, or never. It
also brings `logging`, and both have hooks for each fork, which touch 0.1 MB of memory of each keeper.
"""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from queue import SimpleQueue
from typing import Optional, TypeVar

IDLE_SECONDS = 5.0
BEGIN_SECONDS = 20.0
"""After so long a thread that was started has not begun, and never will."""

Item = TypeVar("Item")
Do = Callable[[], None]


def start_thread(serve: Do) -> None:
    """Raises RuntimeError where the machine allows no more (`ulimit -u`, memory).

    Not by `threading`, which waits for ever for a thread that finds no memory for its first step.
    """
    _thread.start_new_thread(serve, ())


class Threads:
    """Threads are started when they are needed, and leave when they are not. Several may give work at a time.

    Where a thread's own steps fail, be it the first, as memory is short, `fail` is called: what it was given may be
    lost.
    """

    def __init__(
        self,
        wanted: int,
        start: Callable[[Do], None] = start_thread,
        idle_seconds: float = IDLE_SECONDS,
        fail: Do = lambda: None,
        begin_seconds: float = BEGIN_SECONDS,
    ) -> None:
        self._wanted = wanted
        self._fail = fail
        self._begin_seconds = begin_seconds
        self._idle_seconds = idle_seconds
        self._start = start
        self._starting = threading.Lock()
        self._change = threading.Condition(threading.Lock())
        """Held by whoever looks at what follows, or changes it."""
        self._count = 0
        self._idle = 0
        self._work: deque[Do] = deque()

    def give(self, do: Do) -> None:
        """Have it done by one of them; where there is none, by the caller."""
        if not (self._is_taken(do, True) or self._has_one_more(do) or self._is_taken(do, False)):
            do()

    def _is_taken(self, do: Do, at_once: bool) -> bool:
        """Leave it to an idle thread that nobody else counts on; or, not `at_once`, to any: a busy one looks for more
        before it leaves."""
        with self._change:
            if self._idle <= len(self._work) if at_once else not self._count:
                return False
            self._work.append(do)
            self._change.notify()
            return True

    def for_each(self, function: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Wait until all are done. Raises the first error; what had not begun by then is left out."""
        answers: SimpleQueue[Optional[BaseException]] = SimpleQueue()
        failed = threading.Event()
        count = 0
        for item in items:
            self.give(partial(_carry_out, function, item, failed, answers))
            count += 1
        for _ in range(count):
            error = answers.get()
            if error is not None:
                raise error

    def _has_one_more(self, do: Do) -> bool:
        """Start a thread that begins with this, if there can be one."""
        with self._starting:
            if self._count >= self._wanted:  # one that leaves meanwhile is missed by none
                return False
            begun = threading.Lock()
            begun.acquire()
            try:
                self._start(partial(self._serve, do, begun))
            except RuntimeError:
                return False
            if not begun.acquire(timeout=self._begin_seconds):
                self._fail()
            return True

    def _serve(self, first: Do, begun: threading.Lock) -> None:
        do: Optional[Do] = first
        try:
            with self._change:
                self._count += 1
            begun.release()
            while do is not None:
                do()
                do = self._next()
        except BaseException:
            self._fail()
            raise

    def _next(self) -> Optional[Do]:
        """None: nobody has wanted this thread for a while, and runs may need its place among the processes."""
        with self._change:
            self._idle += 1
            try:
                self._change.wait_for(lambda: self._work, self._idle_seconds)
            except MemoryError:
                pass  # it cannot wait
            finally:
                self._idle -= 1
            if self._work:
                return self._work.popleft()
            self._count -= 1
            return None


def _carry_out(
    function: Callable[[Item], None],
    item: Item,
    failed: threading.Event,
    answers: SimpleQueue[Optional[BaseException]],
) -> None:
    error = None
    if not failed.is_set():
        try:
            function(item)
        except BaseException as caught:  # noqa: BLE001 - carried to whoever waits
            failed.set()
            error = caught
    answers.put(error)
