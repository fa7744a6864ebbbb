"""What a job's machines cost, asked for now and then while it is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from sc.errors import CloudError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sc.fleets import Fleet, Machine

ASK_SECONDS, ASK_AGAIN_SECONDS = 60.0, 600.0
"""Between two questions, and after one that was refused."""
FREE_FLEETS = ("local",)
_BILLED_SECONDS = 60.0
"""EC2 bills a minute at least."""


class Bill:
    """The bill of one job."""

    def __init__(self, job_url: str) -> None:
        self._job_url = job_url
        self._next = 0.0
        self._so_far: Optional[float] = None
        self._hourly = 0.0

    def of(
        self, fleet: Fleet, left_seconds: Optional[float], monotonic: float, now: float
    ) -> tuple[Optional[float], Optional[float]]:
        """Dollars so far, and in all; None for what is free, or what nobody may tell. `now` is in Unix seconds."""
        if fleet.name in FREE_FLEETS:
            return None, None
        if monotonic >= self._next:
            self._ask(fleet, monotonic, now)
        if self._so_far is None or left_seconds is None:
            return self._so_far, None
        return self._so_far, self._so_far + self._hourly * left_seconds / 3600

    def _ask(self, fleet: Fleet, monotonic: float, now: float) -> None:
        try:
            machines = fleet.list(self._job_url)
        except (CloudError, InputError):  # no rights there, or not even a region
            self._next = monotonic + ASK_AGAIN_SECONDS
            return
        self._next = monotonic + ASK_SECONDS
        self._so_far = dollars_so_far(machines)
        self._hourly = dollars_an_hour(machines, now)


def dollars_so_far(machines: Sequence[Machine]) -> Optional[float]:
    """Of all machines; None if no price is known."""
    costs = [one.dollars for one in machines if one.dollars is not None]
    return sum(costs) if costs else None


def dollars_an_hour(machines: Sequence[Machine], now: float) -> float:
    """What those that are there cost."""
    from sc.fleets import AT_REST

    return sum(
        3600 * one.dollars / max(_BILLED_SECONDS, now - one.started)
        for one in machines
        if one.state not in AT_REST and one.dollars is not None and one.started is not None
    )
