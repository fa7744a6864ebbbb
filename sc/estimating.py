"""How fast a job goes, and how long it will take: from what its runs take, and from how many end. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Optional

from sc.job_state import State

WINDOW_SECONDS = 60.0
"""The rate is that of the last minute."""
_FEWEST = 5
"""Runs that have to have ended in the window before their rate is believed for an estimate."""
_LATE = 0.1
"""A run that goes on longer than the mean is expected to take this share of the mean more."""


class Estimate(NamedTuple):
    """What can be said by now; None for what cannot."""

    rate: Optional[float] = None
    """Runs that end in a second."""
    run_seconds: Optional[float] = None
    """What a run takes on average."""
    left_seconds: Optional[float] = None


class Estimator:
    """Remembers the last minute."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def add(self, now: float, state: State) -> Estimate:
        """A new look at the job. `now` is any clock that goes forward."""
        marks = self._marks
        if marks and state.ended < marks[-1][1]:
            marks.clear()
        if not marks or marks[-1][1] != state.ended or len(marks) < 2:
            marks.append((now, state.ended))
        while len(marks) > 2 and now - marks[1][0] > WINDOW_SECONDS:
            marks.popleft()
        seconds, ended = now - marks[0][0], state.ended - marks[0][1]
        rate = ended / seconds if ended > 0 and seconds > 0.5 else None
        believed = rate if ended >= _FEWEST else None
        mean = mean_seconds(state)
        return Estimate(rate, mean, left_seconds(state, mean, believed))


def mean_seconds(state: State) -> Optional[float]:
    """What a run took on average, of those that have ended."""
    counted = sum(one.glance.completed + one.glance.failed for one in state.workers)
    seconds = sum(one.glance.milliseconds for one in state.workers) / 1000
    return seconds / counted if counted else None


def left_seconds(state: State, mean: Optional[float], rate: Optional[float]) -> Optional[float]:
    """The time until the last run ends, if machines stay as they are; None if nobody can tell.

    What waits takes each slot as long as a run takes, or longer if slots are seen to be slower: with runs of no
    time at all it is the starting that counts. What goes on takes the rest of the mean.
    """
    slots, running = sum(one.glance.slots for one in state.live), state.running
    if not state.waiting and not running:
        return 0.0
    if mean is None or not slots:
        return None
    turn = max(mean, running / rate if rate else 0.0)
    so_far = sum(one.glance.running_seconds for one in state.live) / running if running else 0.0
    rest = max(mean - so_far, _LATE * mean)
    return (state.waiting * turn + running * rest) / min(slots, state.waiting + running)
