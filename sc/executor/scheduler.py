"""Decides which run starts next, at which rank, with which GPUs, and when a failed one is tried again.

Pure: no process, no file, no clock; the loop tells what happened and when, and carries out what this says.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter, deque
from collections.abc import Callable, Container
from typing import NamedTuple, Optional

from sc.executor import Task
from sc.executor.gpus import GpuPool
from sc.model import Run

RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 300.0
BLOCKED_SECONDS, LONGEST_BLOCKED_SECONDS = 0.5, 30.0
LOOK_AHEAD = 4
"""So many runs per slot are looked through for one that fits while GPUs are taken, and so often may the first of
them be passed over."""


def results_folder(local_results_dir: str) -> str:
    """By which two runs are seen to have the same one. Both begin where this process is, or at a root."""
    return os.path.normpath(os.path.expanduser(local_results_dir))


class Waiting(NamedTuple):
    """A run that is to be started."""

    task: Task
    attempt: int = 1
    first_started: float = 0.0
    """Unix seconds; 0 before the first attempt."""


class Live(NamedTuple):
    """A run that goes on."""

    number: int
    """Counts the starts of this execution."""
    waiting: Waiting
    rank: int
    gpus: tuple[int, ...]
    devices: Optional[str]
    since: float
    """The loop's clock."""


class Scheduler:
    """`jitter` returns numbers from 0 to 1, to spread retries."""

    def __init__(self, nprocs: int, gpus: GpuPool, jitter: Callable[[], float]) -> None:
        self.live: dict[int, Live] = {}
        """By rank."""
        self._gpus = gpus
        self._jitter = jitter
        self._ready: deque[Waiting] = deque()
        self._later: list[tuple[float, int, Waiting]] = []
        self._free_ranks = list(range(nprocs))
        self._nprocs = nprocs
        self._number = 0
        self._passed_over = 0
        self._blocked_until = 0.0
        self._blocked_times = 0
        self._blocked_since: Optional[float] = None
        self._held: Counter[str] = Counter()
        """Results folders of the runs' own choice with something in them that is still to be stored."""

    def hold(self, run: Run) -> None:
        """No other run is started in this one's results folder until `release`: what is in it is not stored yet."""
        if run.local_results_dir is not None:
            self._held[results_folder(run.local_results_dir)] += 1

    def release(self, run: Run) -> None:
        """All is said of the run."""
        if run.local_results_dir is not None:
            self._held[results_folder(run.local_results_dir)] -= 1

    def wants_runs(self) -> bool:
        """True while a slot is free and what waits would not fill it."""
        if not self._free_ranks:
            return False
        if not self._ready:
            return True
        return len(self._ready) < LOOK_AHEAD * self._nprocs and self._fitting() is None

    def count_wanted(self) -> int:
        """How many runs could start now, if each of them needs no more than a slot. Where runs ask for GPUs, one: it
        may have to wait for them."""
        return 1 if self._gpus.size else max(1, len(self._free_ranks) - len(self._ready))

    def add(self, task: Task) -> None:
        self._ready.append(Waiting(task))

    def is_idle(self) -> bool:
        """True when nothing goes on and nothing waits."""
        return not (self.live or self._ready or self._later)

    def is_impossible(self, task: Task) -> bool:
        """True for a run that asks for more GPUs than this machine has."""
        return (task.run.gpus or 0) > self._gpus.size

    def count_waiting(self) -> int:
        return len(self._ready) + len(self._later)

    def running(self, now: float) -> tuple[tuple[int, str, float], ...]:
        """Rank, output path, and seconds since its start, of each live run."""
        live = sorted(self.live.values(), key=lambda one: one.rank)
        return tuple(
            (one.rank, one.waiting.task.run.remote_output_path, now - one.since) for one in live
        )

    def next_start(self, now: float) -> Optional[Live]:
        """The run to be started now, with its rank, or None."""
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])
        if not self._free_ranks or now < self._blocked_until:
            return None
        position = self._fitting()
        if position is None:
            return None
        self._passed_over = self._passed_over + 1 if position else 0
        waiting = self._ready[position]
        del self._ready[position]
        rank = heapq.heappop(self._free_ranks)
        amount = waiting.task.run.gpus
        gpus = (self._gpus.take(amount, rank) if amount else None) or ()
        self._number += 1
        devices = self._gpus.names(gpus) if amount else None
        self.live[rank] = Live(self._number, waiting, rank, gpus, devices, now)
        return self.live[rank]

    def ended(self, rank: int) -> Live:
        """The process tree of this rank's run is gone: the rank and its GPUs are free."""
        live = self.live.pop(rank)
        heapq.heappush(self._free_ranks, rank)
        self._gpus.give_back(live.gpus, live.waiting.task.run.gpus or 0)
        return live

    def restrict(self, ranks: Container[int]) -> None:
        """Only these of the free ranks can be used: there are fewer slots."""
        self._free_ranks = [rank for rank in self._free_ranks if rank in ranks]
        heapq.heapify(self._free_ranks)

    def try_again(self, live: Live, started: float, now: float) -> None:
        """An attempt failed and another is left: start it after a pause that doubles, with jitter."""
        waiting = live.waiting
        pause = min(LONGEST_RETRY_SECONDS, RETRY_SECONDS * 2 ** (waiting.attempt - 1))
        pause *= 0.5 + self._jitter()
        again = Waiting(waiting.task, waiting.attempt + 1, waiting.first_started or started)
        heapq.heappush(self._later, (now + pause, live.number, again))
        self._blocked_times = 0

    def put_back(self, live: Live, now: float, is_blocked: bool) -> None:
        """The attempt did not take place, or did not count. `is_blocked`: the machine could not take any run
        now, so that all wait for a while."""
        self._ready.appendleft(live.waiting)
        if is_blocked and now >= self._blocked_until:
            pause = min(LONGEST_BLOCKED_SECONDS, BLOCKED_SECONDS * 2**self._blocked_times)
            self._blocked_until = now + pause
            self._blocked_times += 1
            if self._blocked_since is None:
                self._blocked_since = now

    def went_well(self) -> None:
        """A run was executed: whatever blocked the machine is over."""
        self._blocked_times, self._blocked_until, self._blocked_since = 0, 0.0, None

    def blocked_seconds(self, now: float) -> float:
        """For how long the machine has taken no run; 0 while one goes on."""
        return 0.0 if self._blocked_since is None or self.live else now - self._blocked_since

    def drop(self, origins: Optional[frozenset[int]] = None) -> None:
        """Forget what waits: of these origins, or all of it."""

        def stays(waiting: Waiting) -> bool:
            return origins is not None and waiting.task.origin not in origins

        self._ready = deque(filter(stays, self._ready))
        self._later = [item for item in self._later if stays(item[2])]
        heapq.heapify(self._later)

    def next_time(self) -> Optional[float]:
        """When `next_start` may have something without any other event."""
        times = [self._later[0][0]] if self._later else []
        if self._ready and self._blocked_times:
            times.append(self._blocked_until)
        return min(times) if times else None

    def _fitting(self) -> Optional[int]:
        """Where in `_ready` the first run stands whose GPUs and results folder are free.

        Who has been passed over long enough is waited for, so that a run with many GPUs is not starved.
        """
        may_pass = self._passed_over < LOOK_AHEAD * self._nprocs
        for position, waiting in enumerate(self._ready):
            run = waiting.task.run
            is_held = run.local_results_dir and self._held[results_folder(run.local_results_dir)]
            if not is_held and (not run.gpus or self._has_gpus(run.gpus)):
                return position
            if not may_pass:
                return None
        return None

    def _has_gpus(self, amount: float) -> bool:
        taken = self._gpus.take(amount, 0)
        if taken is None:
            return False
        self._gpus.give_back(taken, amount)
        return True
