"""A folder -> an archive (tar.gz), the same bytes for the same content.

So an archive's hash can be its name. Times and owners are left out, modes are kept, and what
`sc.archives.ignoring` names is not packed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from sc.archives.ignoring import FILE, Ignored
from sc.archives.links import leads_out
from sc.errors import InputError

_TIME = 315_619_200
"""1980-01-02, for everything: zip archives, and so wheels, cannot hold anything older."""
_LEVEL = 6
_LINKS_TOLD = 10


class Packed(NamedTuple):
    """What `pack` has made."""

    sha256: str
    size: int
    """Bytes of the archive."""
    files: int


class _Item(NamedTuple):
    path: str
    name: str
    """Relative to the folder, with slashes."""
    state: os.stat_result


def pack(folder: str, archive: str) -> Packed:
    """Write the folder's content to a new file at `archive`.

    Raises InputError if something cannot be read, or if a link leads out of the folder.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is not a folder, so it cannot be packed; name a folder.")
    ignored = _rules(folder)
    _check_links(folder, ignored)
    files = 0
    with open(archive, "wb") as file:
        output = _Hashing(file)
        with (
            _gzip_writer(output) as compressed,
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for item in _items(folder, ignored):
                files += _add(tar, item)
                tar.members = []  # type: ignore[attr-defined] # it would remember every file
    return Packed(output.sha256.hexdigest(), output.size, files)


class _Hashing:
    """A file that knows the hash of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _gzip_writer(output: _Hashing) -> gzip.GzipFile:
    return gzip.GzipFile("", "wb", _LEVEL, output, mtime=0)


def _rules(folder: str) -> Ignored:
    path = os.path.join(folder, FILE)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return Ignored(file)
    except FileNotFoundError:
        return Ignored()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _items(folder: str, ignored: Ignored, below: str = "") -> Iterator[_Item]:
    """Everything to pack, each folder before its content, in the order of names."""
    try:
        with os.scandir(os.path.join(folder, below)) as entries:
            names = sorted(entry.name for entry in entries)
        for one in names:
            name = f"{below}/{one}" if below else one
            path = os.path.join(folder, name)
            state = os.lstat(path)
            is_folder = stat.S_ISDIR(state.st_mode)
            if not ignored.leaves_out(name, is_folder):
                yield _Item(path, name, state)
                if is_folder:
                    yield from _items(folder, ignored, name)
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror}); "
            f"make it readable, or name it in {os.path.join(folder, FILE)}."
        ) from error


def _check_links(folder: str, ignored: Ignored) -> None:
    top = os.path.realpath(folder)
    outside = [
        item.path
        for item in _items(folder, ignored)
        if stat.S_ISLNK(item.state.st_mode)
        and (os.path.isabs(os.readlink(item.path)) or leads_out(item.path, top))
    ]
    if outside:
        shown = ", ".join(outside[:_LINKS_TOLD])
        more = f" and {len(outside) - _LINKS_TOLD} more" if len(outside) > _LINKS_TOLD else ""
        raise InputError(
            f"{shown}{more}: such links lead out of the folder, to what other machines do not have; "
            f"replace them by what they lead to, or name them in {os.path.join(folder, FILE)}."
        )


def _add(tar: tarfile.TarFile, item: _Item) -> int:
    """Add one thing; returns how many files that is. Sockets, pipes and devices are left out."""
    mode = item.state.st_mode
    info = tarfile.TarInfo(item.name)
    info.mode = stat.S_IMODE(mode) & 0o777
    info.mtime = _TIME
    if stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif stat.S_ISLNK(mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(item.path), 0o777
        tar.addfile(info)
    elif stat.S_ISREG(mode):
        _add_file(tar, info, item.path)
        return 1
    return 0


def _add_file(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> None:
    try:
        with open(path, "rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            tar.addfile(info, file)
    except OSError as error:
        reason = error.strerror or "it became shorter meanwhile"
        raise InputError(f"{path} cannot be packed: {reason}.") from error
