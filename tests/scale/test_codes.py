"""Codes among thousands of objects: as few requests as they need."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from sc.codes import each_code, read_codes
from sc.errors import StorageError
from sc.storage import Entry
from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.fakes.stored_runs import OUT, runs_of, stored


def test_as_few_requests_as_the_objects_need() -> None:
    storage = MemoryStorage(Clock())
    runs = runs_of([f"{OUT}/{number // 100}/run-{number}" for number in range(20_000)])
    for run in runs:
        stored(storage, run.remote_output_path, b"0")
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert len(codes) == 20_000
    assert all(codes.code(run.remote_output_path) == 0 for run in runs)
    assert storage.requests - before == {"list": 62}  # 60 full pages, in 6 ranges


@pytest.mark.parametrize("by_tree", [False, True])
def test_runs_wherever_they_lie(by_tree: bool) -> None:
    """Names that are the beginning of others, that sort otherwise by tree than by bytes, and that URLs do not like."""
    storage = MemoryStorage(Clock(), by_tree)
    names = ["a", "a-b", "a b", "a+b", "a%20b", "a!", "a.sc", ".sc-x", "é", "豈", "😀", "results"]
    paths_ = [f"{OUT}/{name}/{n}/{'deep/' * (n % 3)}r" for name in names for n in range(700)]
    runs = runs_of([*paths_, *(f"{OUT}/{name}-{n}" for name in names for n in range(20))])
    for number, run in enumerate(runs):
        if number % 7:
            storage.put(f"{run.remote_output_path}/status_code", str(number % 256).encode())
    stored(storage, f"{OUT}/somebody/else", b"1", results=300)
    stored(storage, f"{OUT}s/a/1/r", b"1")
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert [code for _, code in each_code(codes, runs)] == [
        number % 256 if number % 7 else None for number in range(len(runs))
    ]
    assert len(codes) == sum(number % 7 > 0 for number in range(len(runs)))
    assert (storage.requests - before)["list"] <= 12


@pytest.mark.parametrize("by_tree", [False, True])
def test_thousands_of_results_are_passed_over(by_tree: bool) -> None:
    storage = MemoryStorage(Clock(), by_tree)
    runs = runs_of([f"{OUT}/a", f"{OUT}/b", f"{OUT}/results/c", f"{OUT}/results-d"])
    stored(storage, f"{OUT}/a", b"3", results=9000)
    stored(storage, f"{OUT}/b", b"0")
    stored(storage, f"{OUT}/results/c", b"4", results=2500)
    stored(storage, f"{OUT}/results-d", b"5")
    for number in range(4000):
        storage.put(f"{OUT}/b/results/of/results/{number}", b"")
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert [codes.code(run.remote_output_path) for run in runs] == [3, 0, 4, 5]
    assert storage.requests - before == {"list": 4}


def test_more_results_than_a_page_in_every_run_cost_no_request_more() -> None:
    storage = MemoryStorage(Clock())
    runs = runs_of([f"{OUT}/{number}" for number in range(20)])
    for run in runs:
        stored(storage, run.remote_output_path, b"7", results=1100)
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert [code for _, code in each_code(codes, runs)] == [7] * 20
    assert storage.requests - before == {"list": 21}
    assert len(storage.objects) == 20 * 1103


@pytest.mark.parametrize("by_tree", [False, True])
def test_what_jobs_keep_is_passed_over(by_tree: bool) -> None:
    storage = MemoryStorage(Clock(), by_tree)
    runs = runs_of([f"{OUT}/.sc-x", f"{OUT}/.sd", f"{OUT}/a"])
    for run in runs:
        stored(storage, run.remote_output_path, b"7")
    for number in range(9000):
        storage.put(f"{OUT}/.sc/job/claims/{number}", b"")
    before = storage.requests.copy()
    codes = read_codes(storage, OUT, runs)
    assert [code for _, code in each_code(codes, runs)] == [7, 7, 7]
    assert storage.requests - before == {"list": 2}


class Endless(MemoryStorage):
    """A listing that goes on and on; that of the first range is refused as soon as another has begun."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.has_begun, self.ended = Event(), 0

    def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Entry]:
        if not start_after:
            self.has_begun.wait(60)
            raise StorageError("no more")
        for number in range(5_000_000):
            self.has_begun.set()
            yield Entry(f"{OUT}/a/{number}", 1, "tag", 1.0)
        self.ended += 1


def test_an_error_ends_all_threads_soon() -> None:
    storage = Endless()
    with pytest.raises(StorageError, match="no more"):
        read_codes(storage, OUT, runs_of([f"{OUT}/{number}" for number in range(20_000)]))
    assert storage.has_begun.is_set()
    assert storage.ended == 0
