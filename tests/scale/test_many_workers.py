"""Many workers on one storage whose answers come late, in simulated time; `bench/run.py claims` has the large ones."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fakes.clerks import Clerks
from tests.fakes.crowd import Crowd, Setting, Tale

MOST_PER_PART = 3.2
"""Requests of 20 workers for each of 600 parts: claim, looking and done."""
MOST_PER_PART_OF_MANY = 4.0
"""Of 200 workers for each of 5,000 parts; of 1,000 for each of 100,000 they are 5.2 (`bench/run.py claims`)."""


def assert_all_done(tale: Tale) -> None:
    """Each part was ended; and worked on once, and once more for each worker that died with it."""
    parts = range(tale.setting.parts)
    assert tale.worked_on == Counter(parts) + tale.lost
    done = [place for place in tale.storage.objects if "/done/" in place]
    assert len(done) == len(parts)


@pytest.mark.parametrize("kind", [Crowd, Clerks])
def test_each_part_is_worked_on_once(kind: type[Crowd]) -> None:
    tale = kind(Setting(20, 300)).simulate()
    assert sum(tale.lost.values()) == 0
    assert_all_done(tale)


@pytest.mark.parametrize("kind", [Crowd, Clerks])
def test_what_the_dead_have_held_is_worked_on_once_more(kind: type[Crowd]) -> None:
    tale = kind(Setting(20, 300, deaths=5)).simulate()
    assert sum(tale.lost.values()) == 5
    assert_all_done(tale)


def test_the_dead_are_found_also_by_workers_that_do_not_look_everywhere() -> None:
    tale = Crowd(Setting(100, 3000, deaths=10)).simulate()
    assert sum(tale.lost.values()) == 10
    assert_all_done(tale)


def test_the_requests_for_a_part() -> None:
    tale = Crowd(Setting(20, 600)).simulate()
    assert_all_done(tale)
    assert tale.requests_per_part() <= MOST_PER_PART


def test_the_requests_of_many_for_a_part_and_at_the_end() -> None:
    tale = Crowd(Setting(200, 5000)).simulate()
    assert_all_done(tale)
    assert tale.requests_per_part() <= MOST_PER_PART_OF_MANY
    # Each would look through five blocks; as they tell one another what has ended, nearly all look at the last ones.
    assert tale.storage.by_folder["list", "done"] <= 3 * 200
    assert tale.peaks(1)[2] <= 200


def test_workers_that_begin_at_once_take_each_part_once_and_come_one_by_one() -> None:
    tale = Crowd(Setting(600, 600, boot_seconds=0.1)).simulate()
    assert_all_done(tale)
    # 250 of them begin in a second; each of them tries once, then looks and tries again.
    assert tale.peaks(1)[0] <= 3 * 600


def test_the_end_is_no_stampede() -> None:
    tale = Crowd(Setting(100, 1500)).simulate()
    assert_all_done(tale)
    assert tale.peaks(1)[2] <= 100
