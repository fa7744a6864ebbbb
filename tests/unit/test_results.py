"""What a results folder holds, how its links are judged, and how it gets into a folder of this machine."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from sc.executor import results
from sc.executor.local_results import LocalResults
from sc.executor.results import Results, find_results, linked_files, mounts_at

LINKS = [
    # links (name, text; {top} is the folder), what they say in a folder, files under their names elsewhere
    ([("latest", "ck")], {"latest": "ck"}, ["latest/m", "latest/s/n"]),
    ([("latest", "./ck/")], {"latest": "ck"}, ["latest/m", "latest/s/n"]),
    ([("latest", "{top}/ck")], {"latest": "ck"}, ["latest/m", "latest/s/n"]),
    ([("ck/up", "{top}/o/f")], {"ck/up": "../o/f"}, ["ck/up"]),
    ([("ck/s/far", "../../o")], {"ck/s/far": "../../o"}, ["ck/s/far/f"]),
    ([("back", "../top/o")], {"back": "o"}, ["back/f"]),
    ([("one", "two"), ("two", "ck/m")], {"one": "two", "two": "ck/m"}, ["one", "two"]),
    ([("a", "o"), ("b", "a/f")], {"a": "o", "b": "o/f"}, ["a/f", "b"]),
    ([("a", "ck/s"), ("b", "a/../m")], {"a": "ck/s", "b": "ck/m"}, ["a/n", "b"]),
    (
        [("ck/o", "../o"), ("l", "ck")],
        {"ck/o": "../o", "l": "ck"},
        ["ck/o/f", "l/m", "l/o/f", "l/s/n"],
    ),
]


def make(folder: Path, links: Sequence[tuple[str, str]] = ()) -> Path:
    top = folder / "top"
    for name in ("ck/m", "ck/s/n", "o/f"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    for name, text in links:
        (top / name).symlink_to(text.format(top=top))
    return top


def store(found: Results, target: Path) -> list[str]:
    local = LocalResults(found, str(target))
    copies = local.begin()
    for name, path in copies:
        shutil.copy2(path, target / name)
    local.finish()
    return [name for name, _ in copies]


def tree(folder: Path) -> dict[str, str]:
    """Names, and what the links say or the files hold."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize(("links", "said", "copied"), LINKS)
def test_links_inside_are_stored(
    tmp_path: Path, links: list[tuple[str, str]], said: dict[str, str], copied: list[str]
) -> None:
    top = make(tmp_path, links)
    found = find_results(str(top))
    assert found.unstored.count == 0
    assert sorted(name for name, _ in linked_files(found)) == copied
    assert found.unstored.count == 0
    assert store(found, tmp_path / "out") == []
    shutil.rmtree(top)
    stored = tree(tmp_path / "out")
    plain = {name: name for name in ("ck/m", "ck/s/n", "o/f")}
    assert stored == {**plain, **said}
    assert all((tmp_path / "out" / name).exists() for name in stored)


@pytest.mark.parametrize(
    "text",
    [
        "/etc",
        "/etc/passwd",
        "nowhere",
        "../top-secret",
        ".",
        "..",
        "{top}",
        "{top}/",
        "self",
        "../top",
        "pipe",
    ],
)
def test_links_that_lead_elsewhere_are_counted_and_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "top-secret").mkdir()
    top = make(tmp_path, [("self", text)])
    os.mkfifo(top / "pipe")
    found = find_results(str(top))
    assert (found.links, found.unstored.count) == ({}, 2)
    assert "'self' (leads" in found.unstored.told()


@pytest.mark.parametrize("text", ["..", ".", "../..", "{top}/ck"])
def test_a_link_to_a_folder_above_itself_is_told(tmp_path: Path, text: str) -> None:
    found = find_results(str(make(tmp_path, [("ck/s/up", text)])))
    assert (found.links, found.unstored.count) == ({}, 1)
    assert list(linked_files(found)) == []


def test_folders_that_link_to_each_other_are_stored_once_more_and_the_circle_is_told(
    tmp_path: Path,
) -> None:
    found = find_results(str(make(tmp_path, [("ck/o", "../o"), ("o/ck", "../ck")])))
    assert found.unstored.count == 0
    names = [name for name, _ in linked_files(found)]
    assert sorted(names) == ["ck/o/f", "o/ck/m", "o/ck/s/n"]
    assert found.unstored.told() == (
        "not stored: 'ck/o/ck' (leads round in a circle), 'o/ck/o' (leads round in a circle)"
    )


def test_links_within_linked_folders_stay_bounded(tmp_path: Path) -> None:
    """30 folders with two links each to the next would make 2**30 files of one."""
    top = tmp_path / "top"
    for level in range(31):
        (top / f"{level}").mkdir(parents=True)
        if level < 30:
            (top / f"{level}/a").symlink_to(f"../{level + 1}")
            (top / f"{level}/b").symlink_to(f"../{level + 1}")
    (top / "30/file").touch()
    found = find_results(str(top))
    count = sum(1 for _ in linked_files(found))
    assert 60 <= count <= results.LEAST_LINKED + results.LINKED_PER_FILE
    assert found.unstored.count > 0
    assert "too many files by links" in found.unstored.told()


def test_what_is_no_plain_file_is_counted(tmp_path: Path) -> None:
    top = make(tmp_path)
    for number in range(5):
        os.mkfifo(top / f"pipe{number}")
    found = find_results(str(top))
    assert found.unstored.count == 5
    assert found.unstored.told().endswith(" and 2 more")
    assert found.files == ["ck/m", "ck/s/n", "o/f"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_results_folder_that_is_none_any_more_is_told(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "top").touch()
    else:
        (tmp_path / "top").symlink_to("/etc")
    for identity in (None, (1, 1)):
        found = find_results(str(tmp_path / "top"), identity)
        assert (found.files, found.unstored.count) == ([], 1)
    assert find_results(str(tmp_path / "none")).unstored.count == 0


def test_modes_times_holes_and_empty_folders_are_kept(tmp_path: Path) -> None:
    top = make(tmp_path)
    modes = {"ck/m": 0o755, "ck/s/n": 0o600, "o/f": 0o444, "ck/s": 0o750, "ck": 0o555, "": 0o700}
    with (top / "hole").open("wb") as file:
        file.truncate(1 << 30)
    (top / "empty").mkdir()
    for name, mode in modes.items():
        os.utime(top / name, ns=(1, 981173106_000000000))
        (top / name).chmod(mode)
    out = tmp_path / "out"
    assert store(find_results(str(top)), out) == []
    for name, mode in modes.items():
        status = (out / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (mode, 981173106)
    assert (out / "hole").stat().st_blocks == 0
    assert (out / "empty").is_dir()


def test_nothing_is_made_where_there_is_nothing_to_store(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    os.mkfifo(tmp_path / "top/pipe")
    assert store(find_results(str(tmp_path / "top")), tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_a_file_that_has_a_name_outside_is_copied(tmp_path: Path) -> None:
    """Else whoever writes to it there would change what is stored."""
    top = make(tmp_path)
    (tmp_path / "data").write_text("precious")
    os.link(tmp_path / "data", top / "data")
    os.link(top / "o/f", top / "twin")
    out = tmp_path / "out"
    assert store(find_results(str(top)), out) == ["data"]
    assert (out / "data").stat().st_ino != (tmp_path / "data").stat().st_ino
    assert (out / "twin").stat().st_ino == (out / "o/f").stat().st_ino


@pytest.mark.parametrize("done", range(6))
def test_storing_again_after_it_was_cut_off_gives_the_same(tmp_path: Path, done: int) -> None:
    top = make(tmp_path, [("latest", "ck"), ("out", "/etc")])
    os.link(top / "o/f", top / "twin")
    (top / "ck").chmod(0o555)
    out = tmp_path / "out"
    local = LocalResults(find_results(str(top)), str(out))
    local.begin()
    if done == 5:
        local.finish()
    for path in sorted(out.rglob("*"))[done:]:  # as if these had not been reached
        if not path.is_dir() or path.is_symlink():
            path.unlink()
    found = find_results(str(top))
    assert found.unstored.count == 1
    store(found, out)
    assert set(tree(out)) == {"ck/m", "ck/s/n", "o/f", "twin", "latest"}
    assert stat.S_IMODE((out / "ck").stat().st_mode) == 0o555


def test_mount_points_are_found_by_their_whole_names(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    line = b"63 43 254:0 /a /r/top%s rw,relatime - ext4 /dev/vda rw\n"
    points = (b"", b"/a\\040b", b"/new\\012line", b"/back\\134slash", b"2", b"2/x", b"/b\xff")
    table.write_bytes(b"".join(line % point for point in points))
    found = mounts_at("/r/top", str(table))
    assert found is not None
    assert set(found) == {
        *("/r/top", "/r/top/a b", "/r/top/new\nline", "/r/top/back\\slash", "/r/top/b\udcff")
    }
    assert mounts_at("/r/to", str(table)) == frozenset()
    assert mounts_at("/r/top", str(tmp_path / "none")) is None
