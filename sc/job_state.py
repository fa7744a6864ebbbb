"""A job at one moment, as whoever watches it knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from sc.glances import Glance
from sc.grouping import Group
from sc.halting import Stop
from sc.heartbeats import Heartbeat


@dataclass(frozen=True)
class Worker:
    """One worker, as far as it is known."""

    glance: Glance
    age_seconds: float
    is_silent: bool
    """It should have said something by now."""
    heartbeat: Optional[Heartbeat] = None
    """What it told when it was last read, which may be a while ago."""

    @property
    def is_live(self) -> bool:
        """True if it is at work, as far as one can see."""
        return not self.is_silent and not self.glance.is_last


@dataclass(frozen=True)
class State:
    """A job at one moment."""

    job_url: str
    name: str
    runs: int
    parts: int
    parts_done: int = 0
    completed: int = 0
    failed: int = 0
    lost: int = 0
    workers: Sequence[Worker] = ()
    errors: Sequence[Group] = ()
    troubles: Sequence[str] = ()
    """Why parts could not be done at all."""
    stop: Optional[Stop] = None
    not_stored: int = 0
    """Runs that have ended, and whose outputs could not be stored."""
    ended_processes: int = 0
    """Runs that left processes, which were ended, as far as workers have told."""
    unstored_files: int = 0
    """Likewise runs of which some files could not be stored."""

    @property
    def ended(self) -> int:
        """Runs that will not be run any more."""
        return self.completed + self.unsuccessful

    @property
    def unsuccessful(self) -> int:
        """Those of them that did not complete."""
        return self.failed + self.lost + self.not_stored

    @property
    def running(self) -> int:
        """Runs that go on."""
        going_on = sum(one.glance.running for one in self.workers if one.is_live)
        return min(going_on, self.runs - self.ended)

    @property
    def waiting(self) -> int:
        """Runs that are still to be started."""
        return self.runs - self.ended - self.running

    @property
    def live(self) -> Sequence[Worker]:
        """The workers that are at work."""
        return [one for one in self.workers if one.is_live]

    @property
    def is_complete(self) -> bool:
        """True if every part is done: nothing will change any more."""
        return self.parts_done >= self.parts

    @property
    def has_left(self) -> bool:
        """True if there were workers, and all of them have said goodbye."""
        return bool(self.workers) and all(one.glance.is_last for one in self.workers)
