"""How a file appears at once: whole, or not at all.

    draft(path)  ->  write to draft.fd  ->  publish(path)       replaces what was there
                                        ->  publish_new(path)   only if nothing is there

Where the kernel can (`O_TMPFILE`: ext4, xfs, btrfs, tmpfs), a draft has no name until it is
published, so that a process killed in the middle leaves nothing behind. Elsewhere (NFS, macOS)
it is a file with a hidden name beside its target; listings never show it, and remove it when
it is a day old.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Optional

from sc.widths import OPEN, Width

HIDDEN = ".sc-tmp-"
"""How every name begins that is ours for a moment and nobody's object."""

_NO_TMPFILE = frozenset([errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS])
_NO_LINKS = frozenset(
    [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV]
)


class NoLinks(Exception):
    """This file system has no hard links."""


def hidden_prefix(writer: int) -> str:
    """How the names begin of what a process writes: whoever kills it knows by them what it has left half written."""
    return f"{HIDDEN}{writer}-"


def hidden_name(folder: str) -> str:
    """A name in `folder` that nobody else has."""
    return os.path.join(folder, hidden_prefix(os.getpid()) + secrets.token_hex(12))


def write_all(fd: int, data: bytes) -> None:
    """Write all of it: `os.write` may stop half-way, at 2 GiB or on a full disk."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Draft:
    """A file being written that nobody sees yet. Use `draft`, which also tidies up."""

    TMPFILE = getattr(os, "O_TMPFILE", 0)
    """The flag for files without a name, or 0 where the kernel has none."""

    def __init__(self, folder: str, width: Width = OPEN) -> None:
        self._folder = folder
        self._width = width
        self._name: Optional[str] = None
        self.fd = self._open()
        width.settle(self.fd)

    def _open(self) -> int:
        if self.TMPFILE:
            try:
                flags = self.TMPFILE | os.O_RDWR | os.O_CLOEXEC
                return os.open(self._folder, flags, self._width.surely)
            except OSError as error:
                if error.errno not in _NO_TMPFILE:
                    raise
        self._name = hidden_name(self._folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(self._name, flags, self._width.surely)

    def publish(self, path: str) -> None:
        """Become `path`, replacing what was there at one instant."""
        if self._name is None:
            try:
                self._link(path)
                return
            except FileExistsError:
                self._give_a_name()
            except NoLinks:  # no /proc here: start over with a file that has a name
                self._give_a_name()
        self._close()  # a full NFS server says so here, which must be before the rename
        assert self._name is not None
        os.replace(self._name, path)
        self._name = None

    def publish_new(self, path: str) -> bool:
        """Become `path` if nothing is there, else say False. Raises NoLinks where it cannot."""
        inode = os.fstat(self.fd).st_ino
        if self._name is not None:
            os.fsync(self.fd)  # over NFS the content must be there before the name is
        try:
            self._link(path)
        except FileExistsError:
            # An NFS client whose first answer was lost meets its own link.
            return self._name is not None and os.lstat(path).st_ino == inode
        return True

    def discard(self) -> None:
        """Leave nothing behind. May be called at any time, and after publishing."""
        try:
            self._close()  # a full NFS server says so here
        finally:
            if self._name is not None:
                with suppress(FileNotFoundError):
                    os.unlink(self._name)
                self._name = None

    def link(self, source: str, path: str, folder: Optional[int]) -> None:
        """Make a hard link, as `os.link` does."""
        os.link(source, path, src_dir_fd=folder)

    def _link(self, path: str) -> None:
        try:
            if self._name is not None:
                self.link(self._name, path, None)
            else:
                # A directory makes Python call linkat(AT_SYMLINK_FOLLOW), which this trick needs;
                # the path is absolute, so it does not matter which one.
                self.link(f"/proc/self/fd/{self.fd}", path, self.fd)
        except FileNotFoundError:
            if self._name is None and not os.path.exists("/proc/self/fd"):
                raise NoLinks from None
            raise
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise NoLinks from error
            raise

    def _give_a_name(self) -> None:
        name = hidden_name(self._folder)
        try:
            self._link(name)
        except NoLinks:
            self._copy_to(name)
        self._name = name

    def _copy_to(self, name: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, flags, self._width.surely)
        self._name = name
        before = os.fstat(self.fd)
        os.lseek(self.fd, 0, os.SEEK_SET)
        while chunk := os.read(self.fd, 1 << 20):
            write_all(fd, chunk)
        with suppress(OSError):
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fchmod(fd, stat.S_IMODE(before.st_mode))
        self._close()
        self.fd = fd

    def _close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


@contextmanager
def draft(
    path: str,
    width: Width = OPEN,
    make: Callable[[str], None] = lambda folder: os.makedirs(folder, exist_ok=True),
) -> Iterator[Draft]:
    """A draft in the folder of `path`, which `make` makes if it is not there."""
    folder = os.path.dirname(path) or "."
    try:
        made = Draft(folder, width)
    except FileNotFoundError:
        make(folder)
        made = Draft(folder, width)
    try:
        yield made
    finally:
        made.discard()
