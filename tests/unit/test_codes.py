"""Codes, read from a storage that counts the requests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from sc import paths
from sc.codes import GARBAGE, code_of, each_code, parse, ranges, read_code, read_codes
from sc.model import Run
from sc.storage import Entry, open_storage
from tests.fakes.memory_storage import Clock, MemoryStorage

OUT = "s3://bucket/out"


def stored(storage: MemoryStorage, path: str, code: bytes, results: int = 0) -> None:
    """A run's outputs."""
    storage.put(f"{path}/stdout", b"said")
    storage.put(f"{path}/stderr", b"")
    for number in range(results):
        storage.put(f"{path}/results/{number}.csv", b"1,2")
    storage.put(f"{path}/status_code", code)


def runs_of(paths_: Sequence[str]) -> list[Run]:
    return [Run("true", path) for path in paths_]


def test_a_listing_tells_every_code() -> None:
    storage = MemoryStorage(Clock())
    runs = runs_of([f"{OUT}/{number}" for number in range(300)])
    for number, run in enumerate(runs[:256]):
        stored(storage, run.remote_output_path, str(number).encode())
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert [code for _, code in each_code(codes, runs)] == [*range(256), *[None] * 44]
    assert storage.requests - before == {"list": 1}


def test_as_few_requests_as_the_objects_need() -> None:
    storage = MemoryStorage(Clock())
    runs = runs_of([f"{OUT}/{number // 100}/run-{number}" for number in range(20_000)])
    for run in runs:
        stored(storage, run.remote_output_path, b"0")
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert len(codes) == 20_000
    assert all(codes.code(run.remote_output_path) == 0 for run in runs)
    spent = storage.requests - before
    assert set(spent) == {"list"}
    assert spent["list"] <= 60 * 1.1 + 1


def test_thousands_of_results_are_passed_over() -> None:
    storage = MemoryStorage(Clock())
    runs = runs_of([f"{OUT}/a", f"{OUT}/b", f"{OUT}/results/c"])
    stored(storage, f"{OUT}/a", b"3", results=9000)
    stored(storage, f"{OUT}/b", b"0")
    stored(storage, f"{OUT}/results/c", b"4", results=2500)
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert [codes.code(run.remote_output_path) for run in runs] == [3, 0, 4]
    assert (storage.requests - before)["list"] <= 8


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
    assert codes.is_garbage(f"{OUT}/a")
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


def test_ranges_cover_everything_once() -> None:
    sample = sorted(hashlib.md5(bytes([n])).hexdigest() for n in range(200))
    found = ranges(sample, 100_000)
    assert found[0][0] == ""
    assert found[-1][1] == ""
    assert [last for _, last in found[:-1]] == [first for first, _ in found[1:]]
    assert 10 <= len(found) <= 30
    assert ranges(["a"], 1) == [("", "")]
