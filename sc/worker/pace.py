"""How early a worker has to ask for its next part, so that no slot stands idle and nothing lies about unstarted; and
which runs are known to be short."""

from __future__ import annotations

from collections import deque

from sc.model import Outcome, Run

HASTE = 1.5
"""Ask when what waits lasts for so many times as long as a part takes to come."""
_LONGEST_SECONDS = 10.0
_BURST_SECONDS = 1.0


class Pace:
    """How fast slots become free, and how long a part takes to come. `now` is any clock that goes forward."""

    def __init__(self) -> None:
        self._seconds_to_come = 0.1
        self._ended: deque[float] = deque(maxlen=256)

    def ended(self, now: float) -> None:
        """A run has ended."""
        self._ended.append(now)

    def came(self, seconds: float) -> None:
        """A part came so long after it was asked for."""
        self._seconds_to_come += 0.3 * (min(seconds, _LONGEST_SECONDS) - self._seconds_to_come)

    def runs_while_asking(self, now: float) -> int:
        """How many runs end while a part comes; 0 for runs that take long."""
        if not self._ended:
            return 0
        # Runs that all take the same time end in bursts: they say nothing of the next second.
        seconds = max(now - self._ended[0], _BURST_SECONDS)
        return int(HASTE * self._seconds_to_come * len(self._ended) / seconds)


ENOUGH_RUNS = 5
"""After so many runs their longest time says something of the next one,"""
_MARGIN = 2.0
"""which may take so many times as long."""


class RunTimes:
    """How long the runs of this worker have taken."""

    def __init__(self) -> None:
        self._count = 0
        self._longest = 0.0

    def ended(self, outcome: Outcome) -> None:
        """A run has ended."""
        self._count += 1
        self._longest = max(self._longest, outcome.ended - outcome.started)

    def is_known_to_fit(self, run: Run, seconds: float) -> bool:
        """Whether it will end within `seconds`: by its timeout, by its `expected_time`, or else by those before it."""
        if run.timeout is not None and run.timeout * (1 + run.retries) <= seconds:
            return True
        if run.expected_time is not None:
            return run.expected_time <= seconds
        return self._count >= ENOUGH_RUNS and _MARGIN * self._longest <= seconds
