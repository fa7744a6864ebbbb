"""What `sc split` writes to a folder, and what it leaves alone there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sc import commands_folder
from sc.errors import InputError

NOTES = {"sync": ["/code:code"], "file_syncs_base_dir_url": None}


def split(folder: Path, *parts: bytes) -> None:
    commands_folder.check(str(folder), len(parts))
    assert list(commands_folder.write(str(folder), iter(parts), "type: job\n", NOTES)) == [*parts]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_later_split_removes_what_an_earlier_one_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "a'; echo foo"
    split(folder, b"0", b"1", b"2")
    (folder / "notes.json").write_text("mine")
    (folder / "17.json").write_text("mine")
    split(folder, b"new")
    assert names(folder) == [".sc-split.json", "0.json", "17.json", "notes.json", "recipe.yaml"]
    assert (folder / "0.json").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["1.json", "recipe.yaml"])
def test_what_is_not_ours_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="was not written by 'sc split'"):
        commands_folder.check(str(tmp_path), 2)
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_manifest_that_lies_removes_nothing_elsewhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim.json"
    victim.write_text("mine")
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "list.json").write_text("mine")
    lies = ["../victim.json", str(victim), "list.json", 7, "0.json/../list.json"]
    (folder / ".sc-split.json").write_text(json.dumps({"files": lies}))
    split(folder, b"0")
    assert victim.read_text() == "mine"
    assert (folder / "list.json").read_text() == "mine"


def test_apply_reads_what_split_has_noted(tmp_path: Path) -> None:
    split(tmp_path, b"0", b"1")
    found = commands_folder.read(str(tmp_path / "recipe.yaml"))
    assert found is not None
    assert found.parts == (str(tmp_path / "0.json"), str(tmp_path / "1.json"))
    assert found.sync == ("/code:code",)
    (tmp_path / "1.json").unlink()
    with pytest.raises(InputError, match=r"1\.json is missing"):
        commands_folder.read(str(tmp_path / "recipe.yaml"))


def test_a_recipe_that_nobody_split_is_known_as_such(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("type: job\n")
    assert commands_folder.read(str(tmp_path / "recipe.yaml")) is None


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_is_no_folder_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="not a folder"):
        commands_folder.check(str(tmp_path / place), 1)


def test_a_split_that_broke_off_leaves_no_recipe_and_is_cleaned_up(tmp_path: Path) -> None:
    split(tmp_path, b"0")

    def breaking() -> Iterator[bytes]:
        yield b"new"
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(commands_folder.write(str(tmp_path), breaking(), "type: job\n", NOTES))
    assert names(tmp_path) == [".sc-split.json", "0.json", "1.json"]
    split(tmp_path, b"0")
    assert names(tmp_path) == [".sc-split.json", "0.json", "recipe.yaml"]


def test_a_part_may_be_used_before_the_next_is_made(tmp_path: Path) -> None:
    made: list[int] = []

    def making() -> Iterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    parts = commands_folder.write(str(tmp_path), making(), "type: job\n", NOTES)
    assert next(parts) == b"0"
    assert made == [0]
    assert names(tmp_path) == [".sc-split.json", "0.json"]
    assert list(parts) == [b"1", b"2"]
    assert names(tmp_path) == [".sc-split.json", "0.json", "1.json", "2.json", "recipe.yaml"]
