"""What it costs to look at a large job, again and again."""

from __future__ import annotations

from sc.observing import REQUESTS, Observer
from tests.fakes.large_job import done_keys, large_job, put_all, worker_keys
from tests.fakes.memory_storage import Clock, MemoryStorage

RUNS, WORKERS = 100_000, 100


def count(storage: MemoryStorage) -> int:
    total = sum(storage.requests.values())
    storage.requests.clear()
    return total


def beat(storage: MemoryStorage, url: str, number: int, before: int, ended: int) -> None:
    """A worker tells of its progress."""
    old = [place for place, _ in worker_keys(url, number, before)][1]
    put_all(storage, worker_keys(url, number, ended))
    if before != ended:
        storage.delete([old])


def test_a_look_at_a_large_job_costs_at_most_five_requests(
    storage: MemoryStorage, clock: Clock
) -> None:
    url, job = large_job(RUNS, WORKERS)
    for number in range(WORKERS):
        put_all(storage, worker_keys(url, number, 330))
    put_all(storage, done_keys(url, range(2700)))
    observer = Observer(storage, url, job, clock)
    count(storage)
    state = observer.look()
    blocks = -(-job.parts // 1000)
    assert count(storage) <= 2 + blocks + WORKERS + 1
    assert (state.completed, state.failed, state.lost) == (32_000, 1000, 0)
    assert (state.running, state.waiting) == (400, RUNS - 33_000 - 400)
    assert (state.parts_done, len(state.live), state.is_complete) == (2700, WORKERS, False)
    assert [(one.count, one.text) for one in state.errors] == [
        (200, f"error {kind}") for kind in "abcd"
    ]

    ended = 330
    for turn in range(1, 200):
        clock.now += 5.0
        if turn % 4 == 0:  # all of them tell something new every 20 seconds
            for number in range(WORKERS):
                beat(storage, url, number, ended, ended + 13)
            ended += 13
        count(storage)
        state = observer.look_again()
        assert count(storage) <= REQUESTS
        assert state.ended == WORKERS * ended, "counts are never older than the last heartbeat"
    assert min(one.heartbeat.failed for one in state.workers if one.heartbeat) > 10
    assert state.errors[0].count > 200, "errors come in by and by"


def test_the_end_is_seen_within_five_requests_a_look(storage: MemoryStorage, clock: Clock) -> None:
    url, job = large_job(RUNS, WORKERS)
    for number in range(WORKERS):
        put_all(storage, worker_keys(url, number, 990))
    observer = Observer(storage, url, job, clock)
    assert observer.look().parts_done == 0
    for number in range(WORKERS):
        beat(storage, url, number, 990, 1000)
    put_all(storage, done_keys(url, range(job.parts)))
    looks = 0
    state = observer.state()
    while not state.is_complete:
        clock.now += 5.0
        looks += 1
        count(storage)
        state = observer.look_again()
        assert count(storage) <= REQUESTS
        assert looks < 10
    assert state.failed == -(-job.parts // 3)
    assert state.completed == RUNS - state.failed
