"""One board, and two: who takes what, and with how many requests. Many are in tests/scale."""

from __future__ import annotations

from random import Random

from sc import claims, paths
from sc.board import Board
from tests.fakes.memory_storage import Clock, MemoryStorage

JOB = "s3://bucket/out/.sc/job"
LEASE = 120.0


def test_a_single_worker_takes_parts_near_the_front() -> None:
    storage = MemoryStorage(Clock())
    board = Board(storage, JOB, 3000, "w", lease_seconds=LEASE, crowd=1, random=Random(3))
    taken = [board.take() for _ in range(3000)]
    numbers = [claim.part for claim in taken if claim is not None]
    assert sorted(numbers) == list(range(3000))
    assert storage.requests["create"] == 3000
    assert storage.requests["list"] == 1


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
