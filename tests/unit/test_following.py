"""What a job ends in, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import pytest

from sc.commands.following import conclusion, has_told_all
from sc.commands.paying import Bill
from sc.errors import CloudError, InputError
from sc.fleets import Machine
from sc.grouping import Group
from sc.halting import Stop
from sc.job_state import State


def state(
    parts_done: int = 4,
    failed: int = 0,
    lost: int = 0,
    trouble: str = "",
    stop: Optional[Stop] = None,
) -> State:
    troubles = [trouble] if trouble else []
    return State(
        "u", "n", 40, 4, parts_done, 40 - failed - lost, failed, lost, (), (), troubles, stop
    )


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (state(), 0),
        (state(failed=1), 1),
        (state(lost=1), 1),
        (state(trouble="gone"), 1),
        (state(parts_done=3), 3),
        (state(parts_done=3, failed=3), 3),
        (state(parts_done=3, stop=Stop()), 3),
        (state(parts_done=3, failed=3, stop=Stop("too many", lets_end=True)), 1),
        (state(stop=Stop()), 0),
    ],
)
def test_the_code_of_a_job(one: State, code: int) -> None:
    assert conclusion(one) == code


class Fleet:
    """Has machines, or may not be asked."""

    def __init__(self, name: str, machines: Optional[list[Machine]]) -> None:
        self.name = name
        self.asked = 0
        self._machines = machines

    def list(self, job: Optional[str] = None) -> list[Machine]:
        self.asked += 1
        if self._machines is None:
            raise CloudError("no") if self.asked % 2 else InputError("no region")
        return self._machines


def machine(state: str, started: float, dollars: Optional[float]) -> Machine:
    return Machine("j", "u", "ec2", "i-1", "r6a.xlarge", state, started, False, dollars)


def bill(fleet: Fleet, left: Optional[float], at: float, one: Optional[Bill] = None) -> object:
    return (one or Bill("u")).of(fleet, left, at, now=10_000.0)  # type: ignore[arg-type]


def test_what_is_there_costs_as_much_an_hour_as_it_did_so_far() -> None:
    machines = [
        machine("running", 10_000.0 - 1800, 0.5),
        machine("running", 10_000.0 - 3600, 1.0),
        machine("ended", 0.0, 2.0),
        machine("running", 10_000.0, None),
    ]
    assert bill(Fleet("ec2", machines), 7200.0, 100.0) == (3.5, 3.5 + 2 * 2.0)
    assert bill(Fleet("ec2", machines), None, 100.0) == (3.5, None)
    assert bill(Fleet("ec2", []), 60.0, 100.0) == (None, None)
    assert bill(Fleet("local", machines), 60.0, 100.0) == (None, None)


def test_the_cloud_is_asked_once_a_minute_and_rarely_after_a_no() -> None:
    one, fleet = Bill("u"), Fleet("ec2", [machine("running", 0.0, 1.0)])
    for second in range(100, 200):
        bill(fleet, 1.0, float(second), one)
    assert fleet.asked == 2
    one, fleet = Bill("u"), Fleet("ec2", None)
    for second in range(100, 1000):
        assert bill(fleet, 1.0, float(second), one) == (None, None)
    assert fleet.asked == 2


def test_all_failures_are_told_when_their_kinds_count_as_many() -> None:
    assert has_told_all(state())
    assert not has_told_all(state(failed=2))
    errors = [Group(1, "a", "/1"), Group(1, "b", "/2")]
    assert has_told_all(replace(state(failed=1, lost=1), errors=errors))
