"""Remove files and folders that runs have left, and nothing else.

- No link is followed. Each folder is opened relative to the one above it, with O_NOFOLLOW.
- No mount is crossed and nothing is unmounted. A folder is entered only after `rmdir` has refused it as not empty: of a
  mount point, also of one that shows a folder of the same file system, the kernel says EBUSY first. What has another
  `st_dev` all the same (a btrfs subvolume) stays, too.
- Permissions are changed only where they are in the way.

What stays is returned, so that somebody can be told. `rmdir` comes first also at the top: an empty folder costs one
system call.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, Optional

MOUNTED = "something is mounted there"
ANOTHER = "it is on another file system"
OPEN = "somebody still has it open"
"""Over NFS what is open gets such a name until it is closed, and is busy like a mount point."""
OPEN_PREFIX = ".nfs"
MOST_TOLD = 100
"""Of what stays in one folder; the rest is not told."""
_NAMED = 3
"""Of these, in a sentence."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)

Identity = tuple[int, int]
"""Device and inode."""


class Remaining(NamedTuple):
    """Something that could not be removed; the folders above it stay, too, and are not told."""

    path: str
    why: str

    @property
    def is_mount(self) -> bool:
        return self.why in (MOUNTED, ANOTHER)

    @property
    def is_passing(self) -> bool:
        """It goes by itself, or it is a folder into which something came meanwhile."""
        return self.why in (OPEN, os.strerror(errno.ENOTEMPTY))


def identity_of(status: os.stat_result) -> Identity:
    """Tells one folder from another that has taken its place."""
    return status.st_dev, status.st_ino


def told(remaining: Sequence[Remaining]) -> str:
    """A part of a sentence; empty where nothing stays."""
    if not remaining:
        return ""
    names = ", ".join(f"{one.path[:300]!r} ({one.why})" for one in remaining[:_NAMED])
    more = f" and {len(remaining) - _NAMED} more" if len(remaining) > _NAMED else ""
    return f"could not be removed: {names}{more}"


def remove(path: str) -> list[Remaining]:
    """Remove a file, a link, or a folder with all that is in it. No error matters: what stays is returned."""
    try:
        os.rmdir(path)
        return []
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        return _unlinked(path)
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            return [_remaining(path, error)]
    remaining = empty(path)
    if not remaining:
        try:
            os.rmdir(path)
        except OSError as error:
            return [_remaining(path, error)]
    return remaining


def empty(path: str, identity: Optional[Identity] = None) -> list[Remaining]:
    """Remove what is in a folder, and leave the folder. A link or a file in its place is left alone.

    `identity` is that of the folder that is meant. If another one is mounted in its place, that is left alone, too.
    """
    try:
        folder = _open(path)
    except OSError as error:
        return [] if error.errno in _NO_FOLDER else [_remaining(path, error)]
    status = os.fstat(folder)
    refusal = None if identity in (None, identity_of(status)) else _refusal(path)
    if refusal is not None:
        os.close(folder)
        return [_remaining(path, refusal)]
    sweep = _Sweep(status.st_dev)
    sweep.empty(folder, path)
    return sweep.remaining


@contextmanager
def temporary_folder(prefix: str, tell: Callable[[str], None]) -> Iterator[str]:
    """A folder in which a run leaves things. It goes at the end, by these rules; `tell` hears what stays."""
    path = tempfile.mkdtemp(prefix=prefix)
    try:
        yield path
    finally:
        remaining = remove(path)
        if remaining:
            tell(told(remaining))


class _Level(NamedTuple):
    """A folder between the one where it began and the one that is being emptied."""

    path: str
    name: str
    identity: Identity
    folders: list[str]
    """In it, that are not empty, and have still to be."""


class _Sweep:
    """Empties one folder: level by level, with one open file at a time, however deep it is."""

    def __init__(self, device: int) -> None:
        self.remaining: list[Remaining] = []
        self._device = device

    def empty(self, folder: int, path: str) -> None:
        """Takes over the descriptor."""
        levels = [self._level(folder, path, "")]
        while True:
            level = levels[-1]
            if level.folders:
                name = level.folders.pop()
                inner = self._enter(folder, name, f"{level.path}/{name}")
                if inner is not None:
                    os.close(folder)
                    folder = inner
                    levels.append(self._level(folder, f"{level.path}/{name}", name))
                continue
            levels.pop()
            outer = self._leave(folder, levels[-1]) if levels else None
            os.close(folder)
            if outer is None:
                return
            folder = outer
            self._remove_folder(folder, level)

    def _level(self, folder: int, path: str, name: str) -> _Level:
        """Remove the files in a folder and the empty folders."""
        folders = []
        try:
            with os.scandir(folder) as entries:
                found = [(one.name, one.is_dir(follow_symlinks=False)) for one in entries]
        except OSError as error:
            found = []
            self._stays(path, error)
        for below, is_folder in found:
            try:
                (os.rmdir if is_folder else os.unlink)(below, dir_fd=folder)
            except FileNotFoundError:
                pass
            except OSError as error:
                if is_folder and error.errno in _NOT_EMPTY:
                    folders.append(below)
                else:
                    self._stays(f"{path}/{below}", error)
        return _Level(path, name, identity_of(os.fstat(folder)), folders)

    def _enter(self, folder: int, name: str, path: str) -> Optional[int]:
        try:
            inner = _open(name, folder)
        except OSError as error:
            self._stays(path, error)
            return None
        if os.fstat(inner).st_dev == self._device:
            return inner
        os.close(inner)
        self._stays(path, None)
        return None

    def _leave(self, folder: int, above: _Level) -> Optional[int]:
        """The folder above, unless somebody has moved this one elsewhere meanwhile."""
        try:
            outer = os.open("..", _FOLDER, dir_fd=folder)
        except OSError as error:
            self._stays(above.path, error)
            return None
        if identity_of(os.fstat(outer)) == above.identity:
            return outer
        os.close(outer)
        self._stays(above.path, None)
        return None

    def _remove_folder(self, above: int, level: _Level) -> None:
        try:
            os.rmdir(level.name, dir_fd=above)
        except FileNotFoundError:
            pass
        except OSError as error:
            if not any(one.path.startswith(level.path + "/") for one in self.remaining):
                self._stays(level.path, error)

    def _stays(self, path: str, error: Optional[OSError]) -> None:
        if len(self.remaining) < MOST_TOLD:
            self.remaining.append(_remaining(path, error))


def _open(name: str, above: Optional[int] = None) -> int:
    """A folder, so that what is in it can be removed. Raises OSError where that is not possible."""
    try:
        folder = os.open(name, _FOLDER, dir_fd=above)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=above)
        folder = os.open(name, _FOLDER, dir_fd=above)
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder):
        try:
            os.fchmod(folder, 0o700)
        except OSError:
            os.close(folder)
            raise
    return folder


def _refusal(path: str) -> Optional[OSError]:
    """Why a folder may be a mount point; None if it is none. An empty one is away for a moment."""
    try:
        os.rmdir(path)
    except OSError as error:
        return None if error.errno in _NOT_EMPTY else error
    with suppress(OSError):
        os.mkdir(path)
    return None


def _unlinked(path: str) -> list[Remaining]:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        return [_remaining(path, error)]
    return []


def _remaining(path: str, error: Optional[OSError]) -> Remaining:
    if error is None:
        return Remaining(path, ANOTHER)
    if error.errno == errno.EBUSY:
        is_open = os.path.basename(path).startswith(OPEN_PREFIX)
        return Remaining(path, OPEN if is_open else MOUNTED)
    return Remaining(path, error.strerror or str(error))
