"""A whole job in simulated time: the real desks, clerks, boards and schedulers of many machines on one storage.

    machine: Scheduler ◀─runs── Desk ◀──messages──▶ Clerk ──▶ Board, claims ──▶ a storage in memory
                 └─ a run ends so many simulated seconds after its start

Nothing is simplified but the outside: no process is started, a request takes `REQUEST_SECONDS`, and a clerk, which
does one thing after the other, is busy meanwhile. A job of hours takes seconds.
"""

from __future__ import annotations

import heapq
import itertools
import json
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sc import paths
from sc.executor import Gauge, Task
from sc.executor.gpus import GpuPool
from sc.executor.scheduler import Live, Scheduler
from sc.model import Outcome, Run
from sc.staging import Job, stage
from sc.worker import messages
from sc.worker.clerk import Clerk
from sc.worker.desk import Desk
from sc.worker.identity import FAR, Identity, NoSite
from tests.fakes.memory_storage import Clock, MemoryStorage

REQUEST_SECONDS = 0.05
"""What a small request to S3 takes from a machine beside it."""
ARRIVAL_SECONDS = 5.0
"""Within so many seconds all machines are there."""
TICK_SECONDS = 10.0
OUT = "s3://bucket/out"
URL = paths.job(OUT, "job")


class Ended(NamedTuple):
    """What came of a job."""

    makespan: float
    """Seconds from the first machine's arrival to the end of the last run."""
    paid: float
    """Seconds from its arrival to its leaving, of all machines together."""
    executed: int
    """How often a run was executed."""
    requests: int
    """To the storage, by all machines, for parts, claims, records and heartbeats."""


class World:
    """Simulated time, and what happens in it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.storage = MemoryStorage(self.clock)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(when, self.clock.now), next(self._numbers), what))

    def run(self) -> None:
        while self._events:
            self.clock.now, _, what = heapq.heappop(self._events)
            what()


class _Wire:
    """The desk's end of the line. Its descriptor is there to be watched, and always readable."""

    is_behind = False

    def __init__(self, say: Callable[[object], None]) -> None:
        self._ends = socket.socketpair()
        self._ends[1].send(b"!")
        self._say = say
        self.arrived: list[object] = []

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def send(self, message: object) -> None:
        self._say(message)

    def receive(self) -> list[object]:
        arrived, self.arrived = self.arrived, []
        return arrived

    def flush(self) -> None:
        """Everything has gone."""

    def close(self) -> None:
        for end in self._ends:
            end.close()


class _ClerkAtWork:
    """What the desk has started: the wire to a clerk whose process is simulated."""

    def __init__(self, wire: Any) -> None:
        self.wire = wire

    def end(self, seconds: float) -> None:
        self.wire.close()


class Machine:
    """One worker from its arrival to its leaving."""

    def __init__(self, world: World, number: int, nprocs: int, seconds: Sequence[float]) -> None:
        self.left_at = 0.0
        self.last_end = 0.0
        self.executed = 0
        self._world, self._nprocs, self._seconds = world, nprocs, seconds
        self._arrived_at = world.clock.now
        random = Random(number)
        identity = Identity(f"i-{number:05}", f"host-{number}", "ec2", "r6a.xlarge", 0.0, number)
        self._clerk = Clerk(
            world.storage, URL, identity, FAR, NoSite(), random, world.clock, log=None
        )
        self._said: list[object] = []
        self._busy_until = 0.0
        self._awake_at = float("inf")
        self._is_leaving = False
        self._wire = _Wire(self._tell_clerk)
        self._desk = Desk(
            lambda: _ClerkAtWork(self._wire), lambda line: None, world.clock, lingers=False
        )
        self._scheduler = Scheduler(nprocs, GpuPool(()), random.random)
        self._clerk.open()
        self._desk.begin(nprocs)
        self._wake_clerk(world.clock.now)
        self._tick()
        self._go_on()

    @property
    def paid(self) -> float:
        return self.left_at - self._arrived_at

    # The main process

    def _go_on(self) -> None:
        """What the executor's loop does after each event."""
        self._desk.read_news()
        while True:
            while self._scheduler.wants_runs():
                task = self._desk.take()
                if task is None:
                    break
                self._scheduler.add(task)
            live = self._scheduler.next_start(self._world.clock.now)
            if live is None:
                break
            ends = self._world.clock.now + self._seconds[_index(live.waiting.task)]
            self._world.at(ends, lambda live=live: self._end(live))  # type: ignore[misc]
        if self._desk.is_over() and self._scheduler.is_idle() and not self._is_leaving:
            self._is_leaving = True
            self._tell_clerk(messages.Goodbye("left"))

    def _end(self, live: Live) -> None:
        now, task = self._world.clock.now, live.waiting.task
        self._scheduler.ended(live.rank)
        path = task.run.remote_output_path
        self._world.storage.objects[paths.join(path, paths.STATUS_CODE)] = b"0"
        self._desk.ended(task, Outcome(path, "", 0, "exit", 1, "m", live.rank, live.since, now))
        self.executed += 1
        self.last_end = now
        self._go_on()

    def _tick(self) -> None:
        if self._is_leaving:
            return
        now = self._world.clock.now
        live = self._scheduler.live.values()
        running = tuple((one.rank, _path(one.waiting.task), now - one.since) for one in live)
        self._desk.tick(Gauge(running, 0, self._scheduler.count_waiting(), ""))
        self._world.at(now + TICK_SECONDS, self._tick)

    # The clerk's process

    def _tell_clerk(self, message: object) -> None:
        self._said.append(message)
        self._wake_clerk(self._world.clock.now)

    def _wake_clerk(self, when: float) -> None:
        when = max(when, self._busy_until)
        if when < self._awake_at:
            self._awake_at = when
            self._world.at(when, lambda: self._clerk_acts(when))

    def _clerk_acts(self, when: float) -> None:
        if when != self._awake_at or self._clerk.is_finished:
            return
        self._awake_at = float("inf")
        storage, now = self._world.storage, self._world.clock.now
        before = sum(storage.requests.values())
        said, self._said = self._said, []
        for message in said:
            self._clerk.hear(message)
        due = self._clerk.step()
        self._busy_until = now + REQUEST_SECONDS * (sum(storage.requests.values()) - before)
        answers = list(self._clerk.outbox)
        self._clerk.outbox.clear()
        if answers:
            self._world.at(self._busy_until, lambda: self._hear(answers))
        if not self._clerk.is_finished:
            self._wake_clerk(now if self._said else due)

    def _hear(self, answers: list[object]) -> None:
        self._wire.arrived += answers
        if self._clerk.is_finished:
            self.left_at = self._world.clock.now
            self._desk.close("left")
        else:
            self._go_on()


def run_job(
    parts: Sequence[Sequence[int]], seconds: Sequence[float], machines: int, nprocs: int
) -> Ended:
    """Execute the parts, which hold the indices of runs; `seconds` is how long each run takes."""
    world = World()
    job = Job("job", OUT, len(parts), len(seconds), nprocs=nprocs, scale=machines, is_fresh=True)
    list(stage(world.storage, URL, job, [_document(part) for part in parts]))
    world.storage.requests.clear()
    begin, random = world.clock.now, Random(1)
    arrived: list[Machine] = []
    for number in range(machines):

        def arrive(number: int = number) -> None:
            arrived.append(Machine(world, number, nprocs, seconds))

        world.at(begin + random.uniform(0, ARRIVAL_SECONDS), arrive)
    world.run()
    return Ended(
        max(one.last_end for one in arrived) - begin,
        sum(one.paid for one in arrived),
        sum(one.executed for one in arrived),
        sum(world.storage.requests.values()),
    )


def _document(part: Sequence[int]) -> bytes:
    runs = [Run("x", paths.join(OUT, str(number))).to_json() for number in part]
    return json.dumps({"remote_output_path": OUT, "runs": runs}).encode()


def _path(task: Task) -> str:
    return task.run.remote_output_path


def _index(task: Task) -> int:
    return int(_path(task).rpartition("/")[2])
