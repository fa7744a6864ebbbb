"""Work for a few threads, or for as many as there can be."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from sc.executor.threads import Threads, start_thread

LIMIT_SECONDS = 30


def starts(count: int) -> Callable[[Callable[[], None]], None]:
    """A machine that allows so many threads."""
    left = [None] * count

    def start(serve: Callable[[], None]) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start_thread(serve)

    return start


def await_threads(before: int) -> None:
    """Until there are no more than so many."""
    limit = time.monotonic() + LIMIT_SECONDS
    while _thread._count() > before:
        assert time.monotonic() < limit
        time.sleep(0.001)


@pytest.mark.parametrize("allowed", [0, 1, 3, 8])
def test_all_is_done_once_however_many_threads_there_can_be(allowed: int) -> None:
    threads = Threads(8, starts(allowed))
    done: list[int] = []
    threads.for_each(done.append, range(100))
    assert sorted(done) == list(range(100))
    threads.give(lambda: done.append(100))
    limit = time.monotonic() + LIMIT_SECONDS
    while len(done) < 101:
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_no_more_threads_are_started_than_are_wanted_and_needed() -> None:
    names: set[str] = set()
    threads = Threads(2, starts(5))
    threads.for_each(lambda _: names.add(threading.current_thread().name), [1])
    assert len(names) == 1
    both = threading.Barrier(2)
    threads.for_each(lambda _: names.add(str(both.wait(LIMIT_SECONDS))), [1, 2])
    threads.for_each(lambda _: names.add(threading.current_thread().name), range(50))
    assert len(names - {"0", "1"}) <= 2


def test_threads_leave_when_nobody_wants_them_and_come_back() -> None:
    threads, before = Threads(4, idle_seconds=0.01), _thread._count()
    for _ in range(3):
        both = threading.Barrier(2)
        threads.for_each(lambda _, both=both: both.wait(LIMIT_SECONDS) and None, [1, 2])  # type: ignore[misc]
        await_threads(before)


@pytest.mark.parametrize("allowed", [0, 1, 4])
def test_the_first_error_is_raised_and_the_rest_left_out(allowed: int) -> None:
    threads = Threads(4, starts(allowed))
    done: list[int] = []

    def act(number: int) -> None:
        done.append(number)
        if number == 3:
            raise ValueError(number)

    with pytest.raises(ValueError, match="3"):
        threads.for_each(act, range(1000))
    assert len(done) == len(set(done))


@pytest.mark.parametrize("failing", ["what it is given", "its own step"])
def test_who_has_them_is_told_when_one_of_them_fails(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory is short: what it was given may never be done."""
    monkeypatch.setattr(sys, "unraisablehook", lambda error: None)
    told = threading.Event()
    threads, before = Threads(2, fail=told.set), _thread._count()

    def fail() -> None:
        raise MemoryError

    if failing == "its own step":
        monkeypatch.setattr(threads, "_next", fail)
    threads.give(fail if failing == "what it is given" else (lambda: None))
    assert told.wait(LIMIT_SECONDS)
    await_threads(before)


def test_one_that_leaves_while_another_cannot_be_started_is_not_counted_on() -> None:
    """What is given then is done by the caller: it would be left to nobody."""
    before, go, done = _thread._count(), threading.Event(), threading.Event()

    def wait() -> None:
        assert go.wait(LIMIT_SECONDS)

    def start(serve: Callable[[], None]) -> None:
        if _thread._count() == before:
            start_thread(serve)
        else:
            go.set()
            await_threads(before)
            raise RuntimeError("can't start new thread")

    threads = Threads(2, start, idle_seconds=0.0)
    threads.give(wait)
    threads.give(done.set)
    assert done.wait(LIMIT_SECONDS)


def test_one_that_finds_no_memory_to_wait_still_takes_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, before = Threads(1), _thread._count()
    done: list[int] = []

    def cannot(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(threading.Condition, "wait_for", cannot)
    for number in range(20):
        threads.give(partial(done.append, number))
    await_threads(before)
    assert sorted(done) == list(range(20))


def test_who_has_them_is_told_of_a_thread_that_never_begins() -> None:
    told = threading.Event()
    threads = Threads(2, start=lambda serve: None, fail=told.set, begin_seconds=0.0)
    threads.give(lambda: None)
    assert told.is_set()
