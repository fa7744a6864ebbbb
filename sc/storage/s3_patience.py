"""How long to go on asking a storage, with which pauses, and how fast. Pure: time is given.

Figures: a pause grows from 0.1 to 8 seconds, each times a random 0.5 to 1.5, so that a thousand
machines that were turned away together do not come back together. At 60 seconds and five tries a
passing trouble has become an outage, for whoever asked to decide about.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 8.0
_LONGEST_WISH_SECONDS = 20.0


class Limit(NamedTuple):
    """When to give up: after both have passed."""

    seconds: float
    tries: int

    def is_over(self, seconds: float, tries: int) -> bool:
        return seconds >= self.seconds and tries >= self.tries


IN_WORK = Limit(60.0, 5)
"""Once the endpoint has answered in this process."""
FIRST_CONTACT = Limit(3.0, 2)
"""Nothing answered yet, and no connection comes about: with 5 seconds for each, at most 10 or so."""
FIRST_ANSWER = Limit(20.0, 3)
"""Nothing answered yet, but something accepts connections."""

CONNECT_SECONDS = 5.0
FIRST_READ_SECONDS = 10.0
READ_SECONDS = 30.0


def limit(met: bool, reached: bool) -> Limit:
    """The limit for a failed try. `met`: the endpoint has answered before; `reached`: see Trouble."""
    if met:
        return IN_WORK
    return FIRST_ANSWER if reached else FIRST_CONTACT


def pause_seconds(tries: int, chance: float, wish: Optional[str] = None) -> float:
    """How long to wait after that many tries; `chance` is uniform in [0, 1).

    `wish` is a Retry-After header; one of up to 20 seconds is granted.
    """
    pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 20))
    pause *= 0.5 + chance
    if wish is not None and wish.isascii() and wish.isdigit():
        pause = max(pause, min(float(wish), _LONGEST_WISH_SECONDS))
    return pause


class Pace:
    """How far apart the requests of one process start, once the storage said SlowDown.

    The distance doubles with each SlowDown, but once per half second at most, for one burst of
    many threads is one offence; and it shrinks by a fiftieth with each answer, until it is gone.
    Not thread-safe: the client holds a lock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._distance = 0.0
        self._next = 0.0
        self._slowed = float("-inf")

    def wait_seconds(self) -> float:
        """How long the request that is about to start has to wait; counts it as started."""
        if not self._distance:
            return 0.0
        now = self._monotonic()
        start = max(now, self._next)
        self._next = start + self._distance
        return start - now

    def slow_down(self) -> None:
        now = self._monotonic()
        if now - self._slowed >= 0.5:
            self._slowed = now
            self._distance = min(1.0, max(0.01, 2 * self._distance))

    def answered(self) -> None:
        self._distance *= 0.98
        if self._distance < 0.001:
            self._distance = 0.0
