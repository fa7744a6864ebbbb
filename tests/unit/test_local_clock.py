"""The clock of a file system that is set while we look: nothing is stolen, and nothing is kept for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sc.storage.local_clock import Age, FolderClock

HOUR, DECADE = 3600.0, 10 * 366 * 86400.0


class Disk:
    """A file system whose clock can be set. `now` is a machine's monotonic clock, which cannot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.time = 1_700_000_000.0

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        self.time += seconds

    def write(self, name: str) -> None:
        path = self.folder / name
        path.touch()
        os.utime(path, (self.time,) * 2)

    def age(self, clock: FolderClock, name: str) -> Age:
        return clock.age(str(self.folder), os.stat(self.folder / name))

    def clock(self) -> FolderClock:
        """Of somebody who looks from now on."""
        return Clock(self)


class Clock(FolderClock):
    """Asks the disk of the test, since the real one's clock is not ours to set."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(lambda: disk.now, lambda: disk.time)
        self._disk = disk

    def _probe(self, folder: str) -> float:
        return self._disk.time


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@contextmanager
def set_by(disk: Disk, seconds: float) -> Iterator[FolderClock]:
    """Two files, 40 and 5 seconds old, when the clock is set before the eyes of one who looks."""
    clock = disk.clock()
    disk.write("lost")
    disk.go_on(35)
    disk.write("live")
    disk.go_on(5)
    assert disk.age(clock, "lost").seconds == pytest.approx(40)
    disk.time += seconds
    yield clock


@pytest.mark.parametrize("seconds", [-DECADE, -HOUR, -60, 60, HOUR, DECADE, -1_700_000_000.0])
def test_who_has_seen_the_clock_before_it_was_set_knows_all_ages(
    disk: Disk, seconds: float
) -> None:
    with set_by(disk, seconds) as clock:
        disk.go_on(10)
        disk.write("new")
        disk.go_on(2)
        ages = [disk.age(clock, name).seconds for name in ("lost", "live", "new")]
    assert ages == pytest.approx([52, 17, 2])


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_an_age_that_could_be_two_is_not_sure(disk: Disk, seconds: float) -> None:
    with set_by(disk, seconds) as clock:
        assert disk.age(clock, "live").is_sure
        disk.go_on(10)
        disk.write("new")
        unsure = [name for name in ("live", "new") if not disk.age(clock, name).is_sure]
    assert unsure == (["new"] if seconds < 0 else ["live"])


def test_a_file_of_the_future_ages_from_when_it_was_seen(disk: Disk) -> None:
    """By one who came after the clock was put back: else what is lost would be nobody's for an hour."""
    with set_by(disk, -HOUR):
        clock = disk.clock()
        assert disk.age(clock, "lost").seconds == 0
        assert disk.age(clock, "live").seconds == 0
        disk.go_on(31)
        ages = [disk.age(clock, name).seconds for name in ("lost", "live")]
    assert ages == pytest.approx([66, 31])


def test_a_clock_that_is_merely_slow_or_fast_is_one_clock(disk: Disk) -> None:
    clock = disk.clock()
    disk.write("a")
    for _ in range(100):
        disk.go_on(10)
        disk.time += 0.5
        assert disk.age(clock, "a").is_sure
    assert disk.age(clock, "a").seconds == pytest.approx(1050)
