"""How long to go on asking a storage, with which pauses, and how fast. Pure: time is given.

Figures: a pause grows from 0.1 to 8 seconds, each times a random 0.5 to 1.5, so that a thousand
machines that were turned away together do not come back together. At 60 seconds and five tries a
passing trouble has become an outage, for whoever asked to decide about.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Callable, NamedTuple, Optional

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 8.0
_LONGEST_WISH_SECONDS = 20.0

_EASED, _GROWTH = 0.7, 0.4
"""CUBIC's own figures; botocore's adaptive retries have them, too."""
_LEAST_PER_SECOND, _GUESS_PER_SECOND, _FREE_PER_SECOND = 1.0, 10.0, 1000.0
_ECHO_SECONDS = 0.5
_MEASURED_ANSWERS = 50


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
    """How fast the requests of one process may start, once the storage said SlowDown.

    It goes down to 0.7 of what the storage has just answered, climbs back to that, feels its way beyond it, ever
    faster, and is off at 1,000 requests a second: the curve of CUBIC (RFC 9438), by which many processes that
    know nothing of each other come to share one limit. Several SlowDown within half a second are one, for they
    are the echo of one burst. Not thread-safe: the client holds a lock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._answers: deque[float] = deque(maxlen=_MEASURED_ANSWERS)
        """When the last ones came."""
        self._slowed: Optional[float] = None
        self._ceiling = 0.0
        self._next = 0.0

    def wait_seconds(self) -> float:
        """How long the request that is about to start has to wait; counts it as started."""
        if self._slowed is None:
            return 0.0
        now = self._monotonic()
        rate = self._rate(now - self._slowed)
        if rate >= _FREE_PER_SECOND:
            self._slowed = None
            return 0.0
        start = max(now, self._next)
        self._next = start + 1.0 / rate
        return start - now

    def slow_down(self) -> None:
        now = self._monotonic()
        if self._slowed is None or now - self._slowed >= _ECHO_SECONDS:
            self._ceiling, self._slowed = self._answered_per_second(now), now

    def answered(self) -> None:
        self._answers.append(self._monotonic())

    def _rate(self, seconds: float) -> float:
        """Requests per second, so long after a SlowDown."""
        climb_seconds = math.pow((1.0 - _EASED) * self._ceiling / _GROWTH, 1.0 / 3.0)
        return max(_LEAST_PER_SECOND, self._ceiling + _GROWTH * (seconds - climb_seconds) ** 3)

    def _answered_per_second(self, now: float) -> float:
        if len(self._answers) < 2:
            return _GUESS_PER_SECOND
        measured = len(self._answers) / max(now - self._answers[0], 0.001)
        return min(max(measured, _LEAST_PER_SECOND), _FREE_PER_SECOND)
