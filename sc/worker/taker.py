"""How a worker comes by its next part, and when it gives up looking. The clerk's side."""

from __future__ import annotations

from random import Random
from typing import Optional

from sc import paths
from sc.board import Board
from sc.claims import RENEWALS_PER_LEASE, Claim
from sc.staging import REWRITE_SECONDS, STAGER_LOST_SECONDS, Job, read_job
from sc.storage import Storage
from sc.worker.identity import Habits
from sc.worker.leaving import may_leave

BUSY_POLLS = 5
"""With runs of its own going on, a worker looks so many times less often for what others let go."""

BEGINNINGS_PER_SECOND = 250.0
"""Of a crowd that is larger than that each worker waits a random moment before it begins."""


class Taker:
    """The board, seen over time."""

    def __init__(
        self,
        storage: Storage,
        job_url: str,
        job: Job,
        worker: str,
        habits: Habits,
        random: Random,
    ) -> None:
        self.job = job
        self.trouble = ""
        """Why parts of this job can never be taken; empty if there is no such reason."""
        self._storage = storage
        self._job_url = job_url
        self._habits = habits
        self._random = random
        self._board = Board(
            storage,
            job_url,
            job.parts,
            worker,
            lease_seconds=job.lease_seconds,
            crowd=min(job.scale, job.parts),
            random=random,
            nonce=job.nonce,
        )
        self._board.limit(job.written)
        self._first_look: Optional[float] = None
        self._next_read = 0.0
        self._cautious_until = 0.0

    @property
    def renew_seconds(self) -> float:
        return self.job.lease_seconds / RENEWALS_PER_LEASE

    def pause(self) -> float:
        """Seconds to wait before the first request, so that a thousand machines that boot together come one by one."""
        return self._random.uniform(0.0, max(0.0, self.job.scale / BEGINNINGS_PER_SECOND - 1.0))

    def take(self, now: float) -> Optional[Claim]:
        """Claim a part; None if there is nothing to take now."""
        if self._first_look is None:
            self._first_look = now
        self._hear_of_staging(now)
        return self._board.take(may_take_over=now >= self._cautious_until)

    def may_leave(self, now: float) -> bool:
        """To be asked after `take` had nothing, by a worker that has nothing in hand."""
        rest = self._board.rest()
        if self.trouble:
            rest = rest._replace(unwritten=0)
        return may_leave(
            rest,
            lingers=self._habits.lingers,
            watched_seconds=now - (now if self._first_look is None else self._first_look),
            renew_seconds=self.renew_seconds,
        )

    def is_job_over(self) -> bool:
        """True if the last look has found every part ended."""
        return self._board.rest().is_nothing

    def has_work(self) -> bool:
        """True if there is a part that a new machine could take. A few requests."""
        return not self.trouble and self._board.has_work()

    def next_try(self, now: float, is_busy: bool) -> float:
        """When to look again after there was nothing; spread, so that not all come at once."""
        seconds = min(self._habits.poll_seconds, self.renew_seconds)
        if is_busy and not self._habits.lingers:
            seconds *= BUSY_POLLS
        return now + seconds * self._random.uniform(0.5, 1.5)

    def reconsider(self, part: int) -> None:
        """A part that we had to let go of may be taken again."""
        self._board.reconsider(part)

    def be_cautious(self, now: float) -> None:
        """This machine has slept, and perhaps all others with it (they may be one): before anything is taken over,
        everybody gets the time to renew."""
        self._cautious_until = now + 2 * self.renew_seconds

    def _hear_of_staging(self, now: float) -> None:
        """Learn which parts were written meanwhile."""
        if self.job.written >= self.job.parts or self.trouble or now < self._next_read:
            return
        self._next_read = now + REWRITE_SECONDS
        self.job = read_job(self._storage, self._job_url)
        self._board.limit(self.job.written)
        if self.job.written >= self.job.parts:
            return
        entry = self._storage.stat(paths.recipe(self._job_url))
        if entry is None or entry.age_seconds > STAGER_LOST_SECONDS:
            missing = self.job.parts - self.job.written
            self.trouble = (
                f"{missing} of {self.job.parts} parts were never written: the sc that was writing them "
                "has ended. Start the job again when these parts are done."
            )
