"""A file copied on this machine, with its mode, its time of change and its holes."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from sc.storage.atomic_files import Draft, write_all

_CHUNK = 1 << 20
_MOST_AT_ONCE = 1 << 30
"""Of `copy_file_range`, which takes 2 GiB at most."""
_NO_KERNEL_COPY = frozenset(
    [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM]
)


def copy(source: int, target: Draft) -> None:
    """Fill a draft, which is private, with as many bytes as the open file has now (it may grow), or as there still are.

    A file system that can share the blocks does so. The set-user-id bits stay behind, as the owner does.
    """
    status = os.fstat(source)
    if status.st_blocks * 512 >= status.st_size:
        _copy_data(source, target.fd, 0, status.st_size)
    else:
        _copy_around_holes(source, target.fd, status.st_size)
    with suppress(OSError):  # a file system may know neither
        os.utime(target.fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fchmod(target.fd, stat.S_IMODE(status.st_mode) & 0o777)


def _copy_around_holes(source: int, target: int, size: int) -> None:
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
            end = min(size, os.lseek(source, start, os.SEEK_HOLE))
        except OSError as error:
            if error.errno != errno.ENXIO:  # this file system tells no holes
                _copy_data(source, target, end, size)
            break  # else there is no more data
        if start >= size:
            break
        _copy_data(source, target, start, end)
    os.ftruncate(target, min(size, os.fstat(source).st_size))


def _copy_data(source: int, target: int, start: int, end: int) -> None:
    """From byte `start` on, to byte `end` or to the end of the file."""
    kernel_copy = getattr(os, "copy_file_range", None)
    while kernel_copy is not None and start < end:
        try:
            done = kernel_copy(source, target, min(_MOST_AT_ONCE, end - start), start, start)
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
            break
        if not done:
            break  # at its end, or on a file system that copies nothing so
        start += done
    os.lseek(target, start, os.SEEK_SET)
    while start < end:
        data = os.pread(source, min(_CHUNK, end - start), start)
        if not data:
            return
        write_all(target, data)
        start += len(data)
