"""The desk: the worker's main process as the executor's feed. It never waits; the clerk does the errands.

    clerk ──Part──▶ queue ──take()──▶ executor ──ended()──▶ RunEnded ──▶ clerk
                      ▲ asked for when the queue runs dry

A part is asked for when a slot is free and no run waits. Only where runs are so short that slots would stand idle
meanwhile it is asked for earlier, and no earlier than needed: what lies here unstarted, another machine could do.

A clerk that dies is replaced, and told what was in hand and which records nobody has confirmed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Optional

from sc.executor import Gauge, Task
from sc.model import Counts, Outcome
from sc.staging import Job
from sc.worker import messages
from sc.worker.line import ClerkAtWork, Line
from sc.worker.messages import InHand
from sc.worker.pace import Pace, RunTimes
from sc.worker.part_count import PartCount

TICK_SECONDS = 1.0
PULSE_SECONDS = 2.0
CLERKS = 4
"""So many may live and die, one after the other, before the worker gives up."""
FAREWELL_SECONDS = 150.0
"""What the clerk gets to write the last things; the storage itself tries for about a minute."""
LAST_TRY_SECONDS = 20.0
"""The same, where it could not do its work before."""


@dataclass
class _Part(PartCount):
    """A part in hand, as the desk knows it."""

    number: int
    left: int
    until: float
    """By our clock: its runs must not go on beyond, unless the clerk tells of a renewal."""
    paths: frozenset[str]
    completed: int = 0
    failed: int = 0
    not_stored: int = 0
    lost: list[str] = field(default_factory=list)


class Desk:
    """A `Feed` (see sc.executor). Also speaks to the clerk before and after the execution."""

    def __init__(
        self,
        start_clerk: Callable[[], ClerkAtWork],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        lingers: bool = True,
    ) -> None:
        """`lingers`: an outage of the storage is waited for; else it ends the worker, as its machine costs money."""
        self.job: Optional[Job] = None
        self.refusal = ""
        """Why this worker cannot work; empty while it can."""
        self.farewell: Optional[messages.Farewell] = None
        self.tally = Counts()
        self._line = Line(start_clerk)
        self._say = say
        self._clock = clock
        self._lingers = lingers
        self._queue: deque[Task] = deque()
        self._parts: dict[int, _Part] = {}
        self._revoked: dict[int, frozenset[str]] = {}
        """Paths of parts that were revoked while their runs may still go on, or be stored."""
        self._all_revoked: frozenset[int] = frozenset()
        self._unsaved: list[Outcome] = []
        self._confirmed = 0
        self._sequence = 0
        self._origins = 0
        self._nprocs = 0
        self._asked_at: Optional[float] = None
        self._is_over = False
        self._halt = ""
        self._is_urgent = False
        self._goodbye: Optional[messages.Goodbye] = None
        self._pace = Pace()
        self._times = RunTimes()
        self._hurry: Optional[float] = None
        """Only runs that are known to end within so many seconds are started."""
        self._next_pulse = 0.0
        self.gives_way = False
        """This worker ends since its machine may be taken away, and leaves work that another one should do."""

    # The executor's side

    def take(self, wanted: int = 1) -> Optional[Task]:
        """The next run; asks for more in time."""
        task = self._queue.popleft() if self._queue else None
        if task is None or len(self._queue) < self._pace.runs_while_asking(self._clock()):
            self._ask()
        return task

    def is_over(self) -> bool:
        return (self._is_over or bool(self.refusal)) and not self._queue

    def fileno(self) -> Optional[int]:
        """Of the line to the clerk: it stays the same when the clerk is replaced."""
        return self._line.fileno()

    def read_news(self) -> None:
        """Hear what the clerk has said."""
        self._talk()

    def revoked(self) -> frozenset[int]:
        return self._all_revoked

    def is_in_doubt(self) -> bool:
        """What was not renewed in time is revoked instead."""
        return False

    def is_stopping(self) -> bool:
        return bool(self._halt or self.refusal)

    def is_urgent(self) -> bool:
        return self._is_urgent

    def ended(self, task: Task, outcome: Outcome) -> None:
        part = self._parts.get(task.origin)
        if part is not None:
            part.add(outcome)
        self.tally.add(outcome)
        self._pace.ended(self._clock())
        self._times.ended(outcome)
        self._unsaved.append(outcome)
        self._send(messages.RunEnded(task.origin, outcome))

    def tick(self, gauge: Gauge) -> float:
        # News are read when they come, never here: the loop has looked for runs already, and would
        # then sleep until the next tick with a part on the desk.
        self._watch_leases()
        self._tell_gone({path for _, path, _ in gauge.running}, gauge.saving_origins)
        if self._clock() >= self._next_pulse:
            self._next_pulse = self._clock() + PULSE_SECONDS
            waiting = gauge.waiting + len(self._queue)
            self._send(messages.Pulse(gauge.running, gauge.saving, waiting, gauge.trouble))
        return TICK_SECONDS

    # Before and after the execution

    @property
    def why_stopping(self) -> str:
        """The sentence that goes with `is_stopping`."""
        return self.refusal or self._halt

    def wait_for_news(self, seconds: float) -> None:
        """Hear what the clerk says, but wait for it no longer than this."""
        self._line.wait(seconds)
        self._talk()

    def begin(self, nprocs: int) -> None:
        """The machine is prepared."""
        self._nprocs = nprocs
        self._send(messages.Prepared(nprocs))

    def close(self, state: str, error: str = "") -> None:
        """Have the last things written, and let the clerk go."""
        self._goodbye = messages.Goodbye(state, error, self.gives_way)
        self._send(self._goodbye)
        end = self._clock() + (LAST_TRY_SECONDS if self.refusal else FAREWELL_SECONDS)
        while self.farewell is None and not self._line.is_dead and self._clock() < end:
            self.wait_for_news(1.0)
        self._line.end(5.0 if self.farewell else 0.0)
        self._line.close()

    # The clerk's side

    def _talk(self) -> None:
        """Hear what there is, send what is left."""
        if not self._line.is_dead:
            for message in self._line.receive():
                self._hear(message)
            if self._line.is_dead:
                self._replace_clerk()

    def _hear(self, message: object) -> None:
        if isinstance(message, messages.Part):
            self._part_came(message)
        elif isinstance(message, messages.Held):
            if message.origin in self._parts:
                self._parts[message.origin].until = message.until
        elif isinstance(message, messages.PartDone):
            self._parts.pop(message.origin, None)
        elif isinstance(message, messages.RecordsKept):
            del self._unsaved[: message.outcomes - self._confirmed]
            self._confirmed, self._sequence = message.outcomes, message.sequence
        elif isinstance(message, messages.Revoked):
            self._revoke(message.origin, "another worker has it")
        elif isinstance(message, messages.Over):
            self._over(message)
        elif isinstance(message, messages.Hurry):
            self._hurry_up(message)
        elif isinstance(message, messages.Halt):
            self._halt = message.reason
            self._is_urgent |= message.at_once
        elif isinstance(message, messages.JobFound):
            self.job = message.job
        elif isinstance(message, messages.Refused):
            self.refusal = message.reason
        elif isinstance(message, messages.Farewell):
            self.farewell = message
        else:
            raise TypeError(f"the clerk said {message!r}")

    def _part_came(self, message: messages.Part) -> None:
        if self._asked_at is not None:
            self._pace.came(self._clock() - self._asked_at)
        self._asked_at = None
        self._origins = message.origin
        self._parts[message.origin] = _Part(
            message.part,
            len(message.runs),
            message.until,
            frozenset(run.remote_output_path for run in message.runs),
            message.completed,
            message.failed,
        )
        if not self._is_over:
            self._queue.extend(Task(run, message.origin) for run in message.runs)
        if self._hurry is not None:
            self._drop_long_runs()

    def _over(self, message: messages.Over) -> None:
        self._is_over = True
        self._say(message.reason)
        if message.drops:
            self._queue.clear()

    def _hurry_up(self, message: messages.Hurry) -> None:
        if self._hurry is None and not self._is_over:
            self._hurry = message.seconds
            self._say(message.reason)
            self._drop_long_runs()

    def _drop_long_runs(self) -> None:
        """Parts are taken as long as all of their runs are known to be short. What is dropped here is given back when
        this worker leaves, which it does when its last run has ended."""
        if self._hurry is None or self._is_over:
            return
        short = deque(
            task for task in self._queue if self._times.is_known_to_fit(task.run, self._hurry)
        )
        if len(short) < len(self._queue):
            self._queue = short
            self._is_over = self.gives_way = True

    def _ask(self) -> None:
        if self._asked_at is None and not self._is_over:
            self._asked_at = self._clock()
            self._send(messages.Hungry())

    def _watch_leases(self) -> None:
        """Stop what nobody has renewed in time: from then on another machine may do it."""
        for origin, part in list(self._parts.items()):
            if part.left and self._clock() > part.until:
                self._send(messages.Dropped(origin))
                self._revoke(origin, "its claim could not be renewed in time")
                if not self._lingers:
                    self.refusal = "The storage did not answer for longer than a claim lasts."

    def _revoke(self, origin: int, why: str) -> None:
        part = self._parts.pop(origin, None)
        if part is None:
            return
        self._say(f"Part {part.number} is stopped here: {why}.")
        self._queue = deque(task for task in self._queue if task.origin != origin)
        self._all_revoked |= {origin}
        self._revoked[origin] = part.paths

    def _tell_gone(self, running: set[str], saving: Sequence[int]) -> None:
        """Of a part that others may have: not while anything of it is on its way to where theirs goes."""
        for origin, paths in list(self._revoked.items()):
            if origin not in saving and not paths & running:
                del self._revoked[origin]
                self._send(messages.Gone(origin))

    def _send(self, message: object) -> None:
        self._line.send(message)

    def _replace_clerk(self) -> None:
        """The clerk has died: start another and tell it all that this one knew."""
        if self.farewell is not None or self.refusal:
            return
        if self._line.clerks >= CLERKS or not self._nprocs:
            self.refusal = (
                f"The process that speaks to the storage has died {self._line.clerks} times."
            )
            return
        self._say("The process that speaks to the storage has died; another takes its place.")
        self._line.begin()
        self._confirmed = 0
        in_hand = tuple(
            InHand(
                origin,
                part.number,
                part.left,
                part.completed,
                part.failed,
                tuple(part.lost),
                part.not_stored,
            )
            for origin, part in self._parts.items()
        )
        self._send(
            messages.Prepared(
                self._nprocs,
                in_hand,
                tuple(self._unsaved),
                self._sequence,
                self._origins,
                astuple(self.tally),
            )
        )
        if self._asked_at is not None:
            self._send(messages.Hungry())
        if self._goodbye is not None:
            self._send(self._goodbye)
