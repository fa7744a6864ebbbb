"""How early a worker has to ask for its next part, so that no slot stands idle and nothing lies about unstarted."""

from __future__ import annotations

from collections import deque

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
