"""A job in memory, and clerks with desks that need no process and no time: what a worker is without its executor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, Optional, TypeVar

from sc import paths
from sc.model import Outcome, Run, command_hash
from sc.staging import Job, clear, stage
from sc.storage import Storage
from sc.worker import messages
from sc.worker.clerk import Clerk
from sc.worker.identity import FAR, Habits, Identity, Leave
from tests.fakes.memory_storage import Clock, MemoryStorage

OUT = "s3://bucket/out"
JOB = paths.job(OUT, "job")
Said = TypeVar("Said")


class Machine:
    """A site whose notices the test gives."""

    def __init__(self) -> None:
        self.leave: Optional[Leave] = None
        self.proofs = self.signs = 0
        self.ends_others = True
        self.ended: list[tuple[str, bool]] = []

    def notice(self) -> Optional[Leave]:
        return self.leave

    def proved(self) -> None:
        self.proofs += 1

    def alive(self) -> None:
        self.signs += 1

    def end(self, machine: str, is_replaced: bool) -> None:
        self.ended.append((machine, is_replaced))


class Office:
    """One clerk, driven by hand, and all that it has said."""

    def __init__(
        self, storage: MemoryStorage, name: str, habits: Habits = FAR, seed: int = 1
    ) -> None:
        self.storage = storage
        self.name = name
        self.machine = Machine()
        self.said: list[Any] = []
        self.clerk = Clerk(
            storage,
            JOB,
            Identity(name, f"host-of-{name}", "ec2", "r6a.xlarge", 0.0, 7),
            habits,
            self.machine,
            Random(seed),
            storage.clock,
        )
        self.clerk.open()
        self._collect()

    def begin(self, nprocs: int = 2) -> None:
        self.tell(messages.Prepared(nprocs))

    def tell(self, *all_: object) -> None:
        """The desk says something, and the clerk does what is due."""
        for message in all_:
            self.clerk.hear(message)
        self.step()

    def step(self) -> float:
        """Do what is due now."""
        for _ in range(1000):
            due = self.clerk.step()
            self._collect()
            if due > self.storage.clock.now or self.clerk.is_finished:
                return due
        raise AssertionError(f"the clerk is never content, after {self.said}")

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on, and the clerk do what is due on the way."""
        end = self.storage.clock.now + seconds
        while not self.clerk.is_finished:
            due = self.step()
            if due > end:
                break
            self.storage.clock.now = max(self.storage.clock.now, due)
        self.storage.clock.now = end

    def ask(self) -> Optional[messages.Part]:
        """Be hungry; returns the part that comes, if one comes at once."""
        before = len(self.all(messages.Part))
        self.tell(messages.Hungry())
        return self.all(messages.Part)[-1] if len(self.all(messages.Part)) > before else None

    def part(self) -> messages.Part:
        """The same, and one does come."""
        part = self.ask()
        assert part is not None, f"no part came, but {self.said}"
        return part

    def end(self, part: messages.Part, run: Run, code: int = 0) -> None:
        """A run ends, its outputs are stored."""
        place = paths.join(run.remote_output_path, paths.STATUS_CODE)
        self.storage.put(place, str(code).encode())
        self.tell(messages.RunEnded(part.origin, outcome_of(run, code)))

    def all(self, kind: type[Said]) -> list[Said]:
        """What the clerk has said of this kind."""
        return [message for message in self.said if isinstance(message, kind)]

    def _collect(self) -> None:
        self.said += self.clerk.outbox
        self.clerk.outbox.clear()


def outcome_of(run: Run, code: int) -> Outcome:
    path = run.remote_output_path
    return Outcome(path, command_hash(run), code, "exit", 1, "host", 0, 1.0, 2.0)


def new_job(parts: int = 3, runs: int = 2, **changes: Any) -> MemoryStorage:
    """A storage with a job of so many parts of so many runs, staged some seconds ago."""
    storage = MemoryStorage(Clock())
    stage_job(storage, parts, runs, **changes)
    storage.clock.now += 30
    return storage


def stage_job(storage: Storage, parts: int, runs: int, **changes: Any) -> None:
    fields: dict[str, Any] = {"scale": 4, "nprocs": 2, **changes}
    job = Job("job", OUT, parts=parts, runs=parts * runs, **fields)
    clear(storage, JOB)
    contents = [part_bytes(runs_of_part(number, runs)) for number in range(parts)]
    list(stage(storage, JOB, job, contents))


def runs_of_part(number: int, runs: int) -> list[Run]:
    return [Run(f"echo {number} {index}", f"{OUT}/{number}-{index}") for index in range(runs)]


def part_bytes(runs: Sequence[Run]) -> bytes:
    return json.dumps({"remote_output_path": OUT, "runs": [run.to_json() for run in runs]}).encode()
