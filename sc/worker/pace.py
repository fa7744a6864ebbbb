"""How early a worker has to ask for its next part, so that no slot stands idle and nothing lies about unstarted."""

from __future__ import annotations

from collections import deque

HASTE = 1.5
"""Ask when what waits lasts for so many times as long as a part takes to come."""
_LONGEST_SECONDS = 10.0


class Pace:
    """How fast runs are started, and how long a part takes to come. `now` is any clock that goes forward."""

    def __init__(self) -> None:
        self._seconds_to_come = 0.1
        self._taken: deque[float] = deque(maxlen=256)

    def took(self, now: float) -> None:
        """A run was started."""
        self._taken.append(now)

    def came(self, seconds: float) -> None:
        """A part came so long after it was asked for."""
        self._seconds_to_come += 0.3 * (min(seconds, _LONGEST_SECONDS) - self._seconds_to_come)

    def runs_while_asking(self, now: float) -> int:
        """How many runs are started while a part comes; 0 for runs that take long."""
        if len(self._taken) < 2:
            return 0
        seconds = max(now - self._taken[0], 0.001)
        return int(HASTE * self._seconds_to_come * len(self._taken) / seconds)
