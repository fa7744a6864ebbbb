"""Versions of synced folders: in place at one instant, kept while they are used, removed when they are not."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Union

import pytest

from sc.archives import Order, Piece, Placed, hold, pack, place
from sc.errors import ScError

Tree = dict[str, str]


def copied(archive: str) -> Callable[[str], None]:
    """Fetches that archive."""

    def fetch(path: str) -> None:
        shutil.copy(archive, path)

    return fetch


class Yard:
    """A destination, and archives to put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "code"
        self.said: list[str] = []
        self.holds: list[int] = []
        self.jobs = 0

    def put(self, files: Tree, *, job: str = "", keep: bool = False, mode: int = 0o755) -> Placed:
        """Sync these files; with `keep` somebody goes on using them."""
        source, archive = self.folder / "home/src", str(self.folder / "home/archive")
        shutil.rmtree(self.folder / "home", ignore_errors=True)
        source.mkdir(parents=True)
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        source.chmod(mode)
        packed = pack(str(source), archive)
        self.jobs += 1
        piece = Piece(packed.sha256, "", copied(archive))
        order = Order(str(self.code), [piece], job or str(self.jobs), "/")
        placed = place(order, self.said.append)
        if keep:
            self.holds.append(hold(placed.lock))
        os.close(placed.descriptor)
        return placed

    def trees(self) -> int:
        return len(list(self.folder.glob(".sc-sync-*")))

    def let_go(self) -> None:
        while self.holds:
            os.close(self.holds.pop())


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    one = Yard(tmp_path)
    yield one
    one.let_go()


def read(folder: Path) -> Tree:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and ".sc-sync" not in path.parts
    }


def test_place_again_keeps_what_is_used_and_removes_it_afterwards(yard: Yard) -> None:
    first = yard.put({"a": "1"}, keep=True)
    second = yard.put({"a": "2"})
    assert read(Path(first.tree)) == {"a": "1"}
    assert read(yard.code) == read(Path(second.tree)) == {"a": "2"}
    yard.let_go()
    yard.put({"a": "3"})
    assert (yard.trees(), len(os.listdir(yard.folder / ".sc-sync"))) == (1, 1)


def test_place_of_the_same_content_unpacks_nothing(yard: Yard) -> None:
    first = yard.put({"a": "1"})
    before = os.stat(yard.code / "a")
    assert yard.put({"a": "1"}).tree == first.tree
    assert os.stat(yard.code / "a").st_ino == before.st_ino


def test_place_in_one_job_takes_what_its_start_script_has_changed(yard: Yard) -> None:
    first = yard.put({"a": "1"}, job="x")
    (yard.code / "a").write_text("changed")
    assert yard.put({"a": "1"}, job="x").tree == first.tree
    assert yard.put({"a": "1"}, job="y").tree != first.tree
    assert read(yard.code) == {"a": "1"}


def test_place_carries_what_was_not_synced_to_the_next_version(yard: Yard) -> None:
    first = yard.put({"a": "1", "gone/x": ""}, keep=True)
    (yard.code / "out/deep").mkdir(parents=True)
    (yard.code / "out/deep/result").write_text("r")
    (yard.code / "gone/mine").write_text("m")
    (yard.code / "b").write_text("mine")
    (yard.code / "d").mkdir()
    (yard.code / "d/mine").write_text("d")
    (yard.code / "__pycache__").mkdir()
    (yard.code / "__pycache__/a.pyc").touch()
    (yard.code / "link").symlink_to("a")
    yard.put({"a": "2", "b": "home", "d": "a file"})
    (Path(first.tree) / "late").write_text("late")  # by a run that still works in it
    yard.let_go()
    yard.put({"a": "2", "b": "home", "d": "a file"})
    assert yard.trees() == 1
    expected = {"a": "2", "b": "home", "d": "a file", "link": "2", "late": "late", "gone/mine": "m"}
    expected.update({"out/deep/result": "r", "b.before-sync": "mine", "d.before-sync/mine": "d"})
    assert read(yard.code) == expected
    assert (yard.code / "link").is_symlink()
    assert len([line for line in yard.said if "kept as b.before-sync" in line]) == 1


def test_place_where_a_removed_link_was_loses_nothing(yard: Yard) -> None:
    first = yard.put({"a": "1"})
    (yard.code / "mine").write_text("m")
    yard.code.unlink()
    yard.put({"a": "2"})
    assert read(yard.code) in ({"a": "2"}, {"a": "2", "mine": "m"})
    assert (yard.code / "mine").exists() or (Path(first.tree) / "mine").exists()


def test_place_without_notes_loses_nothing(yard: Yard) -> None:
    yard.put({"a": "1"})
    (yard.code / "mine").write_text("m")
    shutil.rmtree(yard.folder / ".sc-sync")
    yard.put({"a": "1"})
    yard.put({"a": "2"})
    assert read(yard.code)["a"] == "2"
    assert read(yard.code)["mine"] == "m"


@pytest.mark.parametrize("left", ["notes", "draft", "link"])
def test_place_clears_what_a_killed_one_has_left(yard: Yard, left: str) -> None:
    yard.put({"a": "1"})
    root = yard.folder / ".sc-sync"
    if left == "notes":
        (version,) = root.iterdir()
        yard.code.unlink()
        shutil.rmtree(yard.folder / f".sc-sync-{version.name}")
    elif left == "draft":
        (root / "new-1/tree").mkdir(parents=True)
        (root / "new-1/tree/half").touch()
    else:
        (root / "new-2").symlink_to("nowhere")
    yard.put({"a": "1"})
    assert read(yard.code) == {"a": "1"}
    assert (yard.trees(), len(list(root.iterdir()))) == (1, 1)


def test_place_that_fails_leaves_the_destination_as_it_was(yard: Yard) -> None:
    yard.put({"a": "1"})

    def fails(path: str) -> None:
        raise ScError("no such archive")

    with pytest.raises(ScError, match="no such archive"):
        place(Order(str(yard.code), [Piece("0" * 64, "", fails)], "x", "/"), yard.said.append)
    (yard.folder / "other").write_text("x")
    piece = Piece("0" * 64, "", copied(str(yard.folder / "other")))
    with pytest.raises(ScError, match="is not what was packed"):
        place(Order(str(yard.code), [piece], "x", "/"), yard.said.append)
    assert read(yard.code) == {"a": "1"}
    assert len(list((yard.folder / ".sc-sync").iterdir())) == 1


def test_place_keeps_a_secret_folder_secret(yard: Yard) -> None:
    placed = yard.put({"key": "x"}, mode=0o700)
    assert stat.S_IMODE(os.stat(placed.tree).st_mode) == 0o700
    files = Path(placed.lock).parent / "files"
    assert stat.S_IMODE(files.stat().st_mode) == 0o600


@pytest.mark.parametrize("what", ["empty", "home", "files"])
def test_place_replaces_no_folder_but_an_empty_one(yard: Yard, what: str) -> None:
    yard.code.mkdir()
    if what == "files":
        (yard.code / "mine").write_text("m")
    archive = str(yard.folder / "archive")
    (yard.folder / "src").mkdir()
    (yard.folder / "src/a").write_text("1")
    piece = Piece(
        pack(str(yard.folder / "src"), archive).sha256,
        "",
        copied(archive),
    )
    home = str(yard.code) if what == "home" else "/"
    placed = place(Order(str(yard.code), [piece], "x", home), yard.said.append)
    os.close(placed.descriptor)
    assert yard.code.is_symlink() == (what == "empty")
    assert (yard.code / "a").read_text() == "1"
    assert (yard.code / "mine").exists() == (what == "files")


def test_place_over_a_file_is_refused(yard: Yard) -> None:
    yard.code.write_text("mine")
    with pytest.raises(ScError, match="is a file"):
        yard.put({"a": "1"})
    assert yard.code.read_text() == "mine"


def test_place_over_other_files_follows_no_link_of_them(yard: Yard) -> None:
    (yard.folder / "outside").mkdir()
    yard.code.mkdir()
    (yard.code / "d").symlink_to("../outside")
    with pytest.raises(ScError, match="is a link, and a folder of this name is to be synced"):
        yard.put({"d/x": "1", "a": "1"})
    assert os.listdir(yard.folder / "outside") == []
    assert not (yard.code / "a").exists()


def test_place_over_other_files_changes_kinds_and_removes_what_was_removed(yard: Yard) -> None:
    yard.code.mkdir()
    (yard.code / "mine").write_text("m")
    yard.put({"f": "1", "d/x": "1", "gone/x": "1", "same": "s"})
    (yard.code / "gone/mine").write_text("m")
    yard.put({"f/x": "2", "d": "2", "same": "s"})
    found = read(yard.code)
    assert found == {"mine": "m", "gone/mine": "m", "f/x": "2", "d": "2", "same": "s"}
    assert yard.said == []


def test_a_held_lock_is_shared(yard: Yard) -> None:
    placed = yard.put({"a": "1"}, keep=True)
    other = os.open(placed.lock, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


@pytest.mark.parametrize(
    "note",
    [None, b"", b"\0" * 64, b"100644,", "half"],
    ids=["removed", "empty", "zeros", "cut short", "half"],
)
def test_place_after_a_loss_of_power_takes_no_tree_that_its_note_does_not_vouch_for(
    yard: Yard, note: Union[bytes, str, None]
) -> None:
    """The file system has lost a file's content, and what was written down of it."""
    files = Path(yard.put({"a": "whole", "b": "whole"}).lock).parent / "files"
    (yard.code / "a").write_text("")
    if note is None:
        files.unlink()
    else:
        data = files.read_bytes()
        files.write_bytes(data[: len(data) // 2] if isinstance(note, str) else note)
    yard.put({"a": "whole", "b": "whole"})
    assert [(yard.code / name).read_text() for name in "ab"] == ["whole", "whole"]
