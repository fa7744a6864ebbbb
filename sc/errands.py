"""A process that goes to the storage for a loop that must not wait.

    loop ──number, function, arguments──▶ thread that takes errands in ──▶ function(storage, *arguments)
         ◀──────── number, error, result ────────────────────────────────────┘

The errands are done one after the other, in their order. A loop that has gone is noticed by its end of the pipe:
what it had asked for is still done, and then the process leaves.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import selectors
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, Optional

from sc.errors import ScError
from sc.storage import Storage

Doing = Callable[..., Any]
"""A function of a module, called with the storage and what was handed along."""


class Answer(NamedTuple):
    """An errand has been done, or could not be."""

    number: int
    error: str = ""
    result: Any = None
    """What the function returned, pickled on its way; None after an error."""
    kind: str = ""
    """The name of the error's class."""


class Errands:
    """The loop's side, in a process without threads. The other process is started for the first errand."""

    def __init__(self, open_storage: Callable[[], Storage]) -> None:
        self._open_storage = open_storage
        self._connection, self._theirs = multiprocessing.Pipe()
        self._is_dead = False
        self._selector = selectors.DefaultSelector()
        self._process: Any = None
        self._open: set[int] = set()
        self._next = 0
        self._watch()

    def fileno(self) -> int:
        """Becomes readable when `answers` has something. It is that of a selector over the pipe: the end of a pipe
        stays readable, and would have the loop turn without a pause."""
        return int(self._selector.fileno())

    def begin(self) -> None:
        """Start the other process now. Raises ScError where the machine allows no more."""
        try:
            self._start()
        except OSError as error:
            reason = f"no process can be started for the storage: {error.strerror}"
            raise ScError(f"{reason}; raise `ulimit -n` or `ulimit -u`") from error

    def ask(self, doing: Doing, *arguments: Any) -> int:
        """Have it done; returns the number that its answer will carry. Raises as `begin` does."""
        if self._is_dead:
            self._replace()
        if self._process is None:
            self.begin()
        number, self._next = self._next, self._next + 1
        self._open.add(number)
        self._watch()
        with suppress(OSError):  # It has died: `answers` tells.
            self._connection.send_bytes(pickle.dumps((number, doing, arguments)))
        return number

    @property
    def waiting(self) -> int:
        """How many have not been answered."""
        return len(self._open)

    def answers(self, seconds: float = 0) -> list[Answer]:
        """What has been done meanwhile; waits at most so long for the first."""
        answered: list[Answer] = []
        try:
            while self._connection.poll(0 if answered else seconds):
                answer = Answer(*pickle.loads(self._connection.recv_bytes()))
                if answer.number in self._open:  # else it has been told as lost
                    self._open.remove(answer.number)
                    answered.append(answer)
        except (EOFError, OSError):
            reason = f"the process that speaks to the storage has died ({self._process.exitcode})"
            answered += [Answer(number, reason) for number in sorted(self._open)]
            self._open.clear()
            self._is_dead = True
            if self._selector.get_map():
                self._selector.unregister(self._connection)
        return answered

    def close(self) -> None:
        """Let it leave. What has not been answered by now is given up: it may hang in an outage."""
        self._selector.close()
        self._connection.close()
        if self._process is None:
            self._theirs.close()
            return
        if self._open:
            self._process.kill()
        self._process.join()

    def _replace(self) -> None:
        """Have another process for what is asked from now on: somebody, or a lack of memory, has killed the last."""
        self._process.join()
        self._connection.close()
        self._connection, self._theirs = multiprocessing.Pipe()
        self._process, self._is_dead = None, False

    def _watch(self) -> None:
        """Have `fileno` tell of the pipe, also of its end: that once, and again for what is asked after it."""
        if not self._selector.get_map():
            self._selector.register(self._connection, selectors.EVENT_READ)

    def _start(self) -> None:
        # A fork is at once there; where forks are not safe (macOS) a fresh Python does as well.
        is_fork = sys.platform == "linux"
        context: Any = multiprocessing.get_context("fork" if is_fork else "spawn")
        process = context.Process(
            target=_serve, args=(self._theirs, is_fork, self._open_storage), name="sc-errands"
        )
        process.daemon = True
        process.start()
        self._process = process
        self._theirs.close()


def _serve(connection: Connection, is_fork: bool, open_storage: Callable[[], Storage]) -> None:
    """The process. Signals from the terminal are the loop's business."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if is_fork:  # Let go of the pipes of others, which would never end while they are held here.
        os.closerange(3, connection.fileno())
        os.closerange(connection.fileno() + 1, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    storage = open_storage()
    for errand in _errands(connection):
        number, doing, arguments = pickle.loads(errand)
        try:
            answer = Answer(number, result=doing(storage, *arguments))
        except ScError as error:
            answer = Answer(number, str(error), kind=type(error).__name__)
        _answer(connection, answer)


def _errands(connection: Connection) -> Iterator[bytes]:
    """What there is to be done, until nobody asks any more."""
    errands: SimpleQueue[Optional[bytes]] = SimpleQueue()
    listener = Thread(target=_listen, args=(connection, errands), daemon=True)
    try:
        listener.start()
    except RuntimeError:  # no thread can be started: the loop may now have to wait for the storage
        with suppress(EOFError, OSError):
            while True:
                yield connection.recv_bytes()
        return
    yield from iter(errands.get, None)


def _listen(connection: Connection, errands: SimpleQueue[Optional[bytes]]) -> None:
    """Take in what comes at once, so that the loop never waits until there is room in the pipe."""
    try:
        while True:
            errands.put(connection.recv_bytes())
    except (EOFError, OSError):
        errands.put(None)


def _answer(connection: Connection, answer: Answer) -> None:
    with suppress(OSError):  # Nobody asks any more.
        connection.send_bytes(pickle.dumps(tuple(answer)))
