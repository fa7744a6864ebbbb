"""Who removes the temporary folder of an execution."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from sc.executor.folder import LAST_OUT_SECONDS, LOCK, Membership, TemporaryFolder


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
