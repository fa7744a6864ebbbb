"""Thousands of rounds at the moment at which threads leave: work that is left to one that has gone is never done."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from sc.executor.threads import Threads

ROUNDS = 4000
LIMIT_SECONDS = 30


@pytest.fixture
def interleaved() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("wanted", [1, 2])
def test_nothing_is_left_to_a_thread_that_leaves(interleaved: None, wanted: int) -> None:
    threads = Threads(wanted, idle_seconds=0.0005)
    choose = random.Random(wanted)
    for number in range(ROUNDS):
        done = [threading.Event() for _ in range(choose.randint(1, wanted + 2))]
        for event in done:
            threads.give(event.set)
        for event in done:
            assert event.wait(LIMIT_SECONDS), number
        time.sleep(choose.choice((0, 0, 0.0004, 0.0006, 0.002)))


def test_where_no_thread_can_be_started_who_gives_work_does_it(interleaved: None) -> None:
    """Several at a time, so that one may be trying in vain while another asks who there is."""

    def refuse(serve: object) -> None:
        raise RuntimeError("can't start new thread")

    for _ in range(ROUNDS // 4):
        threads = Threads(8, refuse)
        done: list[int] = []
        givers = [
            threading.Thread(target=threads.for_each, args=(done.append, range(5)), daemon=True)
            for _ in range(8)
        ]
        for giver in givers:
            giver.start()
        for giver in givers:
            giver.join(LIMIT_SECONDS)
        assert sorted(done) == sorted([*range(5)] * 8)
