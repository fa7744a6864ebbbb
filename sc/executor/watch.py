"""When a process tree is waited for, asked to end, and forced. Pure: it is given the time, and what is there.

running ─ the command exits ─▶ winding up ─ nothing left ─▶ over
   │                              │ drains end by themselves; what else is left has 2 seconds,
   │ time-out, or Stop            │ then SIGTERM, and SIGKILL after the grace time
   ▼                              ▼ time-out, or Stop
asked (SIGTERM to all) ─ grace is over ─▶ forced (SIGKILL to all, again and again)
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

from sc.executor.survivors import Process, Survivors

FORCE_AGAIN_SECONDS = 0.02
"""First pause between two rounds of SIGKILL; doubled up to half a second."""

ASK_AGAIN_SECONDS = 0.05
"""Likewise for SIGTERM, which each process gets once; doubled up to a second."""

LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.02, 0.25
"""Likewise between two looks at what a command has left."""

LINGER_SECONDS = 2.0
"""What is left and does not drain may end by itself for so long: what a slot is given to a daemon for."""

SETTLE_SECONDS = 0.4
"""For so long of the command's exit what is left may be a drain that does not look like one yet: a process that was
forked a moment ago still holds both ends of its parent's pipes."""

IDLE_SECONDS = 60.0
"""Drains that use no CPU and move no bytes for so long are ended, where the run has no timeout."""

SIGNAL_BASE = 128
"""Shells tell of a signal by this code and its number."""
STOP_SECONDS = 1.0
"""Within so long of a command that was told to end the loop says whether it was told, too."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

NOTHING_LEFT = Survivors()


class Step(NamedTuple):
    """What is to be done now."""

    signal: Optional[int] = None
    """None: nothing is sent."""
    pause: Optional[float] = None
    """Seconds until the next step; None: when something happens."""
    pids: Optional[Sequence[int]] = None
    """Who gets the signal; None: everything there is."""


class Watch:
    """One run, from its start until nothing of it is left."""

    def __init__(self, leader: int, now: float, timeout: Optional[float], grace: float) -> None:
        self.status = 0
        """The leader's wait status."""
        self.ended_by: Optional[str] = None
        """`timeout` or `interrupted`, if it was ended before it and its drains had ended."""
        self.seconds = 0.0
        """What all of it took, when nothing of it is left."""
        self.ended: list[Process] = []
        """What was still running when the leader had exited by itself, and was ended."""
        self.drains: frozenset[int] = frozenset()
        """Process ids of all drains that were ever seen."""
        self._leader = leader
        self._leader_lives = True
        self._deadline = None if timeout is None else now + timeout
        self._grace = grace
        self._force_at: Optional[float] = None
        self._ask_pause = ASK_AGAIN_SECONDS
        self._pause = FORCE_AGAIN_SECONDS
        self._exited_at: Optional[float] = None
        self._look_pause = LOOK_SECONDS
        self._lingered: frozenset[int] = frozenset()
        """Not what a shell starts anew each time that it is asked to end."""
        self._others, self._idle = _Farewell(grace), _Farewell(grace)
        self._progress: tuple[int, ...] = ()
        self._moved_at = now

    @property
    def is_winding_up(self) -> bool:
        """True when the leader has exited by itself: `step` then wants to know what is left."""
        return not self._leader_lives and self._force_at is None

    @property
    def may_be_stopped(self) -> bool:
        """True if the command was told to end, by nobody of us. A machine that is switched off, a service or a session
        that is stopped tell it to all processes at the same moment, so that the run may not have failed at all."""
        if self._leader_lives or self.ended_by is not None or self._force_at is not None:
            return False
        told = os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0
        return (told or os.WEXITSTATUS(self.status) - SIGNAL_BASE) in _STOP_SIGNALS

    def reaped(self, pid: int, status: int) -> None:
        """A process of the tree has been waited for."""
        if pid == self._leader:
            self.status = status
            self._leader_lives = False

    def stop(self, now: float, at_once: bool, left: Survivors = NOTHING_LEFT) -> None:
        """The loop wants it to end. A command that has exited has its code; without what its drains have not
        written yet it is not complete. `left` counts while winding up."""
        is_whole = not (self._leader_lives or left.drains or self._is_settling(now, left))
        if self.ended_by is None and (not is_whole or self.may_be_stopped):
            self.ended_by = "interrupted"
        self._note_ended([*left.sources, *left.fed])
        if at_once:
            self._force_at = now
        elif self._force_at is None:
            self._force_at = now + self._grace

    def _is_settling(self, now: float, left: Survivors) -> bool:
        is_young = self._exited_at is None or now < self._exited_at + SETTLE_SECONDS
        return is_young and bool(left.sources or left.fed)

    def step(self, now: float, left: Survivors = NOTHING_LEFT) -> Step:
        """To be called when something has happened, and after each pause. `left` counts while winding up."""
        if self.is_winding_up:
            return self._wind_up(now, left)
        if self._force_at is None:
            if self._deadline is None:
                return Step()
            if now < self._deadline:
                return Step(pause=self._deadline - now)
            self.ended_by = "timeout"
            self._force_at = now + self._grace
        if now >= self._force_at:
            pause, self._pause = self._pause, min(0.5, 2 * self._pause)
            return Step(signal.SIGKILL, pause)
        # Again and again, for those who were being started while the others were asked.
        pause, self._ask_pause = self._ask_pause, min(1.0, 2 * self._ask_pause)
        return Step(signal.SIGTERM, min(pause, self._force_at - now))

    def _wind_up(self, now: float, left: Survivors) -> Step:
        if self._exited_at is None:
            self._exited_at = now
        self.drains = self.drains.union(one.pid for one in left.drains)
        if left.drains and self._deadline is not None and now >= self._deadline:
            self.ended_by = "timeout"
            self._force_at = now + self._grace
            return self.step(now)
        pause, self._look_pause = self._look_pause, min(LONGEST_LOOK_SECONDS, 2 * self._look_pause)
        if now >= self._exited_at + LINGER_SECONDS and (left.sources or left.fed):
            if not self._others.has_begun:
                self._lingered = frozenset(one.pid for one in (*left.sources, *left.fed))
            step = self._others.step(now, left.sources or left.fed, pause)
            self._note_ended(one for one in left.sources or left.fed if one.pid in self._lingered)
            return step
        if self._is_idle(now, left.drains):
            self._note_ended(left.drains)
            return self._idle.step(now, left.drains, pause)
        return Step(pause=pause)

    def _is_idle(self, now: float, drains: Sequence[Process]) -> bool:
        progress = tuple(number for one in drains for number in (one.pid, one.progress))
        if progress != self._progress:
            self._progress, self._moved_at = progress, now
        is_over = now - self._moved_at >= IDLE_SECONDS or self._idle.has_begun
        return bool(drains) and self._deadline is None and is_over

    def _note_ended(self, processes: Iterable[Process]) -> None:
        known = {one.pid for one in self.ended}
        self.ended += [one for one in processes if one.pid not in known]


class _Farewell:
    """SIGTERM to each once, and SIGKILL to all when the grace time is over."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._asked: set[int] = set()
        self._force_at: Optional[float] = None

    @property
    def has_begun(self) -> bool:
        return self._force_at is not None

    def step(self, now: float, processes: Sequence[Process], pause: float) -> Step:
        pids = [one.pid for one in processes]
        if self._force_at is None:
            self._force_at = now + self._grace
        if now >= self._force_at:
            return Step(signal.SIGKILL, pause, pids)
        new = [pid for pid in pids if pid not in self._asked]
        self._asked.update(new)
        return Step(signal.SIGTERM if new else None, min(pause, self._force_at - now), new)
