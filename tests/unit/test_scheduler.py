"""What starts next: ranks, GPUs, retries and pauses, as stories."""

from __future__ import annotations

from typing import Any, Optional

from sc.executor import Task
from sc.executor.gpus import GpuPool
from sc.executor.scheduler import Live, Scheduler
from sc.model import Run


def scheduler(nprocs: int = 2, gpus: int = 0) -> Scheduler:
    return Scheduler(nprocs, GpuPool([str(i) for i in range(gpus)]), lambda: 0.5)


def task(name: str, origin: int = 0, **fields: Any) -> Task:
    return Task(Run(name, f"/out/{name}", **fields), origin)


def start(one: Scheduler, now: float = 0.0) -> Optional[str]:
    live = one.next_start(now)
    return live and f"{live.waiting.task.run.cmd}@{live.rank}"


def live_of(one: Scheduler, rank: int) -> Live:
    return one.live[rank]


def test_the_lowest_free_rank_is_used() -> None:
    one = scheduler(3)
    for name in "abcde":
        one.add(task(name))
    assert [start(one) for _ in range(4)] == ["a@0", "b@1", "c@2", None]
    one.ended(2)
    one.ended(0)
    assert [start(one), start(one)] == ["d@0", "e@2"]


def test_runs_are_wanted_only_while_a_slot_is_free_for_them() -> None:
    one = scheduler(1)
    assert one.wants_runs()
    one.add(task("a"))
    assert not one.wants_runs()
    start(one)
    assert not one.wants_runs()
    one.ended(0)
    assert one.wants_runs()
    assert one.is_idle()


def test_a_failed_run_comes_back_after_a_growing_pause() -> None:
    one = scheduler()
    one.add(task("a", retries=3))
    start(one)
    one.try_again(one.ended(0), started=100.0, now=10.0)
    assert one.next_time() == 11.0
    assert start(one, 10.9) is None
    assert start(one, 11.0) == "a@0"
    assert live_of(one, 0).waiting.attempt == 2
    assert live_of(one, 0).waiting.first_started == 100.0
    one.try_again(one.ended(0), started=111.0, now=20.0)
    assert one.next_time() == 22.0
    assert one.count_waiting() == 1


def test_a_blocked_machine_starts_nothing_for_a_while_that_grows() -> None:
    one = scheduler()
    one.add(task("a"))
    one.add(task("b"))
    start(one)
    start(one)
    one.put_back(one.ended(0), 1.0, is_blocked=True)
    one.put_back(one.ended(1), 1.1, is_blocked=True)
    assert one.next_time() == 1.5
    assert start(one, 1.4) is None
    assert start(one, 1.5) is not None
    one.put_back(one.ended(0), 2.0, is_blocked=True)
    assert one.next_time() == 3.0
    one.went_well()
    assert start(one, 3.0) is not None


def test_what_is_dropped_does_not_start() -> None:
    one = scheduler(1)
    one.add(task("a", origin=1))
    one.add(task("b", origin=2))
    start(one)
    one.try_again(one.ended(0), 0.0, 0.0)
    one.add(task("c", origin=1))
    one.drop(frozenset([1]))
    assert start(one, 99.0) == "b@0"
    one.ended(0)
    assert one.is_idle()


def test_gpus_go_whole_or_in_parts_but_never_both() -> None:
    one = scheduler(6, gpus=2)
    for name, gpus in [("half", 0.5), ("whole", 1.0), ("other half", 0.5), ("third", 0.3)]:
        one.add(task(name, gpus=gpus))
    assert [start(one) for _ in range(3)] == ["half@0", "whole@1", "other half@2"]
    assert start(one) is None
    assert [live_of(one, rank).devices for rank in range(3)] == ["0", "1", "0"]
    one.ended(1)
    assert start(one) == "third@1"
    assert live_of(one, 1).devices == "1"


def test_who_needs_no_gpu_passes_who_waits_for_one() -> None:
    one = scheduler(4, gpus=1)
    for name, gpus in [("a", 1.0), ("b", 1.0), ("c", None)]:
        one.add(task(name, gpus=gpus))
    assert [start(one) for _ in range(3)] == ["a@0", "c@1", None]
    assert one.wants_runs()


def test_a_run_with_many_gpus_is_not_passed_over_for_ever() -> None:
    one = scheduler(2, gpus=2)
    one.add(task("first", gpus=1.0))
    one.add(task("wide", gpus=2.0))
    start(one)
    passed = 0
    while True:
        one.add(task(f"narrow{passed}", gpus=1.0))
        if start(one) is None:
            break
        passed += 1
        one.ended(1)
        assert passed < 100
    one.ended(0)
    assert start(one) == "wide@0"
    assert live_of(one, 0).devices == "0,1"


def test_too_many_gpus_are_impossible() -> None:
    one = scheduler(1, gpus=2)
    assert not one.is_impossible(task("a", gpus=2.0))
    assert one.is_impossible(task("a", gpus=3.0))
    assert not one.is_impossible(task("a"))


def test_a_machine_that_takes_no_run_is_asked_again_after_growing_pauses() -> None:
    one = scheduler(1)
    one.add(task("a"))
    now, pauses = 0.0, []
    for _ in range(8):
        assert start(one, now) == "a@0"
        one.put_back(one.ended(0), now, is_blocked=True)
        due = one.next_time()
        assert due is not None
        assert start(one, due - 0.01) is None
        pauses.append(due - now)
        now = due
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert one.blocked_seconds(now) == sum(pauses)


def test_a_run_that_was_executed_ends_the_pause_of_all() -> None:
    """Else the others would wait for the next event, which may be a minute away."""
    one = scheduler(2)
    for name in "ab":
        one.add(task(name))
        start(one)
    one.put_back(one.ended(1), 0.0, is_blocked=True)
    assert start(one, 0.1) is None
    assert one.blocked_seconds(100.0) == 0
    one.ended(0)
    one.went_well()
    assert start(one, 0.2) == "b@0"
    assert one.blocked_seconds(100.0) == 0


def test_ranks_that_cannot_be_had_are_not_used() -> None:
    one = scheduler(4)
    one.restrict({0, 2})
    for name in "abc":
        one.add(task(name))
    assert [start(one) for _ in range(3)] == ["a@0", "b@2", None]
