"""What earlier executions left is found and removed in a real storage of keys, whatever the order that it lists by."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sc.previous_outputs import find_previous, remove_previous
from sc.storage import Storage, open_storage

NAMES = (
    "a",
    "a1",
    "a-b",
    "a!",
    "results/1",
    "b/results",
    "b+/attempts/1",
    "é",
    "100%",
    "c/d/e",
    "😀",
)
OTHERS = ("a/b", "a-", "a!b", "ab", "b/r", "b/results-1", "c/d/e!", "c/d", "results/10", "0", "é é")
MADE = ("status_code", "stdout", "stderr", "results/x", "results/d/a b", "attempts/1/stdout")
STRANGE = ("notes", "s/x", "results!", "results-/x", "attempts-1/x", "check/results/x", "stdout!/x")


@pytest.fixture(params=["s3", "sfs"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place in a bucket, by both names that it can have."""
    request.getfixturevalue("s3_environment")
    bucket = request.getfixturevalue("bucket")
    monkeypatch.setenv("SC_SFS_ROOT", f"s3://{bucket}")
    return "sfs://owner/some where" if request.param == "sfs" else f"s3://{bucket}/some where"


def store(storage: Storage, places: Iterable[str]) -> None:
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda one: storage.put(one, b"0"), places))


@pytest.mark.parametrize("page", [3, 1000])
def test_previous_outputs_are_removed_and_nothing_else(place: str, page: int) -> None:
    storage = open_storage(os.environ)
    runs = [f"{place}/{name}" for name in NAMES] + [f"{place}-2/{name}" for name in "ab"]
    made = {f"{run}/{name}" for run in runs for name in MADE}
    strange = {f"{run}/{name}" for run in runs for name in STRANGE}
    strange |= {f"{place}/{name}/{one}" for name in OTHERS for one in MADE}
    strange -= made
    strange |= {f"{place}/.sc/job/parts/0.json", f"{place}-2/c/stdout"}
    store(storage, made | strange)
    found = find_previous(storage, runs, place, page)
    assert sorted(found) == sorted(runs)
    assert all(one.has_code and len(one.names) == len(MADE) - 1 for one in found.values())
    remove_previous(storage, found)
    left = [entry.place for one in (place, f"{place}-2") for entry in storage.list(one)]
    assert sorted(left) == sorted(strange)
    assert find_previous(storage, runs, place) == {}


def test_more_results_than_are_kept_are_removed(place: str) -> None:
    storage = open_storage(os.environ)
    runs = [f"{place}/{name}" for name in ("a", "a-b")]
    store(storage, (f"{runs[0]}/results/{number}" for number in range(2100)))
    store(storage, (f"{one}/status_code" for one in (*runs, f"{place}/a!")))
    found = find_previous(storage, runs, place)
    assert (found[runs[0]].has_more, found[runs[1]].has_more) == (True, False)
    remove_previous(storage, found)
    assert [entry.place for entry in storage.list(place)] == [f"{place}/a!/status_code"]


def test_nothing_is_found_in_a_folder_of_this_machine(tmp_path: Path) -> None:
    storage = open_storage({})
    store(storage, [f"{tmp_path}/a/status_code"])
    assert find_previous(storage, [f"{tmp_path}/a"], str(tmp_path)) == {}
