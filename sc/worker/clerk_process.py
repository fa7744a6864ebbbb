"""The process that the clerk lives in, from both sides.

It is a fork of a main process that has not yet used any storage, in a session of its own: what a terminal sends to
the worker does not reach it, since it has to write down how the worker ended. It leaves when it has said farewell,
or at the end of file: then the main process and all that held its end of the line are gone.
"""

from __future__ import annotations

import multiprocessing
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from random import Random
from typing import Any, Optional

from sc.executor.tree import rename_process
from sc.storage import Storage
from sc.worker.clerk import Clerk
from sc.worker.forks import stand_alone
from sc.worker.identity import Habits, Identity, Site
from sc.worker.wire import Wire, WireClosedError

SLEPT_SECONDS = 5.0
"""A difference between the clocks that run on and those that stop while the machine sleeps."""
LONGEST_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class ClerkPlan:
    """All that a clerk is told when it begins."""

    job_url: str
    identity: Identity
    habits: Callable[[Storage], Habits]
    open_storage: Callable[[], Storage]
    open_site: Callable[[], Site]
    log: Optional[int] = None
    """The descriptor of the file that holds what this process says."""


class ClerkProcess:
    """The main process's side: a wire, and a process at its other end."""

    def __init__(self, plan: ClerkPlan) -> None:
        ours, theirs = socket.socketpair()
        context: Any = multiprocessing.get_context("fork")
        self._process: BaseProcess = context.Process(
            target=_live, args=(plan, theirs), name="sc clerk", daemon=True
        )
        self._process.start()
        theirs.close()
        self.wire = Wire(ours)

    def end(self, seconds: float) -> None:
        """Give it so long to leave by itself; then it is ended."""
        self.wire.close()
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _live(plan: ClerkPlan, end: socket.socket) -> None:
    kept = [end.fileno()] if plan.log is None else [end.fileno(), plan.log]
    stand_alone(signal.SIG_IGN, *kept)
    rename_process(b"sc clerk")
    storage = plan.open_storage()
    clerk = Clerk(
        storage,
        plan.job_url,
        plan.identity,
        plan.habits(storage),
        plan.open_site(),
        Random(),
        time.monotonic,
        plan.log,
    )
    serve(clerk, Wire(end))


def serve(clerk: Clerk, wire: Wire) -> None:
    """Drive a clerk until it has finished or its desk has gone."""
    slept = _slept()
    clerk.open()
    try:
        while True:
            _post(clerk, wire)
            if clerk.is_finished and not wire.is_behind:
                return
            due = clerk.step() if not clerk.is_finished else time.monotonic()
            _post(clerk, wire)
            pause = 0.0 if clerk.outbox else max(0.0, due - time.monotonic())
            _wait(wire, min(pause, LONGEST_WAIT_SECONDS), clerk.is_finished)
            for message in wire.receive():
                clerk.hear(message)
            if _slept() - slept > SLEPT_SECONDS:
                clerk.woke_up()
            slept = _slept()
    except WireClosedError:
        if not clerk.is_finished:
            clerk.desk_died()


def _post(clerk: Clerk, wire: Wire) -> None:
    while clerk.outbox:
        wire.send(clerk.outbox.pop(0))
    wire.flush()


def _wait(wire: Wire, seconds: float, is_closing: bool) -> None:
    """Until the desk says something, there is room for what we say, or the time is over."""
    poll = select.poll()
    poll.register(wire.fileno(), select.POLLIN | (select.POLLOUT if wire.is_behind else 0))
    poll.poll(1000 * (1.0 if is_closing else seconds))


def _slept() -> float:
    """Seconds that this machine has slept since it was started, as far as it can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()
