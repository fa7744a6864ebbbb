"""The files below a folder, in the order of their keys' bytes, as an object storage lists them.

One folder's names are held at a time per level, nothing else. `a/` sorts with its slash, so that
`a.b` comes before `a/c` and `a0` after it, as it does in S3.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from typing import Callable

from sc.storage.atomic_files import HIDDEN

_HIDDEN = os.fsencode(HIDDEN)
_SLASH = ord("/")

Leftover = Callable[[bytes], None]
"""Told of every file with a hidden name: a draft or a ticket, perhaps of a killed process."""
Refused = Callable[[OSError], None]
"""Told of what may not be looked at, or cannot; all else is listed."""


def _raise(error: OSError) -> None:
    raise error


def walk(
    root: bytes,
    start_after: bytes,
    end_before: bytes,
    leftover: Leftover,
    refused: Refused = _raise,
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Each file's path below `root` and its status; the bounds are exclusive, `b""` is none.

    Symbolic links to files are listed if what they point to is below `root` too; links to
    folders are not entered. What vanishes meanwhile is left out.
    """
    base = root.rstrip(b"/") + b"/"
    names = partial(_names, start_after, end_before, leftover, refused)
    pending = [iter(names(root, b""))]
    while pending:
        key = next(pending[-1], None)
        if key is None:
            pending.pop()
        elif key[-1] == _SLASH:
            pending.append(iter(names(base + key, key)))
        else:
            status = _status(base, key, refused)
            if status is not None:
                yield key, status


def holds_any(folder: bytes) -> bool:
    """Whether there is any file below."""
    return next(walk(folder, b"", b"", lambda path: None), None) is not None


def _names(
    start_after: bytes,
    end_before: bytes,
    leftover: Leftover,
    refused: Refused,
    folder: bytes,
    prefix: bytes,
) -> list[bytes]:
    """The keys in one folder that are in the range, sorted; those of folders end with a slash."""
    keys = []
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        refused(error)
        return []
    with entries:
        for entry in entries:
            name = entry.name
            if name.startswith(_HIDDEN):
                leftover(entry.path)
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            key = prefix + name + b"/" if is_folder else prefix + name
            if end_before and key >= end_before:
                continue
            # a folder's keys are all longer than its own name, so one may lie in the range
            if key > start_after or (is_folder and start_after.startswith(key)):
                keys.append(key)
    keys.sort()
    return keys


def _status(base: bytes, key: bytes, refused: Refused) -> os.stat_result | None:
    path = base + key
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            inside = os.path.realpath(base).rstrip(b"/") + b"/"
            if not os.path.realpath(path).startswith(inside):
                return None
            status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        refused(error)
        return None
    return status if stat.S_ISREG(status.st_mode) else None
