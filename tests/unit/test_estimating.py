"""How long a job will take."""

from __future__ import annotations

from typing import Optional

from sc.estimating import Estimator, left_seconds
from sc.glances import Glance
from sc.job_state import State, Worker


def state(
    runs: int,
    completed: int = 0,
    running: int = 0,
    slots: int = 4,
    seconds: float = 0.0,
    running_seconds: int = 0,
) -> State:
    glance = Glance(
        "w", "working", completed, 0, 0, running, 0, slots, int(1000 * seconds), running_seconds
    )
    return State("u", "n", runs, 10, 0, completed, 0, 0, [Worker(glance, 1.0, False)])


def left(one: State, mean: Optional[float], rate: Optional[float] = None) -> Optional[float]:
    return left_seconds(one, mean, rate)


def test_what_waits_takes_turns_and_what_runs_takes_its_rest() -> None:
    assert left(state(100, 20, running=4, running_seconds=20), mean=10.0) == (76 * 10 + 4 * 5) / 4


def test_the_last_runs_take_what_is_left_of_them_however_many_slots_there_are() -> None:
    assert left(state(22, 20, running=2, slots=8, running_seconds=8), mean=10.0) == 6.0


def test_a_run_that_is_late_may_take_longer_still() -> None:
    assert left(state(21, 20, running=1, running_seconds=500), mean=10.0) == 1.0


def test_runs_of_no_time_take_what_starting_them_takes() -> None:
    assert left(state(1000, 0, running=0, slots=4), mean=0.0, rate=100.0) == 0.0
    assert (
        left(state(1004, 0, running=4, slots=4), mean=0.001, rate=100.0)
        == (1000 * 0.04 + 4 * 0.001) / 4
    )


def test_nobody_can_tell_before_the_first_run_has_ended_or_without_machines() -> None:
    assert left(state(100, 0, running=4), mean=None) is None
    assert left(state(100, 5, slots=0), mean=1.0) is None
    assert left(state(100, 100), mean=1.0) == 0.0


def test_the_rate_is_that_of_the_last_minute() -> None:
    estimator = Estimator()
    assert estimator.add(0.0, state(1000)).rate is None
    for second in range(1, 100):
        estimate = estimator.add(
            float(second), state(10_000, completed=10 * second, seconds=second)
        )
    assert estimate.rate == 10.0
    assert estimate.run_seconds == 0.1
    for second in range(100, 200):
        estimate = estimator.add(float(second), state(10_000, completed=990, seconds=99))
    assert estimate.rate is not None
    assert estimate.rate < 1.0
