"""Many processes that ask one server."""

from __future__ import annotations

from heapq import heapify, heapreplace
from random import Random

import pytest

from sc.storage.s3_patience import Pace, pause_seconds
from tests.fakes.scripted_s3 import World


@pytest.mark.parametrize(("rate", "processes"), [(100.0, 2), (500.0, 8), (3500.0, 64)])
def test_processes_that_do_not_know_each_other_share_a_limit(rate: float, processes: int) -> None:
    """A server that refuses what comes faster, and 16 threads in each process that always want more."""
    world, chance = World(), Random(7)
    paces = [Pace(lambda: world.now) for _ in range(processes)]
    room, filled, refused, answered = rate / 5, 0.0, 0, [0] * processes
    due = [(chance.random(), number % processes, 1) for number in range(16 * processes)]
    heapify(due)
    while due[0][0] < 60:
        world.now, process, tries = due[0]
        room, filled = min(rate / 5, room + (world.now - filled) * rate), world.now
        if room >= 1:
            room, tries = room - 1, 1
            answered[process] += 1
            paces[process].answered()
            pause = 0.02
        else:
            refused += 1
            paces[process].slow_down()
            pause, tries = pause_seconds(tries, chance.random()), tries + 1
        heapreplace(due, (world.now + pause + paces[process].wait_seconds(), process, tries))
    assert sum(answered) > 0.95 * 60 * rate
    assert refused < 0.05 * sum(answered)
    assert min(answered) > 0.1 * max(answered)
