"""Boards of many workers in simulated time, on a storage that answers at once."""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random
from typing import NamedTuple, Optional

import pytest

from sc import claims, paths
from sc.board import Board
from tests.fakes.memory_storage import Clock, MemoryStorage

JOB = "s3://bucket/out/.sc/job"
LEASE = 120.0


class Tale(NamedTuple):
    """What came of a simulation."""

    worked_on: Counter[int]
    ended: set[int]
    storage: MemoryStorage
    seconds: float


def simulate(
    workers: int, parts: int, *, deaths: int = 0, seed: int = 1, part_seconds: float = 300.0
) -> Tale:
    """Workers that come at once and take parts until there is nothing. Parts are shorter than the lease, so nobody
    renews. The first `deaths` workers die with the first part that they take."""
    random = Random(seed)
    clock = Clock()
    storage = MemoryStorage(clock)
    worked_on: Counter[int] = Counter()
    ended: set[int] = set()
    boards = {}
    held: dict[int, Optional[claims.Claim]] = {}
    queue = [(clock.now + random.random(), worker) for worker in range(workers)]
    heapq.heapify(queue)
    doomed = set(range(deaths))
    while queue:
        clock.now, worker = heapq.heappop(queue)
        claim = held.get(worker)
        if claim is not None:
            storage.create(paths.done(JOB, claim.part), b'{"completed":1}')
            ended.add(claim.part)
            held[worker] = None
        if worker not in boards:
            boards[worker] = Board(
                storage,
                JOB,
                parts,
                f"w{worker}",
                lease_seconds=LEASE,
                crowd=workers,
                random=Random(seed * 1_000_003 + worker),
            )
        claim = boards[worker].take()
        if claim is None:
            rest = boards[worker].rest()
            if deaths and rest.unfinished and rest.oldest_seconds > 75:
                heapq.heappush(queue, (clock.now + random.uniform(5, 15), worker))
            continue
        worked_on[claim.part] += 1
        if worker in doomed:
            continue
        held[worker] = claim
        duration = part_seconds * random.uniform(0.05, 0.35)
        heapq.heappush(queue, (clock.now + duration, worker))
    return Tale(worked_on, ended, storage, clock.now)


@pytest.mark.parametrize(("workers", "parts"), [(1, 50), (20, 600), (300, 200), (100, 1500)])
def test_no_part_is_worked_on_twice_while_nobody_dies(workers: int, parts: int) -> None:
    tale = simulate(workers, parts)
    assert tale.worked_on == Counter(range(parts))
    assert tale.ended == set(range(parts))


@pytest.mark.parametrize(("workers", "parts", "bound"), [(1, 100, 1.2), (20, 1000, 3.0)])
def test_requests_for_claims_are_bounded(workers: int, parts: int, bound: float) -> None:
    tale = simulate(workers, parts)
    requests = tale.storage.requests
    requests["create"] -= parts  # `done`, which every worker has to write
    assert sum(requests.values()) / parts <= bound


def test_the_parts_of_lost_machines_are_taken_over() -> None:
    tale = simulate(40, 400, deaths=15)
    assert tale.ended == set(range(400))
    assert sum(tale.worked_on.values()) == 400 + 15
