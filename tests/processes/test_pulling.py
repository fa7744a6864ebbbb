"""A pull is of several processes, which are ended at once: nothing of theirs may stay behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest

from sc.errors import ScError, StorageError
from sc.pulling import Pull, Pulled
from sc.pulling.selection import Selection
from sc.storage import open_storage
from sc.storage.atomic_files import HIDDEN, Draft, write_all
from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.processes.conftest import wait_until


def nothing(pulled: Pulled) -> None:
    """Nobody looks."""


class Named(Draft):
    """A draft where the kernel has no files without a name, as on NFS."""

    TMPFILE = 0


class FullDisk(MemoryStorage):
    """Large objects arrive half, in files with a name, and never end. Then there is no room for a small one."""

    def __init__(self, dest: Path, is_time: Callable[[set[int]], bool]) -> None:
        """`is_time`: of the processes that have large objects half here."""
        super().__init__(Clock())
        self.dest, self.is_time = dest, is_time

    def get_file(self, place: str, path: str, size: Optional[int] = None) -> None:
        if size == len(b"small"):
            return super().get_file(place, path, size)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_all(Named(os.path.dirname(path)).fd, b"half of it")
        while True:
            time.sleep(60)

    def get(self, place: str, start: int = 0) -> bytes:
        wait_until(lambda: self.is_time(self.writers()), "others are in the middle of theirs")
        raise StorageError(f"{place} has no room.") from OSError(errno.ENOSPC, "no room")

    def writers(self) -> set[int]:
        halves = self.dest.rglob(f"{HIDDEN}*")
        return {int(path.name[len(HIDDEN) :].split("-")[0]) for path in halves}


@pytest.mark.parametrize(
    "is_time",
    [lambda writers: os.getpid() in writers, lambda writers: bool(writers - {os.getpid()})],
    ids=["own threads", "another process"],
)
def test_one_that_finds_no_room_ends_all_and_nothing_half_is_left(
    tmp_path: Path, is_time: Callable[[set[int]], bool]
) -> None:
    storage = FullDisk(tmp_path, is_time)
    large = bytes(1 << 20)
    runs = [f"s3://b/out/{number}" for number in range(200)]
    for run in runs:
        storage.put(f"{run}/attempts/1/stdout", b"small")
        storage.put(f"{run}/results/large", large)
    selection = Selection("s3://b/out", runs, len(runs))
    pull = Pull(storage, lambda: storage, selection, str(tmp_path), nothing)
    with pytest.raises(StorageError, match="has no room"):
        pull.run()
    assert list(tmp_path.glob("*/results"))
    assert list(tmp_path.rglob(f"{HIDDEN}*")) == []


def test_processes_that_were_killed_are_told(tmp_path: Path) -> None:
    storage = MemoryStorage(Clock())
    storage.put("s3://b/out/0/stdout", b"hello")
    selection = Selection("s3://b/out", ["s3://b/out/0"], 1)
    pull = Pull(storage, lambda: storage, selection, str(tmp_path), nothing)
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    with pytest.raises(ScError, match="was killed; call 'sc pull' again"):
        pull.run()


def pull(source: Path, dest: Path, runs: int = 3) -> Pulled:
    selection = Selection(str(source), [f"{source}/{number}" for number in range(runs)], runs)
    return Pull(open_storage({}), lambda: open_storage({}), selection, str(dest), nothing).run()


def test_only_what_changed_is_fetched_again(tmp_path: Path) -> None:
    source, dest = tmp_path / "out", tmp_path / "dest"
    for number in range(200):
        (source / f"{number}/results/deep").mkdir(parents=True)
        (source / f"{number}/status_code").write_text("1")
        (source / f"{number}/results/deep/f").write_text(f"result {number}")
    (source / ".sc/job/records").mkdir(parents=True)
    (source / ".sc/job/records/w-0.jsonl").write_text("{}")
    first = pull(source, dest, 200)
    assert (first.objects, first.fetched, first.unchanged) == (400, 400, 0)
    assert (dest / "199/results/deep/f").read_text() == "result 199"
    assert not (dest / ".sc").exists()
    (source / "1/status_code").unlink()
    (source / "1/status_code").write_text("0")  # as long as before
    (dest / "2/status_code").write_text("7")  # changed here
    (dest / "3/status_code").unlink()
    again = pull(source, dest, 200)
    assert (again.objects, again.fetched, again.unchanged) == (400, 3, 397)
    assert [(dest / f"{n}/status_code").read_text() for n in (1, 2, 3)] == ["0", "1", "1"]
    assert pull(source, dest, 200).fetched == 0


@pytest.mark.parametrize("by_tree", [False, True])
def test_what_jobs_keep_is_left_out_and_nothing_next_to_it(tmp_path: Path, by_tree: bool) -> None:
    """By tree `.sc-x` lies behind all that is in `.sc`, and before `.sc0`."""
    storage = MemoryStorage(Clock(), by_tree)
    runs = [f"s3://b/out/{name}" for name in (".sc-x", ".sc0", ".sc!", ".a", "z")]
    for run in runs:
        storage.put(f"{run}/stdout", b"hello")
    for number in range(3000):
        storage.put(f"s3://b/out/.sc/job/claims/{number}", b"")
    before = storage.requests["list"]
    selection = Selection("s3://b/out", runs, len(runs))
    pulled = Pull(storage, lambda: storage, selection, str(tmp_path), nothing).run()
    assert (pulled.objects, pulled.fetched) == (5, 5)
    assert storage.requests["list"] - before == 2


def test_what_has_no_place_here_is_told_and_the_rest_is_fetched(tmp_path: Path) -> None:
    source, dest = tmp_path / "out", tmp_path / "dest"
    for number in range(3):
        (source / str(number)).mkdir(parents=True)
        (source / f"{number}/stdout").write_text("hello")
    dest.mkdir()
    (dest / "1").write_text("a file where a folder should be")
    pulled = pull(source, dest)
    assert (pulled.fetched, pulled.unplaced, len(pulled.problems)) == (2, 1, 1)
    (problem,) = pulled.problems.values()
    assert problem.examples == [f"{source}/1/stdout"]


class Again:
    """Pulls of one batch into one folder, 100 s after what was executed."""

    def __init__(self, dest: Path) -> None:
        self.storage, self.dest = MemoryStorage(Clock()), dest
        self.runs = [f"s3://b/out/{name}" for name in ("a", "a1", "b/results")]

    def execute(self, run: str, *names: str) -> None:
        """Replace the outputs of a run."""
        self.storage.delete([one for one in self.storage.objects if one.startswith(f"{run}/")])
        for name in (*names, "status_code", "stdout", "stderr"):
            self.storage.put(f"{run}/{name}", b"0")

    def pull(self, *only: str) -> Pulled:
        selection = Selection("s3://b/out", self.runs, len(self.runs), only)
        return Pull(
            self.storage,
            lambda: self.storage,
            selection,
            str(self.dest),
            nothing,
            lambda: self.runs,
            lambda: time.time() + 100,
        ).run()

    def files(self, run: str) -> list[str]:
        folder = self.dest / run[len("s3://b/out/") :]
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def again(tmp_path: Path) -> Again:
    one = Again(tmp_path)
    for run in one.runs:
        one.execute(run, "results/old", "results/d/old", "results/same", "attempts/1/stdout")
    assert one.pull().removed == 0
    one.storage.clock.now += 1000
    return one


PRINTED = ["status_code", "stderr", "stdout"]


def test_what_a_run_has_no_more_after_it_was_executed_again_is_removed(again: Again) -> None:
    again.execute(again.runs[0], "results/same", "results/new")
    assert again.pull().removed == 3
    assert again.files(again.runs[0]) == ["results/new", "results/same", *PRINTED]
    assert not (again.dest / "a/results/d").exists()
    assert not (again.dest / "a/attempts").exists()
    for run in again.runs[1:]:
        assert len(again.files(run)) == 7
    assert again.pull().removed == 0


def test_what_somebody_has_changed_or_made_here_stays(again: Again) -> None:
    (again.dest / "a/results/old").write_text("mine")
    (again.dest / "a/results/d/mine").write_text("0")
    (again.dest / "a/results/d/link").symlink_to("old")
    again.execute(again.runs[0])
    assert again.pull().removed == 3
    assert (again.dest / "a/results/d/link").is_symlink()
    assert again.files(again.runs[0]) == ["results/d/mine", "results/old", *PRINTED]


@pytest.mark.parametrize("lost", ["results/", ""])
def test_what_was_removed_from_the_storage_stays_here(again: Again, lost: str) -> None:
    storage = again.storage
    storage.delete([one for one in storage.objects if one.startswith(f"{again.runs[0]}/{lost}")])
    assert again.pull().removed == 0
    assert len(again.files(again.runs[0])) == 7


def test_of_what_is_not_asked_for_nothing_is_removed(again: Again) -> None:
    again.execute(again.runs[0])
    assert again.pull("stdout").removed == 0
    assert again.pull("results").removed == 3
    assert again.files(again.runs[0]) == ["attempts/1/stdout", *PRINTED]


def test_another_place_pulled_into_the_same_folder_removes_nothing(again: Again) -> None:
    selection = Selection("s3://b/other", ["s3://b/other/a"], 1)
    again.storage.put("s3://b/other/a/stdout", b"1")
    pulled = Pull(
        again.storage,
        lambda: again.storage,
        selection,
        str(again.dest),
        nothing,
        lambda: ["s3://b/other/a"],
        lambda: time.time() + 100,
    ).run()
    assert (pulled.fetched, pulled.removed) == (1, 0)
    assert len(again.files(again.runs[0])) == 7
