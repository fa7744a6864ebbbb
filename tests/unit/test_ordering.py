"""The longest runs go first, as far as their times are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Optional

from hypothesis import given
from hypothesis import strategies as st

from sc.model import Run
from sc.ordering import NO_TIMES, longest_first, times
from sc.splitting import part_sizes


def runs_of(seconds: Sequence[Optional[float]]) -> list[Run]:
    return [
        Run(f"echo {n}", f"/out/{n}", env={"N": str(n)}, expected_time=one)
        for n, one in enumerate(seconds)
    ]


def expected(run: Run) -> Optional[float]:
    return run.expected_time


def order_of(seconds: Sequence[Optional[float]]) -> list[Optional[float]]:
    runs = runs_of(seconds)
    known = times(runs, expected)
    return [run.expected_time for run in longest_first(runs, known.classes)]


def test_long_ones_first_and_alike_ones_as_they_were() -> None:
    assert order_of([1.5, 60, 0.2, 1.2, 100, 0.9, 1.9]) == [100, 60, 1.5, 1.2, 1.9, 0.2, 0.9]


def test_noise_in_short_times_turns_nothing_round() -> None:
    assert not times(runs_of([0.3, 0.1, 0.9, 0.5]), expected).is_useful
    assert not times(runs_of([9, 12, 15]), expected).is_useful
    assert not NO_TIMES.is_useful


def test_those_of_which_nothing_is_known_count_as_average_ones() -> None:
    assert order_of([None, 1, 100, None, 20]) == [100, None, None, 20, 1]
    assert times(runs_of([None, 1, 100, None, 20]), expected).known == 3


def test_nothing_known_is_no_order() -> None:
    known = times(runs_of([None, None]), expected)
    assert (known.known, known.is_useful) == (0, False)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e12)), min_size=1, max_size=60))
def test_every_run_comes_once_with_all_that_it_has(seconds: list[Optional[float]]) -> None:
    runs = runs_of(seconds)
    known = times(runs, expected)
    ordered = list(longest_first(runs, known.classes))
    assert sorted(ordered, key=lambda run: int(run.env["N"])) == runs
    costs = list(known.costs())
    assert costs == sorted(costs, reverse=True)
    assert len(costs) == len(runs)


def test_one_pass_is_enough_and_the_first_do_not_wait_for_the_last() -> None:
    runs = runs_of([8, 1, 8, 1])
    read: list[int] = []

    def reading() -> Iterator[Run]:
        for number, run in enumerate(runs):
            read.append(number)
            yield run

    ordered = longest_first(reading(), times(runs, expected).classes)
    assert next(ordered) == runs[0]
    assert read == [0]
    assert [run.expected_time for run in ordered] == [8, 1, 1]
    assert read == [0, 1, 2, 3]


def test_long_runs_do_not_wait_behind_each_other_in_a_part() -> None:
    costs = [100.0] * 16 + [1.0] * 1000
    sizes = list(part_sizes(len(costs), 8, 4, None, costs))
    assert sum(sizes) == len(costs)
    assert sizes[0] == 2
    assert max(sizes) == 24
    assert sizes[-1] <= 2


def test_on_one_machine_parts_are_equal_in_whatever_order() -> None:
    assert list(part_sizes(30, 4, 1, None, [9.0] * 30)) == [12, 12, 6]


@given(
    st.lists(st.floats(0.5, 1e6), max_size=500),
    st.integers(1, 64),
    st.integers(1, 200),
    st.one_of(st.none(), st.integers(1, 50)),
)
def test_sizes_by_work_add_up(
    costs: list[float], nprocs: int, scale: int, batch_size: Optional[int]
) -> None:
    costs.sort(reverse=True)
    sizes = list(part_sizes(len(costs), nprocs, scale, batch_size, costs))
    assert sum(sizes) == len(costs)
    assert all(1 <= size <= (batch_size or 3 * nprocs) for size in sizes)
