"""The clerk: all of a worker's traffic about claims, heartbeats, records and `stop`, in a process of its own.

    desk ──hear()──▶ clerk ──outbox──▶ desk
                      │ step(): whatever is due, most urgent first
                      ▼
                   storage

It does one thing after the other, and may wait long for the storage; the desk, which must not wait, goes on
meanwhile. Renewals come first at every step. When the storage refuses, the same thing is tried again later, and
the desk stops by itself what was not renewed in time (see `Held`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Optional

from sc import paths, s3_settings
from sc.claims import Claim
from sc.errors import InputError, MissingError, ScError, StorageError
from sc.halting import Stop
from sc.staging import UnreadablePartError, gone, read_job
from sc.storage import Storage
from sc.worker import messages
from sc.worker.brake import Brake
from sc.worker.hands import Claimed
from sc.worker.identity import Habits, Identity, Site
from sc.worker.in_hand import PartsInHand
from sc.worker.neighbours import Neighbours
from sc.worker.reporter import Reporter
from sc.worker.taker import Taker

RETRY_SECONDS = 5.0
"""After a refusal of the storage, which has itself tried for about a minute."""
OUTAGE_SECONDS = 3600.0
"""A storage that did not answer for so long is gone: also a worker that lingers does not wait any more."""
LONGEST_STEP_SECONDS = 3600.0
SHORT_SECONDS = 120.0
"""A run that ends within it is not lost: spot machines are taken away two minutes after their notice,
docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html"""
ALIVE_SECONDS = 60.0
"""Between two signs of life to whoever guards the machine."""
FIRST_BEAT_SECONDS = 3.0
"""After the first part has come, so that whoever waits soon sees runs go on."""


class Clerk:
    """What `clerk_process` drives. `clock` is monotonic; methods never raise StorageError."""

    def __init__(
        self,
        storage: Storage,
        job_url: str,
        identity: Identity,
        habits: Habits,
        site: Site,
        random: Random,
        clock: Callable[[], float],
        log: Optional[int] = None,
    ) -> None:
        self.outbox: list[object] = []
        """For the desk; whoever drives the clerk empties it."""
        self.is_finished = False
        self._storage = storage
        self._job_url = job_url
        self._identity = identity
        self._habits = habits
        self._site = site
        self._random = random
        self._clock = clock
        self._reporter = Reporter(storage, job_url, identity, log)
        self._answered = clock()
        """When the storage last did what it was asked."""
        self._begins = self._next_sign = 0.0  # no request before the first
        self._is_hungry = self._is_over = self._is_stopped = False
        self._is_halted = self._is_hurried = self._is_hinted = False
        self._goodbye: Optional[messages.Goodbye] = None
        self._due: dict[str, float] = {}
        self._chores: dict[str, Callable[[], float]] = {
            "prove": self._prove,
            "renew": self._renew,
            "look": self._look_for_stop,
            "notice": self._look_for_notice,
            "finish": self._finish_parts,
            "take": self._take,
            "records": self._keep_records,
            "beat": self._beat,
            "log": self._keep_log,
        }

    def open(self) -> None:
        """Read what the job is; the outbox then has a JobFound or a Refused."""
        try:
            job = read_job(self._storage, self._job_url)
            s3_settings.adopt(job.s3, os.environ)
            self._storage.check_conditions(self._job_url)
        except (InputError, StorageError) as error:
            self.outbox.append(messages.Refused(str(error)))
            self.is_finished = True
            return
        worker = self._identity.worker
        self._claimed = Claimed(self._storage, self._job_url, job, self._identity.machine)
        self._taker = Taker(self._storage, self._job_url, job, worker, self._habits, self._random)
        self._parts = PartsInHand(self._claimed, self._reporter, self.outbox.append)
        self._brake = Brake(self._storage, self._job_url, job)
        self._neighbours = Neighbours(self._storage, self._job_url, worker)
        self.outbox.append(messages.JobFound(job))

    def hear(self, message: object) -> None:
        """The desk has said something."""
        if isinstance(message, messages.Hungry):
            self._is_hungry = True
            self._due["take"] = max(self._clock(), self._begins)
        elif isinstance(message, messages.RunEnded):
            self._run_ended(message)
        elif isinstance(message, messages.Pulse):
            self._reporter.pulse = message
            self._give_sign()
        elif isinstance(message, messages.Prepared):
            self._begin(message)
        elif isinstance(message, messages.Dropped):
            self._parts.drop(message.origin)
        elif isinstance(message, messages.Gone):
            self._gone(message.origin)
        elif isinstance(message, messages.Goodbye):
            self._goodbye = message
        else:
            raise TypeError(f"the desk said {message!r}")

    def step(self) -> float:
        """Do what is due; returns the moment when there is something to do again."""
        if self._goodbye is not None:
            self._leave(self._goodbye)
            return self._clock()
        for name, chore in self._chores.items():
            if self._due.get(name, LONGEST_STEP_SECONDS + self._clock()) <= self._clock():
                try:
                    self._due[name] = chore()
                except ScError as error:
                    self._reporter.error = str(error)
                    self._due[name] = self._clock() + RETRY_SECONDS
                    if self._clock() > self._answered + OUTAGE_SECONDS:
                        self.outbox.append(messages.Refused(str(error)))
        return min(self._due.values(), default=self._clock() + LONGEST_STEP_SECONDS)

    def woke_up(self) -> None:
        """This machine has slept: find out at once which claims are still ours."""
        self._taker.be_cautious(self._clock())
        self._parts.doubt()
        self._due["renew"] = self._clock()

    def desk_died(self) -> None:
        """Nobody hears us any more, and what the desk has started is ended: keep what was told. The claims are left
        to their lease, so that a part which kills its worker is counted."""
        self._reporter.error = "the worker's main process has died"
        with suppress(StorageError):
            self._reporter.keep_records(self._clock())
            self._reporter.beat("failed")
            self._reporter.keep_log()

    # What the desk says

    def _begin(self, prepared: messages.Prepared) -> None:
        now = self._clock()
        self._reporter.begin(prepared)
        self._parts.origins = prepared.origins
        self._begins = now if prepared.in_hand else now + self._taker.pause()
        self._due = dict.fromkeys(self._chores, self._begins)
        del self._due["take"], self._due["prove"]
        for one in prepared.in_hand:
            self._parts.take_up(one, self._identity.worker, now)

    def _run_ended(self, message: messages.RunEnded) -> None:
        self._reporter.add(message.outcome)
        self._parts.run_ended(message.origin, message.outcome)
        if self._parts.has_ended():
            self._due["finish"] = self._clock()
        count = self._brake.next_count(self._reporter.tally)
        if count is not None and not self._is_over:
            self._due["beat"] = min(self._due.get("beat", count), max(count, self._clock()))

    def _gone(self, origin: int) -> None:
        for claim in self._parts.gone(origin):
            self._taker.reconsider(claim.part)

    def _give_sign(self) -> None:
        """The desk goes on, as it has said something, and we do: so work goes on here. Not before it has begun; until
        then others tell how long this machine has."""
        if self._parts.origins and self._clock() >= self._next_sign:
            self._next_sign = self._clock() + ALIVE_SECONDS
            self._site.alive()

    # What is due now and then. Each returns the moment when it is due again

    def _renew(self) -> float:
        if self._parts.renew(self._clock):
            self._look_for_job()
        return self._clock() + self._taker.renew_seconds / 3

    def _look_for_stop(self) -> float:
        self._stop(self._brake.look())
        return self._clock() + self._habits.stop_seconds * self._random.uniform(0.9, 1.1)

    def _look_for_notice(self) -> float:
        leave = self._site.notice()
        if leave is not None and leave.is_certain:
            self._halt(leave.reason)
        elif leave is not None and not self._is_hinted:
            self._is_hinted = True
            self.outbox.append(messages.Hurry(leave.reason, SHORT_SECONDS))
        return self._clock() + self._habits.notice_seconds

    def _finish_parts(self) -> float:
        if self._parts.finish(self._clock):
            self._look_for_job()
        self._due["take"] = self._clock()
        return self._clock() + LONGEST_STEP_SECONDS

    def _look_for_job(self) -> None:
        """Claims were lost: to another worker, or because the whole job was replaced by another. Or somebody has
        removed all that it keeps, or moved it away."""
        if self._storage.stat(paths.recipe(self._job_url)) is None:
            self._halt(str(gone(self._job_url)))

    def _take(self) -> float:
        if not self._is_hungry or self._is_over:
            return self._clock() + LONGEST_STEP_SECONDS
        before = self._clock()
        try:
            claim = self._taker.take(before)
        except MissingError as error:
            self._halt(str(error))
            return before
        if claim is not None:
            self._hand_out(claim, before)
            return self._clock()
        if self._parts.is_idle and self._taker.may_leave(self._clock()):
            self._end(self._taker.trouble or "Nothing is left to take.", drops=False)
        return self._taker.next_try(self._clock(), self._parts.is_busy)

    def _hand_out(self, claim: Claim, since: float) -> None:
        try:
            has_runs = self._parts.hand_out(claim, since)
        except UnreadablePartError as error:
            self._look_for_job()
            if self._is_halted:
                return
            self._reporter.error = self._taker.trouble = str(error)
            self._claimed.tell_unreadable(claim, str(error))
            return
        except StorageError:
            self._taker.reconsider(claim.part)
            raise
        if self._parts.origins == 1:
            self._due["prove"] = self._clock()
            self._due["beat"] = self._clock() + FIRST_BEAT_SECONDS
        self._is_hungry = self._is_hungry and not has_runs
        if not has_runs:
            self._finish_parts()

    def _prove(self) -> float:
        self._site.proved()
        return self._clock() + LONGEST_STEP_SECONDS

    def _keep_records(self) -> float:
        self.outbox.append(self._reporter.keep_records(self._clock()))
        return self._clock() + self._habits.records_seconds

    def _beat(self) -> float:
        self._look_for_job()
        self._reporter.beat("leaving" if self._is_over else "working")
        self._stop(None if self._is_over else self._brake.count(self._clock()))
        self._look_around()
        return self._clock() + self._habits.heartbeat_seconds * self._random.uniform(0.9, 1.1)

    def _look_around(self) -> None:
        """End the machines of this job that hang, and cost money."""
        self._neighbours.wrote(self._clock())
        if not self._site.ends_others or self._taker.job.scale < 2:
            return
        seen = None if self._is_over else self._brake.seen
        for said in self._neighbours.lost(self._clock(), seen):
            self._site.end(said.machine, not self._is_over and self._taker.has_work())
            self._neighbours.settle(said.worker)

    def _keep_log(self) -> float:
        self._reporter.keep_log()
        return self._clock() + self._habits.log_seconds

    # Ends

    def _stop(self, stop: Optional[Stop]) -> None:
        """Somebody has stopped the job, or too many of its runs have failed."""
        if stop is not None:
            self._is_stopped = True
            self._end(stop.reason, drops=True)
            if not stop.lets_end:
                self._halt(stop.reason, stop.at_once)

    def _end(self, reason: str, drops: bool) -> None:
        if not self._is_over:
            self._is_over = True
            self.outbox.append(messages.Over(reason, drops))

    def _halt(self, reason: str, at_once: bool = False) -> None:
        self._end(reason, drops=True)
        if not self._is_halted or (at_once and not self._is_hurried):
            self._is_halted, self._is_hurried = True, at_once
            self.outbox.append(messages.Halt(reason, at_once))

    def _leave(self, goodbye: messages.Goodbye) -> None:
        """Nothing goes on any more: keep what there is to keep, let go of the rest."""
        self._reporter.error = goodbye.error or self._reporter.error
        self._reporter.pulse = messages.Pulse((), 0, 0, "")
        is_job_over = self._is_stopped or (
            self._is_over and self._parts.is_idle and self._taker.is_job_over()
        )
        trouble, is_work_left = self._taker.trouble or goodbye.error, goodbye.gives_way
        try:
            self.outbox.append(self._reporter.keep_records(self._clock()))
            self._parts.give_all_back(self._clock)
            if goodbye.gives_way:
                is_work_left = self._taker.has_work()
                is_job_over = is_job_over or self._taker.is_job_over()
            if (
                self._reporter.nprocs
            ):  # else this machine could not be prepared, and never was a worker
                self._reporter.beat(goodbye.state)
            self._reporter.keep_log()
        except StorageError as error:
            trouble = trouble or str(error)
        tally = self._reporter.tally
        self.outbox.append(
            messages.Farewell(
                is_job_over,
                tally.completed,
                tally.failed,
                tally.lost,
                tally.not_stored,
                trouble,
                is_work_left,
            )
        )
        self.is_finished = True
