"""What is removed, and what is left alone. Mounts are in tests/processes/test_mounts.py: they need a namespace."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from sc.executor.removal import ANOTHER, Remaining, _Sweep, empty, identity_of, remove, told

DEPTH = 1500


def test_remove_takes_files_links_and_folders_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("data")
    top = tmp_path / "top"
    (top / "a/b/empty").mkdir(parents=True)
    (top / "a/b/file").touch()
    (top / "link to file").symlink_to(outside / "precious")
    (top / "a/link to folder").symlink_to(outside)
    (top / "a/dangling").symlink_to("nowhere")
    os.mkfifo(top / "pipe")
    assert remove(str(top)) == []
    assert os.listdir(tmp_path) == ["outside"]
    assert (outside / "precious").read_text() == "data"


@pytest.mark.parametrize("way", [remove, empty])
def test_a_link_in_place_of_the_folder_is_not_followed(
    tmp_path: Path, way: Callable[[str], list[Remaining]]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (tmp_path / "top").symlink_to(outside)
    assert way(str(tmp_path / "top")) == []
    assert os.listdir(outside) == ["precious"]
    assert (tmp_path / "top").is_symlink() is (way is empty)


@pytest.mark.parametrize("way", [remove, empty])
def test_what_is_not_there_is_no_error(
    tmp_path: Path, way: Callable[[str], list[Remaining]]
) -> None:
    assert way(str(tmp_path / "nothing")) == []
    assert way(str(tmp_path / "nothing/below")) == []


def test_remove_takes_a_file_and_empty_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert empty(str(tmp_path / "file")) == []
    assert remove(str(tmp_path / "file")) == []
    assert os.listdir(tmp_path) == []


def test_a_tree_deeper_than_open_files_and_path_names_allow_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    before, (soft, hard) = os.getcwd(), resource.getrlimit(resource.RLIMIT_NOFILE)
    os.chdir(top)
    for _ in range(DEPTH):
        os.mkdir("folder")
        os.close(os.open("file", os.O_CREAT, 0o600))
        os.chdir("folder")
    os.chdir(before)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
        assert remove(str(top)) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_empty_leaves_the_folder_and_does_not_ask_who_made_it_anew(tmp_path: Path) -> None:
    folder = tmp_path / "wanted"
    folder.mkdir()
    identity = identity_of(folder.stat())
    (folder / "a").mkdir()
    assert empty(str(folder), identity) == []
    folder.rename(tmp_path / "old")
    folder.mkdir()
    (folder / "b").touch()
    assert empty(str(folder), identity) == []
    assert os.listdir(folder) == []


def test_another_device_below_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "top/sub").mkdir(parents=True)
    (tmp_path / "top/sub/precious").touch()
    (tmp_path / "top/mine").touch()
    sweep = _Sweep(device=-1)  # as if the folder lay on another one than what is in it
    sweep.empty(os.open(tmp_path / "top", os.O_RDONLY), str(tmp_path / "top"))
    assert sweep.remaining == [Remaining(f"{tmp_path}/top/sub", ANOTHER)]
    assert os.listdir(tmp_path / "top") == ["sub"]


def test_what_stays_is_told_with_the_first_names() -> None:
    assert told([]) == ""
    some = [Remaining(f"/t/{n}", "why") for n in range(5)]
    assert told(some[:1]) == "could not be removed: '/t/0' (why)"
    assert told(some) == (
        "could not be removed: '/t/0' (why), '/t/1' (why), '/t/2' (why) and 2 more"
    )
