"""Codes, read from a storage that counts the requests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Semaphore

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sc import paths
from sc.codes import GARBAGE, THREADS, code_of, each_code, parse, ranges, read_code, read_codes
from sc.errors import StorageError
from sc.storage import Entry, open_storage
from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.fakes.stored_runs import OUT, runs_of, stored


def test_a_listing_tells_every_code() -> None:
    storage = MemoryStorage(Clock())
    runs = runs_of([f"{OUT}/{number}" for number in range(300)])
    for number, run in enumerate(runs[:256]):
        stored(storage, run.remote_output_path, str(number).encode())
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert [code for _, code in each_code(codes, runs)] == [*range(256), *[None] * 44]
    assert storage.requests - before == {"list": 1}


def test_many_results_below_a_folder_called_results_are_no_runs_results() -> None:
    storage = MemoryStorage(Clock())
    runs = runs_of([f"{OUT}/results/{number}" for number in range(2000)])
    for run in runs:
        stored(storage, run.remote_output_path, b"0")
    codes = read_codes(storage, OUT, runs)
    assert len(codes) == 2000


@pytest.mark.parametrize("text", [b"None", b"", b"256", b"-1", b"1 2", b"x" * 100, b"0x1"])
def test_garbage_is_incomplete_and_counted(text: bytes) -> None:
    storage = MemoryStorage(Clock())
    stored(storage, f"{OUT}/a", text)
    codes = read_codes(storage, OUT, runs_of([f"{OUT}/a"]))
    assert codes.code(f"{OUT}/a") is None
    assert codes.garbage == 1


def test_a_newline_after_the_code_does_no_harm() -> None:
    assert parse(b"7\n") == 7
    assert parse("٣".encode()) == GARBAGE


def test_a_tag_that_is_no_md5_costs_a_get() -> None:
    storage = MemoryStorage(Clock())
    storage.put(f"{OUT}/a/status_code", b"9")
    entry = Entry(f"{OUT}/a/status_code", 1, "0123-2", 5.0)
    assert code_of(storage, entry) == 9
    assert storage.requests["get"] == 1


class Encrypting(MemoryStorage):
    """Its tags are no MD5s, as with SSE-KMS. The first GETs are answered when `together` have been asked."""

    def __init__(self, together: int) -> None:
        super().__init__(Clock())
        self._first, self._barrier = Semaphore(together), Barrier(together, timeout=60)

    def get(self, place: str, start: int = 0) -> bytes:
        if self._first.acquire(blocking=False):
            self._barrier.wait()
        return super().get(place, start)

    def _entry(self, place: str) -> Entry:
        return super()._entry(place)._replace(tag="5d9c68c6c50ed3d02a2fcf54f63993b6")


def test_tags_that_are_no_md5_are_asked_for_many_at_a_time() -> None:
    storage = Encrypting(together=THREADS)
    runs = runs_of([f"{OUT}/{number}" for number in range(640)])
    for number, run in enumerate(runs):
        stored(storage, run.remote_output_path, str(number % 256).encode())
    stored(storage, f"{OUT}/somebody/else", b"1")
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert [code for _, code in each_code(codes, runs)] == [n % 256 for n in range(640)]
    assert storage.requests - before == {"list": 2, "get": 640}


def test_a_code_that_is_removed_meanwhile_is_none() -> None:
    storage = Encrypting(together=1)
    storage.put(f"{OUT}/a/status_code", b"0")
    stored(storage, f"{OUT}/b", b"3")
    listed = storage.list(OUT)

    class Removing(Encrypting):
        def list(self, *_: str) -> Iterator[Entry]:
            for entry in listed:
                storage.delete([f"{OUT}/a/status_code"])
                yield entry

    removing = Removing(together=1)
    removing.objects = storage.objects
    codes = read_codes(removing, OUT, runs_of([f"{OUT}/a", f"{OUT}/b"]))
    assert codes.code(f"{OUT}/a") is None
    assert codes.code(f"{OUT}/b") == 3
    assert (len(codes), codes.garbage) == (1, 0)


def test_runs_elsewhere_are_asked_for_one_by_one() -> None:
    storage = MemoryStorage(Clock())
    stored(storage, "s3://other/x", b"5")
    stored(storage, f"{OUT}/a", b"0")
    codes = read_codes(storage, OUT, runs_of(["s3://other/x", f"{OUT}/a", "s3://other/y"]))
    assert codes.code("s3://other/x") == 5
    assert codes.code(f"{OUT}/a") == 0
    assert codes.code("s3://other/y") is None


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    storage = open_storage()
    out = str(tmp_path / "out")
    runs = runs_of([f"{out}/{number}" for number in range(30)])
    for number, run in enumerate(runs[:20]):
        storage.put(paths.join(run.remote_output_path, paths.STATUS_CODE), str(number).encode())
    codes = read_codes(storage, out, runs)
    assert [code for _, code in each_code(codes, runs)] == [*range(20), *[None] * 10]
    assert read_code(storage, runs[3].remote_output_path) is not None
    assert read_code(storage, runs[25].remote_output_path) is None


def test_what_is_no_file_is_no_code(tmp_path: Path) -> None:
    runs = runs_of([f"{tmp_path}/{number}" for number in range(5)])
    for run in runs:
        Path(run.remote_output_path).mkdir()
    os.mkfifo(tmp_path / "0/status_code")
    (tmp_path / "1/status_code").mkdir()
    (tmp_path / "2/status_code").symlink_to("/dev/zero")
    (tmp_path / "3/status_code").symlink_to("../4/status_code")
    (tmp_path / "4/status_code").write_text("7")
    codes = read_codes(open_storage({}), str(tmp_path), runs)
    assert [code for _, code in each_code(codes, runs)] == [None, None, None, 7, 7]


def test_a_code_that_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "status_code").symlink_to("status_code")
    with pytest.raises(StorageError, match="its symbolic links go round in circles"):
        read_codes(open_storage({}), str(tmp_path), runs_of([str(tmp_path)]))


def test_ranges_cover_everything_once() -> None:
    sample = sorted(hashlib.md5(bytes([n])).hexdigest() for n in range(200))
    found = ranges(sample, 100_000)
    assert found[0][0] == ""
    assert found[-1][1] == ""
    assert [last for _, last in found[:-1]] == [first for first, _ in found[1:]]
    assert 10 <= len(found) <= 30
    assert ranges(["a"], 1) == [("", "")]


PATHS = st.lists(st.text("-!/ab", min_size=1, max_size=5), min_size=1, max_size=60, unique=True)


@given(PATHS)
def test_ranges_have_everything_once_by_bytes_as_by_tree(found: list[str]) -> None:
    """`a-b` comes before `a/b` by bytes, and after it by tree."""
    bounds = ranges(sorted(found), 1_000_000)
    for by_tree in (False, True):
        storage = MemoryStorage(Clock(), by_tree)
        for path in found:
            storage.put(f"{OUT}/{path}/status_code", b"0")
        listed = [entry.place for some in bounds for entry in storage.list(OUT, *some)]
        assert sorted(listed) == sorted(storage.objects)
