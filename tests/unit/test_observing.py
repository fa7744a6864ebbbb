"""What is known of a job after a look, and what a look costs."""

from __future__ import annotations

import pytest

from sc import paths
from sc.claims import done_note
from sc.glances import Glance
from sc.halting import Stop
from sc.observing import DONE_EVERY_SECONDS, REQUESTS, SILENT_SECONDS, Observer
from sc.staging import Job
from tests.fakes.large_job import done_keys, large_job, worker_keys
from tests.fakes.memory_storage import Clock, MemoryStorage

RUNS, WORKERS = 100_000, 100


def put_all(storage: MemoryStorage, keys: object) -> None:
    for place, data in keys:  # type: ignore[attr-defined]
        storage.put(place, data)


def count(storage: MemoryStorage) -> int:
    total = sum(storage.requests.values())
    storage.requests.clear()
    return total


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(clock: Clock) -> MemoryStorage:
    return MemoryStorage(clock)


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


def test_what_is_done_counts_in_the_end_not_what_workers_believe(
    storage: MemoryStorage, clock: Clock
) -> None:
    """A worker that died before it told of its last runs, and runs that were done twice."""
    job = Job("j", "s3://b/o", parts=4, runs=40, written=4)
    url = paths.job("s3://b/o", "j")
    glances = paths.glances(url)
    storage.put(paths.join(glances, Glance("a", "working", 3, 9, 0, 1, 0, 2).to_name()), b"-")
    storage.put(paths.join(glances, Glance("b", "left", 25, 9, 2, 0, 0, 2).to_name()), b"-")
    for number, note in enumerate(
        [
            done_note(10, 0, (), "a"),
            done_note(7, 3, (), "a"),
            done_note(7, 1, ["s3://b/o/1", "s3://b/o/2"], "b"),
            done_note(10, 0, (), "b"),
        ]
    ):
        storage.put(paths.done(url, number), note)
    state = Observer(storage, url, job, clock).look()
    assert (state.completed, state.failed, state.lost) == (34, 4, 2)
    assert state.is_complete
    assert (state.running, state.waiting) == (0, 0)


def test_a_part_that_nobody_could_read_is_told_and_not_counted(
    storage: MemoryStorage, clock: Clock
) -> None:
    job = Job("j", "s3://b/o", parts=2, runs=20, written=2)
    url = paths.job("s3://b/o", "j")
    storage.put(paths.join(paths.glances(url), Glance("a", "left", 10).to_name()), b"-")
    storage.put(paths.done(url, 0), done_note(10, 0, (), "a"))
    storage.put(paths.done(url, 1), done_note(0, 0, (), "a", "parts/1.json is missing."))
    state = Observer(storage, url, job, clock).look()
    assert state.is_complete
    assert (state.completed, state.ended, state.waiting) == (10, 10, 10)
    assert state.troubles == ["parts/1.json is missing."]


def test_a_silent_worker_is_not_at_work_and_its_runs_wait(
    storage: MemoryStorage, clock: Clock
) -> None:
    url, job = large_job(1200, 2)
    put_all(storage, worker_keys(url, 0, 33))
    observer = Observer(storage, url, job, clock)
    assert observer.look().running == 4
    clock.now += SILENT_SECONDS + 1
    put_all(storage, worker_keys(url, 1, 66))
    state = observer.look_again()
    assert [one.is_silent for one in state.workers] == [True, False]
    assert (state.running, len(state.live)) == (4, 1)


def test_of_two_glances_of_a_worker_the_younger_counts(
    storage: MemoryStorage, clock: Clock
) -> None:
    job = Job("j", "s3://b/o", parts=2, runs=20, written=2)
    url = paths.job("s3://b/o", "j")
    storage.put(paths.join(paths.glances(url), Glance("a", "working", 9).to_name()), b"-")
    clock.now += 1
    storage.put(paths.join(paths.glances(url), Glance("a", "working", 11).to_name()), b"-")
    storage.put(paths.join(paths.glances(url), "garbage"), b"-")
    assert Observer(storage, url, job, clock).look().completed == 11


def test_a_stop_is_seen_with_its_reason(storage: MemoryStorage, clock: Clock) -> None:
    url, job = large_job(1200, 1)
    observer = Observer(storage, url, job, clock)
    assert observer.look().stop is None
    storage.put(paths.stop(url), Stop("too many failures", lets_end=True).to_bytes())
    clock.now += DONE_EVERY_SECONDS
    assert observer.look_again().stop == Stop("too many failures", lets_end=True)
