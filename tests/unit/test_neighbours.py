"""Who sees that another machine of the job hangs, and ends it."""

from __future__ import annotations

from collections import Counter

import pytest

from sc import paths
from sc.errors import StorageError
from sc.glances import read_glances
from sc.worker import messages
from sc.worker.neighbours import LOOK_SECONDS, LOST_SECONDS, Neighbours
from tests.fakes.memory_storage import MemoryStorage
from tests.fakes.office import JOB, Office, new_job

MINUTE = 60.0


def at_work(storage: MemoryStorage, *names: str) -> list[Office]:
    """Each has a part whose runs go on."""
    offices = [Office(storage, name) for name in names]
    for office in offices:
        office.begin()
        office.part()
        office.pass_time(5)
    return offices


def pass_time(seconds: float, *offices: Office) -> None:
    """All of them go on, in small steps."""
    clock = offices[0].storage.clock
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 5
        for office in offices:
            office.step()


def test_a_silent_machine_is_ended_after_a_quarter_of_an_hour_and_once() -> None:
    storage = new_job(parts=8, scale=3)
    first, second, _silent = at_work(storage, "first", "second", "silent")
    pass_time(LOST_SECONDS - MINUTE, first, second)
    assert first.machine.ended == second.machine.ended == []
    pass_time(3 * LOOK_SECONDS + MINUTE, first, second)
    ended = first.machine.ended + second.machine.ended
    assert set(ended) == {("host-of-silent", True)}
    before = len(ended)
    pass_time(3600, first, second)
    assert 1 <= before <= len(first.machine.ended + second.machine.ended) <= 2


def test_a_machine_that_goes_on_is_left_alone_and_so_is_one_that_said_its_last_word() -> None:
    storage = new_job(parts=8, scale=3)
    first, second, third = at_work(storage, "first", "second", "third")
    third.tell(messages.Goodbye("left"))
    pass_time(3600, first, second)
    assert first.machine.ended == second.machine.ended == []


def test_no_new_machine_comes_where_no_part_is_left_to_take() -> None:
    storage = new_job(parts=2, scale=2)
    first, silent = at_work(storage, "first", "silent")
    part = silent.all(messages.Part)[0]
    pass_time(150, first)  # the lease of what the silent one had ends
    assert first.part().part == part.part
    pass_time(LOST_SECONDS + 2 * LOOK_SECONDS, first)
    assert first.machine.ended == [("host-of-silent", False)]


def test_what_the_silent_machine_had_is_work_for_a_new_one() -> None:
    storage = new_job(parts=2, scale=2)
    first, _silent = at_work(storage, "first", "silent")
    pass_time(LOST_SECONDS + 2 * LOOK_SECONDS, first)
    assert first.machine.ended == [("host-of-silent", True)]


@pytest.mark.parametrize("fleet", ["", "local"])
def test_machines_of_other_fleets_are_nobodys_to_end(fleet: str) -> None:
    storage = new_job(parts=8, scale=2)
    first, _silent = at_work(storage, "first", "silent")
    place = paths.heartbeat(JOB, "silent")
    said = storage.get(place).replace(b'"fleet": "ec2"', b'"fleet": "%s"' % fleet.encode())
    storage.put(place, said)
    pass_time(3600, first)
    assert first.machine.ended == []


def test_a_site_that_cannot_end_others_asks_for_nothing() -> None:
    storage = new_job(parts=8, scale=2)
    first, _silent = at_work(storage, "first", "silent")
    first.machine.ends_others = False
    before = storage.requests["list"]
    pass_time(3600, first)
    assert first.machine.ended == []
    assert storage.requests["list"] == before


def test_looks_are_few() -> None:
    storage = new_job(parts=8, scale=2)
    first, second = at_work(storage, "first", "second")
    before = storage.requests["list"]
    pass_time(3600, first, second)
    assert storage.requests["list"] - before <= 2 * (3600 / LOOK_SECONDS + 1)


def test_an_outage_counts_for_nobody() -> None:
    storage = new_job(parts=8)
    at_work(storage, "first")
    seen = read_glances(storage, JOB)["first"]
    watcher, now = Neighbours(storage, JOB, "watcher"), 0.0
    for _ in range(int(LOST_SECONDS / 20) - 3):
        watcher.wrote(now)
        watcher.lost(now, {"first": seen._replace(age_seconds=now)})
        now += 20
    now += 7200  # in which nobody could write
    watcher.wrote(now)
    assert watcher.lost(now, {"first": seen._replace(age_seconds=now)}) == []
    for _ in range(3 + int(LOOK_SECONDS / 20)):
        now += 20
        watcher.wrote(now)
    assert [one.worker for one in watcher.lost(now, {"first": seen._replace(age_seconds=now)})]


def test_one_that_speaks_again_begins_anew() -> None:
    storage = new_job(parts=8)
    at_work(storage, "first")
    seen = read_glances(storage, JOB)["first"]
    watcher, lost = Neighbours(storage, JOB, "watcher"), []
    for second in range(0, 7200, 20):
        watcher.wrote(second)
        said = second // 840 * 840  # every 14 minutes
        lost += watcher.lost(second, {"first": seen._replace(age_seconds=second - said)})
    assert lost == []


def test_of_many_that_see_it_few_ask_at_the_same_time() -> None:
    storage = new_job(parts=8)
    at_work(storage, "first")
    first = read_glances(storage, JOB)["first"]
    names = [f"i-{number:017x}" for number in range(150)]
    watchers = [Neighbours(storage, JOB, name) for name in names]
    asked: Counter[float] = Counter()
    for now in range(0, int(LOST_SECONDS + 5 * LOOK_SECONDS), 20):
        others = {name: first._replace(age_seconds=3.0) for name in names}
        seen = {**others, "first": first._replace(age_seconds=float(now))}
        for watcher in watchers if now % 180 == 0 else []:
            for said in watcher.lost(now, seen):
                watcher.settle(said.worker)
                asked[now] += 1
        for watcher in watchers:
            watcher.wrote(now)
    assert 1 <= len(asked) <= 6
    assert max(asked.values()) <= 2


def test_a_storage_that_refuses_is_asked_again() -> None:
    storage = new_job(parts=8, scale=2)
    first, _silent = at_work(storage, "first", "silent")
    get = storage.get
    refusals = [3]

    def refusing(place: str, start: int = 0) -> bytes:
        if place.endswith("silent.json") and refusals[0]:
            refusals[0] -= 1
            raise StorageError("503")
        return get(place, start)

    storage.get = refusing  # type: ignore[method-assign]
    pass_time(LOST_SECONDS + 8 * LOOK_SECONDS, first)
    assert first.machine.ended == [("host-of-silent", True)]
