"""Machines begin before everything is written down for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest

from sc import commands_folder, paths
from sc.commands.starting import Intended, check_sync, split_sync, start, start_alone, start_lease
from sc.errors import BusyError, InputError, StorageError
from sc.fleets import Launch, Machine, Tell
from sc.holder import Holder
from sc.model import Recipe
from sc.staging import FIRST_PARTS, Job, read_job
from sc.start_lease import StartLease
from sc.storage import Storage
from tests.fakes.memory_storage import Clock, MemoryStorage

OUT = "s3://bucket/out"
URL = paths.job(OUT, "job")
PARTS = 5 * FIRST_PARTS


class Fleet:
    """Remembers what was written when its machines were started."""

    name = "fake"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.in_folder = self.launches = self.stops = 0
        self.has_machines = False

    def check(self, launch: Launch) -> None:
        if self.has_machines:
            raise InputError("the job has machines already")

    def launch(self, launch: Launch, tell: Tell) -> None:
        self.launches += 1
        self.in_folder = len(list(self._folder.glob("[0-9]*.json")))

    def follow(self, launch: Launch, storage: Storage, tell: Tell) -> None: ...

    def list(self, job: Optional[str] = None) -> Sequence[Machine]:
        return []

    def stop(self, job: str, tell: Tell) -> Sequence[str]:
        self.stops += 1
        return []


def intended(storage: Storage, fleet: Fleet) -> Intended:
    recipe = Recipe("job", ("local",), scale=2)
    return Intended(
        storage, fleet, Launch(URL, recipe, 2, "", ""), Job("job", OUT, PARTS, PARTS), []
    )


def parts(folder: Path) -> Iterator[bytes]:
    contents = (b'{"runs":[]}' for _ in range(PARTS))
    return commands_folder.write(str(folder), contents, "type: job\n", {})


def test_machines_start_with_the_first_parts(tmp_path: Path) -> None:
    storage, fleet = MemoryStorage(Clock()), Fleet(tmp_path)
    start(intended(storage, fleet), parts(tmp_path), lambda line: None)
    assert (fleet.launches, fleet.in_folder) == (1, FIRST_PARTS)
    assert len(list(storage.list(paths.join(URL, "parts")))) == PARTS
    assert (tmp_path / "recipe.yaml").exists()


def test_a_start_that_fails_on_the_way_ends_its_machines(tmp_path: Path) -> None:
    storage, fleet = MemoryStorage(Clock()), Fleet(tmp_path)

    def breaking() -> Iterator[bytes]:
        for number, part in enumerate(parts(tmp_path)):
            storage.is_down = number >= 3 * FIRST_PARTS
            yield part

    with pytest.raises(StorageError):
        start(intended(storage, fleet), breaking(), lambda line: None)
    assert (fleet.launches, fleet.stops) == (1, 1)


def test_start_beside_another_one_changes_nothing(tmp_path: Path) -> None:
    storage, fleet = MemoryStorage(Clock()), Fleet(tmp_path)
    storage.put(paths.recipe(URL), b"of the other")
    other = start_lease(storage, URL, "other")
    other.acquire(lambda line: None)
    before = dict(storage.objects)
    with pytest.raises(BusyError, match="another start of the job"):
        start(intended(storage, fleet), parts(tmp_path), lambda line: None)
    assert (storage.objects, fleet.launches, fleet.stops) == (before, 0, 0)
    other.release()
    start(intended(storage, fleet), parts(tmp_path), lambda line: None)
    assert paths.starting(URL) not in storage.objects


def test_start_of_what_was_started_since_it_was_looked_at_changes_nothing(tmp_path: Path) -> None:
    storage, fleet = MemoryStorage(Clock()), Fleet(tmp_path)
    storage.put(paths.recipe(URL), b"of the other")
    fleet.has_machines = True
    with pytest.raises(InputError, match="machines already"):
        start(intended(storage, fleet), parts(tmp_path), lambda line: None)
    assert (storage.objects, fleet.launches) == ({paths.recipe(URL): b"of the other"}, 0)


def test_start_of_a_job_that_is_stopped_meanwhile_starts_no_machine(tmp_path: Path) -> None:
    storage, fleet = MemoryStorage(Clock()), Fleet(tmp_path)
    storage.put(paths.stop(URL), b"of an earlier job")

    def stopped() -> Iterator[bytes]:
        for number, part in enumerate(parts(tmp_path)):
            if number == 3:
                storage.put(paths.stop(URL), b"")
            yield part

    with pytest.raises(BusyError, match="was stopped while it was being started"):
        start(intended(storage, fleet), stopped(), lambda line: None)
    assert (fleet.launches, fleet.stops) == (0, 0)
    assert paths.starting(URL) not in storage.objects
    start(intended(storage, fleet), parts(tmp_path), lambda line: None)
    assert fleet.launches == 1


def test_start_that_has_lost_the_place_leaves_the_machines_of_the_other(tmp_path: Path) -> None:
    storage, fleet = MemoryStorage(Clock()), Fleet(tmp_path)
    lease = start_lease(storage, URL, "mine")
    lease.acquire(lambda line: None)

    def taken_over() -> Iterator[bytes]:
        for number, part in enumerate(parts(tmp_path)):
            lease.is_lost = number >= 3 * FIRST_PARTS
            yield part

    with pytest.raises(BusyError, match="was away for longer"):
        start_alone(intended(storage, fleet), taken_over(), lambda line: None, lease)
    assert (fleet.launches, fleet.stops) == (1, 0)


@pytest.mark.parametrize(
    ("word", "source", "destination"),
    [
        ("x", "x", "x"),
        ("x:", "x", "x"),
        ("x:d:e", "x", "d:e"),
        ("x:y:d", "x", "y:d"),
        ("x\\:y:d", "x:y", "d"),
        ("a:b c", "a:b c", "a:b c"),
        ("a:b c:d", "a:b c", "d"),
        ("w\\z", "w\\z", "w\\z"),
        ("w\\\\z:d", "w\\z", "d"),
        ("q\\:d", "q\\", "d"),
        ("q\\\\:d", "q\\", "d"),
        ("new\nline:d", "new\nline", "d"),
        ("\udcff:y", "\udcff:y", "\udcff:y"),
    ],
)
def test_sync_word_with_odd_names_names_the_folder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, source: str, destination: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x", "x:y", "a:b c", "w\\z", "q\\", "new\nline", "\udcff:y"):
        (tmp_path / name).mkdir()
    absolute = check_sync(word)
    assert split_sync(absolute) == (str(tmp_path / source), destination)
    (tmp_path / source).rmdir()
    assert split_sync(absolute) == (str(tmp_path / source), destination)


def test_sync_word_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--sync none:there: none is not a folder"):
        check_sync("none:there")


def held(storage: Storage, clock: Clock, host: str) -> StartLease:
    """A start by somebody of another machine, of whom nobody knows whether they live."""

    def pause(seconds: float) -> None:
        clock.now += seconds

    holder = Holder(host, "user", 7, 1.0)
    made = StartLease(storage, URL, f"of-{host}", holder, clock, pause, is_alive=lambda _: None)
    made.acquire(lambda line: None)
    return made


def start_elsewhere(storage: MemoryStorage, clock: Clock) -> None:
    """What happens while this laptop sleeps."""
    clock.now += 3600
    other = held(storage, clock, "b")
    storage.put(paths.recipe(URL), b"of b")
    storage.put(paths.part(URL, 0), b"of b")
    other.release()


def test_whoever_slept_before_the_place_is_cleared_clears_nothing(tmp_path: Path) -> None:
    storage = MemoryStorage(Clock())

    class Slow:
        def acquire_for_job(self, tell: Tell) -> None:
            start_elsewhere(storage, storage.clock)

        def release_job(self) -> None: ...

    lease = held(storage, storage.clock, "a")
    slow = replace(intended(storage, Fleet(tmp_path)), claimant=Slow())  # type: ignore[arg-type]
    with pytest.raises(BusyError):
        start_alone(slow, parts(tmp_path), lambda line: None, lease)
    assert storage.get(paths.recipe(URL)) == storage.get(paths.part(URL, 0)) == b"of b"


def test_whoever_slept_and_is_interrupted_ends_no_machines_of_others(tmp_path: Path) -> None:
    storage, fleet = MemoryStorage(Clock()), Fleet(tmp_path)
    lease = held(storage, storage.clock, "a")

    def interrupted() -> Iterator[bytes]:
        for number, part in enumerate(parts(tmp_path)):
            if number == 3 * FIRST_PARTS:
                start_elsewhere(storage, storage.clock)
                raise KeyboardInterrupt
            yield part

    with pytest.raises(KeyboardInterrupt):
        start_alone(intended(storage, fleet), interrupted(), lambda line: None, lease)
    assert (fleet.launches, fleet.stops) == (1, 0)


def test_outputs_that_came_while_the_runs_were_waited_for_are_known(
    tmp_path: Path,
) -> None:
    storage = MemoryStorage(Clock())
    fresh = replace(
        intended(storage, Fleet(tmp_path)), job=Job("job", OUT, PARTS, PARTS, is_fresh=True)
    )

    class Waits:
        def acquire_for_job(self, tell: Tell) -> None:
            storage.put(f"{OUT}/0/status_code", b"1")

        def release_job(self) -> None: ...

    for claimant, is_fresh in ((None, True), (Waits(), False)):
        lease = held(storage, storage.clock, "a")
        one = replace(fresh, claimant=claimant)  # type: ignore[arg-type]
        start_alone(one, parts(tmp_path), lambda line: None, lease)
        lease.release()
        assert read_job(storage, URL).is_fresh == is_fresh
