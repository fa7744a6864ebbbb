"""What a file system's refusals mean, as sentences with a next step."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from sc.errors import MissingError, StorageError

_SENTENCES = {
    errno.EACCES: "{place} may not be {done}: give this user the permission, "
    "or choose another place.",
    errno.EROFS: "{place} cannot be {done}, its file system is read-only: choose another place.",
    errno.ENOSPC: "{place} cannot be {done}, the disk is full: free some space or inodes there, "
    "or choose another place.",
    errno.EDQUOT: "{place} cannot be {done}, your disk quota is used up: free some space there, "
    "or choose another place.",
    errno.EFBIG: "{place} cannot be {done}, it is larger than the file system or `ulimit -f` "
    "allows: raise the limit, or choose another place.",
    errno.ENOTDIR: "{place} cannot be {done}, a part of that path is a file and no folder: "
    "remove that file, or choose another place.",
    errno.EISDIR: "{place} cannot be {done}, there is a folder of that name: "
    "remove it, or choose another place.",
    errno.ENAMETOOLONG: "{place} cannot be {done}, a name in it is longer than the file system "
    "allows: choose a shorter one.",
    errno.ELOOP: "{place} cannot be {done}, its symbolic links go round in circles: repair them.",
    errno.EMFILE: "{place} cannot be {done}, this process has too many open files: "
    "raise `ulimit -n`.",
    errno.EILSEQ: "{place} cannot be {done}, its file system does not take such a name: "
    "choose another one.",
}
FINAL_ERRNOS = frozenset(
    [
        errno.EACCES,
        errno.EEXIST,
        errno.EFBIG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.EPERM,
    ]
)
"""Of a path or a permission, which will be as impossible in an hour. All else may pass: a full disk, a quota, one that
has turned read-only, a server that does not answer."""
_SAME = {
    errno.EPERM: errno.EACCES,
    errno.ENFILE: errno.EMFILE,
    errno.EEXIST: errno.ENOTDIR,  # of makedirs: a file is where a folder has to be
    errno.ENOTEMPTY: errno.EISDIR,
}

_LONGEST_TOLD = 200
"""Characters of a place that is too long for a file system, and for a sentence."""


@contextmanager
def told(place: str, done: str) -> Iterator[None]:
    """Turn an OSError inside into a StorageError. `done` is a participle: "written", "read"."""
    try:
        yield
    except FileNotFoundError as error:
        if done == "written":
            raise StorageError(
                f"{place} cannot be written, its folder was removed meanwhile: try again."
            ) from error
        raise MissingError(f"There is nothing at {place}: check the path.") from error
    except OSError as error:
        code = error.errno or 0
        sentence = _SENTENCES.get(_SAME.get(code, code))
        if sentence is None:
            reason = error.strerror or str(error)
            sentence = (
                "{place} cannot be {done} (" + _braced(reason) + "): "
                "check the disk or the mount that it is on."
            )
        if code == errno.ENAMETOOLONG and len(place) > _LONGEST_TOLD:
            place = f"{place[:_LONGEST_TOLD]}…"
        refused = StorageError(sentence.format(place=place, done=done))
        refused.is_final = code in FINAL_ERRNOS
        raise refused from error


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A file of this machine, open for reading. Raises StorageError for anything but a file."""
    with told(path, "read"):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never wait on a pipe
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StorageError(f"{path} cannot be read, it is no regular file: name one.")
        yield fd
    finally:
        os.close(fd)


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
