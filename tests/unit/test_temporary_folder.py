"""Who removes the temporary folder of an execution."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from pathlib import Path

import pytest

from sc.executor.folder import LAST_OUT_SECONDS, LOCK, PREFIX, Membership, TemporaryFolder
from sc.executor.messages import ALL, Left, Save


def test_members_of_a_living_loop_leave_at_once_and_the_folder_to_it(tmp_path: Path) -> None:
    folder = TemporaryFolder(str(tmp_path))
    first, second = Membership(folder.path), Membership(folder.path)
    begun = time.monotonic()
    first.leave()
    assert time.monotonic() - begun < LAST_OUT_SECONDS / 2
    second.leave()
    assert os.path.isdir(folder.path)
    folder.remove()
    assert os.listdir(tmp_path) == []


def test_the_last_member_of_a_dead_loop_removes_the_folder(tmp_path: Path) -> None:
    folder = TemporaryFolder(str(tmp_path))
    member = Membership(folder.path)
    fcntl.flock(folder._lock, fcntl.LOCK_UN)  # as its death does
    assert os.path.exists(f"{folder.path}/{LOCK}")
    member.leave()
    assert os.listdir(tmp_path) == []


def test_the_folder_of_a_dead_loop_is_left_to_the_members_that_live(tmp_path: Path) -> None:
    """One that is frozen would take what it finds removed for a run without results."""
    folder = TemporaryFolder(str(tmp_path))
    member = Membership(folder.path)
    fcntl.flock(folder._lock, fcntl.LOCK_UN)
    TemporaryFolder(str(tmp_path)).remove()
    assert os.listdir(tmp_path) == [os.path.basename(folder.path)]
    member.leave()
    assert os.listdir(tmp_path) == []


def test_what_an_execution_left_that_died_in_its_first_moment_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}unlocked").mkdir()
    (tmp_path / f"{PREFIX}kept/3").mkdir(parents=True)  # could not be moved, so that its lock went
    living = TemporaryFolder(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(living.path), f"{PREFIX}kept"])
    living.remove()


def test_who_is_not_alone_lets_folders_be_that_may_get_their_lock_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sc.executor.folder.ALONE_SECONDS", 0.0)
    (tmp_path / f"{PREFIX}unlocked").mkdir()
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)  # as another does while it makes its own
    TemporaryFolder(str(tmp_path)).remove()
    assert os.listdir(tmp_path) == [f"{PREFIX}unlocked"]
    os.close(other)


def test_results_on_another_file_system_are_kept_whatever_lies_among_them(tmp_path: Path) -> None:
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("/dev/shm is no file system of its own")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        results = Path(elsewhere, "results")
        (results / "deep").mkdir(parents=True)
        (results / "deep/file").write_text("made")
        (results / "link").symlink_to("/etc")
        os.mkfifo(results / "pipe")
        folder = TemporaryFolder(str(tmp_path))
        save = Save(1, ALL, "s3://b/x", Left(None, str(results), (1, 1)), 0)
        kept = Path(folder.keep([save], None))
        folder.remove()
        assert os.listdir(elsewhere) == []
    assert os.listdir(tmp_path) == [kept.name]
    assert sorted(os.listdir(kept / "1/results")) == ["deep", "link"]
    assert (kept / "1/results/deep/file").read_text() == "made"
    assert (kept / "1/run.json").exists()
