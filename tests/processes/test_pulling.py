"""A pull is of several processes, which are ended at once: nothing of theirs may stay behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sc.errors import StorageError
from sc.pulling import Pull, Pulled
from sc.pulling.crew import SMALL_BYTES
from sc.pulling.selection import Selection
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

    def get_file(self, place: str, path: str) -> None:
        write_all(Named(os.path.dirname(path)).fd, b"half of it")
        while True:
            time.sleep(60)

    def get(self, place: str, start: int = 0) -> bytes:
        wait_until(lambda: self.is_time(self.writers()), "others are in the middle of theirs")
        raise StorageError(f"{place} has no room.")

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
    large = bytes(SMALL_BYTES + 1)
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
