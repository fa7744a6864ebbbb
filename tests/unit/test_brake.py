"""A job with a limit of failures: whoever sees that it is reached says so, and all stop starting runs."""

from __future__ import annotations

from sc import paths
from sc.glances import read_glances
from sc.halting import Stop, read_stop
from sc.worker import messages
from tests.fakes.memory_storage import MemoryStorage
from tests.fakes.office import JOB, Office, new_job


def fail_all(office: Office, runs: int = 2) -> None:
    """Take a part, and let all of its runs fail."""
    part = office.part()
    for run in part.runs:
        office.end(part, run, code=3)


def stop_of(storage: MemoryStorage) -> Stop:
    return read_stop(storage.objects[paths.stop(JOB)])


def test_two_workers_together_reach_the_limit_and_both_say_why() -> None:
    storage = new_job(parts=10, runs=2, max_failures="4")
    a, b = Office(storage, "a"), Office(storage, "b")
    a.begin()
    b.begin()
    fail_all(a)
    a.pass_time(25.0)
    assert paths.stop(JOB) not in storage.objects, "two are not four"
    assert a.all(messages.Over) == []
    fail_all(b)
    b.pass_time(25.0)
    reason = "4 of 4 runs have failed, and --max-failures is 4: nothing more is started."
    assert stop_of(storage) == Stop(reason, lets_end=True)
    a.pass_time(25.0)
    for office in (a, b):
        assert office.all(messages.Over) == [messages.Over(reason, drops=True)]
        assert office.all(messages.Halt) == [], "what goes on may end"


def test_one_worker_alone_sees_it_within_a_second() -> None:
    storage = new_job(parts=10, runs=2, max_failures="2", scale=1)
    office = Office(storage, "a")
    office.begin()
    fail_all(office)
    office.pass_time(1.5)
    assert len(office.all(messages.Over)) == 1


def test_a_worker_that_comes_later_takes_nothing_and_the_job_is_over() -> None:
    storage = new_job(parts=10, runs=2, max_failures="2")
    storage.put(paths.stop(JOB), Stop("so it is", lets_end=True).to_bytes())
    office = Office(storage, "late")
    office.begin()
    assert office.ask() is None
    assert office.all(messages.Over) == [messages.Over("so it is", drops=True)]
    office.tell(messages.Goodbye("left"))
    assert office.all(messages.Farewell)[0].is_job_over


def test_a_share_counts_from_twenty_ended_runs_on() -> None:
    storage = new_job(parts=50, runs=2, max_failures="3%")
    office = Office(storage, "a")
    office.begin()
    for _ in range(9):
        fail_all(office)
    office.pass_time(45.0)
    assert office.all(messages.Over) == []
    fail_all(office)
    office.pass_time(45.0)
    assert len(office.all(messages.Over)) == 1


def test_without_a_limit_nobody_counts() -> None:
    storage = new_job(parts=10, runs=2)
    office = Office(storage, "a")
    office.begin()
    for _ in range(5):
        fail_all(office)
    storage.requests.clear()
    office.pass_time(59.0)
    assert storage.requests["list"] == 0
    assert office.all(messages.Over) == []


def test_a_heartbeat_leaves_one_glance_that_tells_the_same() -> None:
    storage = new_job(parts=10, runs=2)
    office = Office(storage, "a")
    office.begin()
    for _ in range(4):
        fail_all(office)
        office.pass_time(25.0)
    seen = read_glances(storage, JOB)
    assert [one.glance.failed for one in seen.values()] == [8]
    assert len(list(storage.list(paths.glances(JOB)))) == 1
    office.tell(messages.Goodbye("left"))
    assert read_glances(storage, JOB)["a"].glance.state == "left"
