"""What is known of a job after a look. What a look costs: see tests/scale."""

from __future__ import annotations

from sc import paths
from sc.claims import done_note
from sc.glances import SILENT_SECONDS, Glance
from sc.halting import Stop
from sc.observing import DONE_EVERY_SECONDS, Observer
from sc.staging import Job
from tests.fakes.large_job import large_job, put_all, worker_keys
from tests.fakes.memory_storage import Clock, MemoryStorage


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
