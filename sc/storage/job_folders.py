"""A job's own folder, `<outputs>/.sc/<name>`: for its owner alone, unless the outputs' folder is meant to be shared.

In it are the parts and the recipe, whose values may be secrets, what workers have said, and records. So the folder is
0700; where the outputs' folder was there before and its group (or everybody) may write to it, or it hands its group
down (setgid), they may use the job's folder too. What is in it is never wider than it is.
"""

from __future__ import annotations

import os
import stat
from typing import Optional

from sc import paths
from sc.widths import OPEN, Width

_INSIDE = f"/{paths.JOBS}/"


def width_in(path: str, width: Width = OPEN) -> Width:
    """For a file: `width`, and no wider than the job's folder that it is in, if it is in one."""
    folder = _job_folder(path)
    if folder is None:
        return width
    try:
        mode = os.stat(folder).st_mode
    except FileNotFoundError:
        mode = _mode(_outputs_of(folder))
    return width.and_(Width(mode & 0o666))


def make_folders(folder: str) -> None:
    """Make a folder and those above it, as `os.makedirs` does; a job's own with its mode."""
    job = _job_folder(folder + "/")
    if job is None:
        os.makedirs(folder, exist_ok=True)
        return
    mode = _mode(_outputs_of(job))  # before the outputs' folder is made, by us and by nobody's wish
    os.makedirs(os.path.dirname(job), exist_ok=True)
    _make(job, mode)
    mode = stat.S_IMODE(os.stat(job).st_mode) & 0o777
    below = job
    for name in os.path.relpath(folder, job).split("/"):
        if name != ".":
            below = os.path.join(below, name)
            _make(below, mode)


def narrow(job: str) -> None:
    """Give a job's folder that is there already, from an earlier version perhaps, no more than its mode."""
    try:
        status = os.stat(job)
        wanted = status.st_mode & ~0o777 | status.st_mode & _mode(_outputs_of(job))
        if wanted != status.st_mode and status.st_uid == os.geteuid():
            os.chmod(job, stat.S_IMODE(wanted))
    except OSError:
        return  # it is not there, or this file system knows no modes


def _make(folder: str, mode: int) -> None:
    try:
        os.mkdir(folder, mode)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise


def _job_folder(path: str) -> Optional[str]:
    """The job's folder that a file is in."""
    before, inside, after = path.rpartition(_INSIDE)
    name, slash, _ = after.partition("/")
    return f"{before}{inside}{name}" if inside and name and slash else None


def _outputs_of(job: str) -> str:
    return os.path.dirname(os.path.dirname(job)) or "/"


def _mode(outputs: str) -> int:
    """Of a job's folder, by the folder of the batch's outputs."""
    try:
        mode = os.stat(outputs).st_mode
    except OSError:
        return 0o700
    is_shared = mode & (stat.S_ISGID | stat.S_IWGRP)
    return 0o700 | (mode & 0o070 if is_shared else 0) | (mode & 0o007 if mode & 0o002 else 0)
