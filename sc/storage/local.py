"""Outputs and jobs in a folder of this machine, or one that is mounted on many (NFS, Lustre, …)."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Callable, Optional

from sc.errors import InputError, MissingError
from sc.storage import Entry, job_folders
from sc.storage.atomic_files import Draft, NoLinks, draft, write_all
from sc.storage.local_clock import FolderClock
from sc.storage.local_copies import copy
from sc.storage.local_errors import opened, told
from sc.storage.local_listing import holds_any, walk
from sc.storage.places import Folder, Location, child
from sc.storage.tickets import ABSENT, Tickets, fresh_status, tag_of
from sc.widths import OPEN, PRIVATE, Width

_LEFTOVER_SECONDS = 24 * 3600.0
_STALE_HANDLE_TRIES = 5


class LocalStorage:
    """A Storage whose objects are files. `resolve` tells which folder a place is."""

    def __init__(
        self,
        resolve: Callable[[str], Location],
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._resolve = resolve
        self._clock = FolderClock(monotonic, wall)
        self._tickets = Tickets(self._clock.age_of, monotonic, pause)

    def local_path(self, place: str) -> Optional[str]:
        return self._path(place)

    def check(self, place: str) -> None:
        path = os.path.abspath(self._path(place))
        with told(place, "written"):
            while not os.path.lexists(path):
                path = os.path.dirname(path)
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, "")
            if not os.access(path, os.W_OK | os.X_OK):
                read_only = os.statvfs(path).f_flag & os.ST_RDONLY
                raise OSError(errno.EROFS if read_only else errno.EACCES, "")
            if is_full(os.statvfs(path)):
                raise OSError(errno.ENOSPC, "")

    def check_conditions(self, place: str) -> None:
        """They hold on every file system, see `sc.storage.tickets`."""
        self._resolve(place)

    def put(self, place: str, data: bytes, width: Width = OPEN) -> str:
        path = self._file(place)
        with told(place, "written"), _draft(path, width) as new:
            write_all(new.fd, data)
            tag = tag_of(os.fstat(new.fd))
            new.publish(path)
            return tag

    def put_file(self, place: str, path: str) -> None:
        target = self._file(place)
        with opened(path) as source, told(place, "written"), _draft(target, PRIVATE) as new:
            copy(source, new)
            _narrow(new, target)
            new.publish(target)

    def moved(self) -> int:
        return 0  # what is written to files the system counts

    def get(self, place: str, start: int = 0) -> bytes:
        path = self._file(place)
        with told(place, "read"):
            for tries_left in range(_STALE_HANDLE_TRIES - 1, -1, -1):
                try:
                    return _read(place, path, start)
                except OSError as error:
                    # Over NFS: another machine replaced the file between our open and our read.
                    if error.errno != errno.ESTALE or not tries_left:
                        raise
        raise AssertionError("the loop above returns or raises")

    def get_file(self, place: str, path: str, size: Optional[int] = None) -> None:
        with told(place, "read"):
            source = _open(place, self._file(place))
        try:
            with told(path, "written"), _draft(path, PRIVATE) as new:
                copy(source, new)
                new.publish(path)
        finally:
            os.close(source)

    def stat(self, place: str) -> Optional[Entry]:
        path = self._file(place)
        with told(place, "read"):
            status = fresh_status(path)
            if status is None:
                return None
            return self._entry(place, os.path.dirname(path) or ".", status)

    def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Entry]:
        root = self._path(place)
        bounds = os.fsencode(start_after), os.fsencode(end_before)
        above = child(place, "")
        refused: list[OSError] = []
        with told(place, "listed"):
            for key, status in walk(
                os.fsencode(root), *bounds, self._remove_leftover, refused.append
            ):
                yield self._entry(above + os.fsdecode(key), root, status)
        for error in refused[:1]:  # now that all the others are listed
            named = error.filename or root
            with told(os.fsdecode(named), "listed"):
                raise error

    def list_folders(self, place: str) -> Iterator[str]:
        root = os.fsencode(self._path(place))
        with told(place, "listed"):
            try:
                entries = os.scandir(root)
            except (FileNotFoundError, NotADirectoryError):
                return
            with entries:
                found = [e.name + b"/" for e in entries if e.is_dir(follow_symlinks=False)]
            for name in sorted(found):
                with suppress(PermissionError):  # the job of another user
                    if holds_any(os.path.join(root, name)):
                        yield os.fsdecode(name[:-1])

    def delete(self, places: Iterable[str]) -> None:
        for place in places:
            path = self._file(place)
            with told(place, "removed"), suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(path)

    def create(self, place: str, data: bytes) -> Optional[str]:
        path = self._file(place)
        with told(place, "written"):
            if os.path.lexists(path):
                if os.path.isdir(path):
                    raise IsADirectoryError(errno.EISDIR, "")
                return None
            with _draft(path) as new:
                write_all(new.fd, data)
                tag = tag_of(os.fstat(new.fd))
                try:
                    return tag if new.publish_new(path) else None
                except NoLinks:
                    return self._tickets.swap(path, new, ABSENT)

    def replace(self, place: str, data: bytes, tag: str) -> Optional[str]:
        path = self._file(place)
        with told(place, "written"):
            status = fresh_status(path)
            if status is None or tag_of(status) != tag:
                return None
            with _draft(path) as new:
                write_all(new.fd, data)
                return self._tickets.swap(path, new, tag)

    def _path(self, place: str) -> str:
        location = self._resolve(place)
        assert isinstance(location, Folder), "the router gives folders to this kind"
        return location.path

    def _file(self, place: str) -> str:
        path = self._path(place).rstrip("/")
        if not path:
            raise InputError(f"The place '{place}' is the root folder: name something below it.")
        return path

    def _entry(self, place: str, folder: str, status: os.stat_result) -> Entry:
        """`folder` is one on the same file system, to learn its time from."""
        return Entry(place, status.st_size, tag_of(status), *self._clock.age(folder, status))

    def _remove_leftover(self, hidden: bytes) -> None:
        """Remove a draft whose writer was killed: nobody has written to it for a day."""
        path = os.fsdecode(hidden)
        try:
            if self._clock.age_of(path) > _LEFTOVER_SECONDS:
                os.unlink(path)
        except OSError:
            pass  # a listing must not fail for the sake of tidiness


def _draft(path: str, width: Width = OPEN) -> AbstractContextManager[Draft]:
    """A draft of an object, which in a job's own folder is no wider than that."""
    return draft(path, job_folders.width_in(path, width), job_folders.make_folders)


def _narrow(new: Draft, path: str) -> None:
    """Give a copy, which has its source's mode, no more than the job's folder has that it is for."""
    width = job_folders.width_in(path)
    if width != OPEN:
        os.fchmod(new.fd, os.fstat(new.fd).st_mode & (0o700 | width.mode))


def is_full(disk: os.statvfs_result) -> bool:
    """True when this user can neither write a byte, nor make a file, on a disk that counts these at all."""
    free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
    return (disk.f_blocks > 0 and free == 0) or (disk.f_files > 0 and disk.f_favail == 0)


def _open(place: str, path: str) -> int:
    """Open a regular file; nothing else is an object. O_NONBLOCK: never wait on a pipe."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise MissingError(f"There is no object at {place}, but a folder: name a file in it.")
    return fd


def _read(place: str, path: str, start: int) -> bytes:
    fd = _open(place, path)
    with os.fdopen(fd, "rb") as file:
        file.seek(start if start >= 0 else max(0, os.fstat(fd).st_size + start))
        return file.read()
