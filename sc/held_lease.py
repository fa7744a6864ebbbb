"""A lease that an execution has, kept by its loop: renewed in time, and given up when somebody else has its runs.

loop ──step()──▶ errand: renew ──▶ storage
     ◀─hear()──────┘
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Optional

from sc.errands import Answer, Errands
from sc.errors import BusyError
from sc.leases import TIMES, Lease, Times, finish, release, renew

RETRY_SECONDS = 5.0
"""After a refusal of the storage, which has itself tried for about a minute."""


def awake_clock() -> float:
    """Seconds that also pass while this machine sleeps, where the system has such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class HeldLease:
    """All methods return at once."""

    def __init__(
        self,
        place: str,
        url: str,
        lease: Lease,
        errands: Errands,
        since: float,
        times: Times = TIMES,
    ) -> None:
        """`place` is the batch's, `since` when the lease was written, by `awake_clock`."""
        self.lost = ""
        """Why the runs are not ours any more; empty while they are, as far as we know."""
        self._place = place
        self._url = url
        self._lease = lease
        self._errands = errands
        self._confirmed = since
        """Whoever looked after this moment, and for the lease's length from then on, has found us."""
        self._times = times
        self._asked: Optional[int] = None
        self._asked_at = since
        self._is_look = False
        self._next = since + times.renew_seconds

    def is_in_doubt(self) -> bool:
        """True while somebody else may have the runs: nothing is to be started or stored."""
        return bool(self.lost) or awake_clock() - self._confirmed > self._times.doubt_seconds

    def step(self) -> float:
        """Renew if it is time to; returns in how many seconds that is to be asked again."""
        now = awake_clock()
        if self.lost or self._asked is not None:
            return min(self._times.renew_seconds, RETRY_SECONDS)
        is_late = self.is_in_doubt()
        if now >= self._next or (is_late and now >= self._asked_at + RETRY_SECONDS):
            self._ask(now, is_late)
        return min(self._times.renew_seconds, max(self._next - now, 0.1))

    def hear(self, answer: Answer) -> bool:
        """False: this answer is about something else."""
        if answer.number != self._asked:
            return False
        self._asked, now = None, awake_clock()
        if answer.kind == BusyError.__name__:
            self.lost = answer.error
        elif answer.error:
            self._next = now + RETRY_SECONDS
        elif self._is_look or now - self._confirmed <= self._times.doubt_seconds:
            self._confirmed = self._asked_at
            self._next = self._asked_at + self._times.renew_seconds
        else:  # it was written too late to say anything of the time before
            self._ask(now, is_late=True)
        return True

    def give_up(self, is_finished: bool = False) -> None:
        """Have all of it removed; nothing of the runs goes on. `is_finished`: every one of them has ended."""
        if not self.lost:
            self._errands.ask(finish if is_finished else release, self._url, self._lease.execution)

    def _ask(self, now: float, is_late: bool) -> None:
        lease = replace(self._lease, state="running", renewals=int(now * 1000))
        arguments = (self._place, self._url, lease, is_late, awake_clock, time.sleep, self._times)
        self._asked = self._errands.ask(renew, *arguments)
        self._asked_at, self._is_look = now, is_late
