"""When a process tree is asked to end, and when it is forced. Pure: it is given the time."""

from __future__ import annotations

import signal
from typing import Optional

FORCE_AGAIN_SECONDS = 0.02
"""First pause between two rounds of SIGKILL; doubled up to half a second."""

ASK_AGAIN_SECONDS = 0.05
"""Likewise for SIGTERM, which each process gets once; doubled up to a second."""


class Watch:
    """One run, from its start until nothing of it is left.

    `step` says which signal everything gets now, and in how many seconds to ask again (None: when
    something happens).
    """

    def __init__(self, leader: int, now: float, timeout: Optional[float], grace: float) -> None:
        self.status = 0
        """The leader's wait status."""
        self.ended_by: Optional[str] = None
        """`timeout` or `interrupted`, if it was ended while its leader lived."""
        self.seconds = 0.0
        """What all of it took, when nothing of it is left."""
        self._leader = leader
        self._leader_lives = True
        self._deadline = None if timeout is None else now + timeout
        self._grace = grace
        self._force_at: Optional[float] = None
        self._ask_pause = ASK_AGAIN_SECONDS
        self._pause = FORCE_AGAIN_SECONDS

    def reaped(self, pid: int, status: int) -> None:
        """A process of the tree has been waited for."""
        if pid == self._leader:
            self.status = status
            self._leader_lives = False

    def stop(self, now: float, at_once: bool) -> None:
        """The loop wants it to end."""
        if self._leader_lives and self.ended_by is None:
            self.ended_by = "interrupted"
        if at_once:
            self._force_at = now
        elif self._force_at is None:
            self._force_at = now + self._grace

    def step(self, now: float) -> tuple[Optional[int], Optional[float]]:
        if self._force_at is None:
            if self._leader_lives:
                if self._deadline is None:
                    return None, None
                if now < self._deadline:
                    return None, self._deadline - now
                self.ended_by = "timeout"
            self._force_at = now + self._grace
        if now >= self._force_at:
            pause, self._pause = self._pause, min(0.5, 2 * self._pause)
            return signal.SIGKILL, pause
        # Again and again, for those who were being started while the others were asked.
        pause, self._ask_pause = self._ask_pause, min(1.0, 2 * self._ask_pause)
        return signal.SIGTERM, min(pause, self._force_at - now)
