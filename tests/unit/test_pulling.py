"""Which objects are wanted, where they go, and what is fetched again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sc.errors import InputError
from sc.pulling import Pull, Pulled
from sc.pulling.crew import GONE, UNPLACED, fetch
from sc.pulling.memory import FILE, Item, Memory
from sc.pulling.selection import Selection
from sc.storage import Entry, Storage, open_storage
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
    "name", ["../../x", "a/../../x", "./x", "a//b", "/etc/x", "x\0y", "n" * 256, "\u20ac" * 86]
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
    modified = fetch(storage, dest, Item("s3://b/x", 3, "", "a/b/x"))
    assert modified == (tmp_path / "a/b/x").stat().st_mtime_ns
    assert (tmp_path / "a/b/x").read_bytes() == b"new"
    assert fetch(storage, dest, Item("s3://b/none", 3, "", "a/none")) == GONE
    assert fetch(storage, dest, Item("s3://b/x", 3, "", "file/x")) == UNPLACED
    assert fetch(storage, dest, Item("s3://b/x", 3, "", "a/b")) == UNPLACED
    assert sorted(os.listdir(tmp_path / "a/b")) == ["x"]


def pull(source: Path, dest: Path, runs: int = 3) -> Pulled:
    selection = Selection(str(source), [f"{source}/{number}" for number in range(runs)], runs)
    return Pull(open_storage({}), lambda: open_storage({}), selection, str(dest), _nothing).run()


def _nothing(pulled: Pulled) -> None:
    """Nobody looks."""


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
    pulled = Pull(storage, lambda: storage, selection, str(tmp_path), _nothing).run()
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
    assert "out/1/stdout" in pulled.problems[0]
