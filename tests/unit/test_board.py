"""Many workers, simulated, on one storage: who takes what, and with how many requests."""

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


def test_a_single_worker_takes_parts_near_the_front() -> None:
    storage = MemoryStorage(Clock())
    board = Board(storage, JOB, 3000, "w", lease_seconds=LEASE, crowd=1, random=Random(3))
    taken = [board.take() for _ in range(3000)]
    numbers = [claim.part for claim in taken if claim is not None]
    assert sorted(numbers) == list(range(3000))
    assert storage.requests["create"] == 3000
    assert storage.requests["list"] == 3


def test_parts_that_are_not_written_yet_wait() -> None:
    storage = MemoryStorage(Clock())
    board = Board(storage, JOB, 20, "w", lease_seconds=LEASE, crowd=1, random=Random(3))
    board.limit(2)
    first = {claim.part for claim in (board.take(), board.take()) if claim is not None}
    assert first == {0, 1}
    assert board.take() is None
    assert board.rest().unwritten == 18
    board.limit(20)
    claim = board.take()
    assert claim is not None
    assert claim.part >= 2


def test_what_was_given_back_is_taken_by_the_next() -> None:
    storage = MemoryStorage(Clock())
    mine = Board(storage, JOB, 1, "a", lease_seconds=LEASE, crowd=2, random=Random(1))
    other = Board(storage, JOB, 1, "b", lease_seconds=LEASE, crowd=2, random=Random(2))
    claim = mine.take()
    assert claim is not None
    assert other.take() is None
    assert other.rest().unfinished == 1
    assert claims.give_back(storage, JOB, claim)
    again = other.take()
    assert again is not None
    assert (again.was_begun, again.losses) == (True, 0)


def test_a_holder_that_was_slow_and_has_ended_keeps_its_part() -> None:
    clock = Clock()
    storage = MemoryStorage(clock)
    mine = Board(storage, JOB, 1, "a", lease_seconds=LEASE, crowd=2, random=Random(1))
    other = Board(storage, JOB, 1, "b", lease_seconds=LEASE, crowd=2, random=Random(2))
    assert mine.take() is not None
    clock.now += LEASE + 1
    storage.put(paths.done(JOB, 0), b"{}")
    assert other.take() is None
    assert other.rest().is_nothing
    assert other.is_done(0)


def board_of(storage: MemoryStorage, parts: int, name: str, nonce: str = "a") -> Board:
    random = Random(len(name))
    return Board(
        storage, JOB, parts, name, lease_seconds=LEASE, crowd=2, random=random, nonce=nonce
    )


def job_with_all_done(parts: int) -> MemoryStorage:
    storage = MemoryStorage(Clock())
    for part in range(parts):
        assert claims.take(storage, JOB, part, "w", "nonce") is not None
        storage.put(paths.done(JOB, part), b"{}")
    return storage


def test_a_block_that_somebody_has_found_done_is_not_looked_at_by_the_next() -> None:
    storage = job_with_all_done(10_000)
    for name, most in (("first", 2 * 10 + 1), ("second", 1)):
        board = board_of(storage, 10_000, name)
        board.limit(0)  # nothing but the sweep
        before = storage.requests["list"]
        assert board.take() is None
        assert board.rest().unfinished == 0
        assert all(board.is_done(part) for part in range(10_000))
        assert storage.requests["list"] - before <= most


def test_a_block_with_a_part_that_is_not_done_is_looked_at_whatever_another_job_has_found() -> None:
    storage = job_with_all_done(5_000)
    assert board_of(storage, 5_000, "old").take() is None
    storage.delete([paths.done(JOB, 3333)])
    storage.clock.now += LEASE + 1
    claim = board_of(storage, 5_000, "new", nonce="b").take()
    assert claim is not None
    assert claim.part == 3333
