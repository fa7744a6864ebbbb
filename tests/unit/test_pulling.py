"""Which objects are wanted, where they go, and what is fetched again."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sc.errors import InputError
from sc.pulling.crew import GONE, UNPLACED, Fetcher
from sc.pulling.memory import FILE, Item, Memory
from sc.pulling.selection import Selection
from sc.storage import Entry, Storage
from tests.fakes.memory_storage import Clock, MemoryStorage


def entry(place: str) -> Entry:
    return Entry(place, 1, "tag", 0.0)


def paths_of(selection: Selection, *places: str) -> list[str]:
    items = [selection.item(entry(place)) for place in places]
    return [item.path for item in items if item is not None]


def test_what_belongs_to_a_run_is_wanted_and_keeps_its_path() -> None:
    selection = Selection("s3://b/out", ["s3://b/out/a/results/x", "s3://b/out/7"], 2)
    assert paths_of(
        selection,
        "s3://b/out/a/results/x/stdout",
        "s3://b/out/a/results/x/results/results/deep/f",
        "s3://b/out/7/attempts/1/stderr",
        "s3://b/out/7/stdout/odd",
        "s3://b/out/71/stdout",
        "s3://b/out/stdout",
        "s3://b/out/.sc/job/records/w-0.jsonl",
    ) == [
        "a/results/x/stdout",
        "a/results/x/results/results/deep/f",
        "7/attempts/1/stderr",
        "7/stdout/odd",
    ]


def test_only_some_kinds() -> None:
    selection = Selection("out", ["out/7"], 1, ["results", "status_code"])
    names = ["stdout", "status_code", "results/a/stdout", "attempts/1/stdout"]
    found = paths_of(selection, *[f"out/7/{name}" for name in names])
    assert found == ["7/status_code", "7/results/a/stdout"]


def test_a_run_outside_of_the_batch_goes_elsewhere() -> None:
    selection = Selection("s3://b/out", ["s3://other/x", "/data/y"], 2)
    found = paths_of(selection, "s3://other/x/stdout", "/data/y/stdout")
    assert found == ["elsewhere/s3/other/x/stdout", "elsewhere/data/y/stdout"]
    assert (selection.inside, selection.singles) == (None, ["s3://other/x", "/data/y"])


@pytest.mark.parametrize("count", [4, 5])
def test_few_runs_are_listed_one_by_one(count: int) -> None:
    runs = [f"s3://b/out/{number}" for number in range(count)]
    selection = Selection("s3://b/out", runs, 100)
    assert (selection.inside is None, len(selection.singles)) == (count == 4, count % 5)


@pytest.mark.parametrize(
    "name",
    [
        *("../../x", "a/../../x", "./x", "a//b", "/etc/x", "x\0y", "n" * 256, "\u20ac" * 86),
        *("\ud800", "\udcc3\udca9"),
    ],
    ids=ascii,
)
def test_a_name_that_would_lead_elsewhere_has_no_place(name: str) -> None:
    selection = Selection("s3://b/out", ["s3://b/out/7"], 1)
    item = selection.item(entry(f"s3://b/out/7/results/{name}"))
    assert item is not None
    assert "cannot be kept" in selection.problem(item)


def test_the_memory_of_a_pull_is_nobodys_to_write() -> None:
    selection = Selection("s3://b/out", [f"s3://b/out/{FILE}"], 1)
    item = selection.item(entry(f"s3://b/out/{FILE}/stdout"))
    assert item is not None
    assert selection.problem(item)


def test_what_is_remembered_is_the_last_that_was_fetched(tmp_path: Path) -> None:
    one, other = Item("p", 1, "one", "a/b"), Item("p", 1, "other", "a/b")
    for item in (one, other, one, other):
        memory = Memory(str(tmp_path))
        memory.add(item, 5)
        memory.close()
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes() + b"cut off")
    memory = Memory(str(tmp_path))
    assert [memory.has(one, 5), memory.has(other, 5), memory.has(other, 6)] == [False, True, False]
    assert not memory.has(other, -1)
    with pytest.raises(InputError, match="another 'sc pull'"):
        Memory(str(tmp_path))
    memory.close()


def test_a_file_that_is_something_else_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"hello, I am not what you think\n" * 9)
    memory = Memory(str(tmp_path))
    assert not memory.has(Item("p", 1, "t", "a"), 1)
    memory.close()
    assert (tmp_path / FILE).stat().st_size == 16


def test_one_object_is_fetched_with_all_that_is_in_it_or_said_to_be_gone(tmp_path: Path) -> None:
    storage: Storage = MemoryStorage(Clock())
    storage.put("s3://b/x", b"new")
    (tmp_path / "file").write_text("in the way")
    dest = str(tmp_path)
    chunk = [Item("s3://b/x", 3, "", "a/b/x"), Item("s3://b/none", 3, "", "a/none")]
    chunk += [Item("s3://b/x", 3, "", name) for name in ("file/x", "a")]
    with ThreadPoolExecutor(1) as threads:
        answer = Fetcher(storage, dest).fetch_all(threads, chunk)
    modified = (tmp_path / "a/b/x").stat().st_mtime_ns
    assert (tmp_path / "a/b/x").read_bytes() == b"new"
    assert answer.modified == [modified, GONE, UNPLACED, UNPLACED]
    assert [place for place, _ in answer.problems] == ["s3://b/x"] * 2
    assert not answer.trouble
    assert sorted(os.listdir(tmp_path / "a/b")) == ["x"]
