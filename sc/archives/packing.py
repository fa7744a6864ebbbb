"""A folder -> an archive (tar.gz), the same bytes for the same content.

So an archive's hash can be its name. Times and owners are left out, modes are kept, holes of sparse files stay holes,
hard links become files, and what `sc.archives.ignoring` names is not packed. What vanishes meanwhile is passed over.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

from sc.archives import holes
from sc.archives.ignoring import FILE, Ignored
from sc.archives.links import leads_out
from sc.errors import InputError, ScError

_TIME = 315_619_200
"""1980-01-02, for everything: zip archives, and so wheels, cannot hold anything older."""
_LEVEL = 6
_LINKS_TOLD = 10
_TRIES = 3
_GONE = (FileNotFoundError, NotADirectoryError)


class Packed(NamedTuple):
    """What `pack` has made."""

    sha256: str
    size: int
    """Bytes of the archive."""
    files: int
    skipped: tuple[str, ...] = ()
    """Paths of pipes, sockets and devices, which are not packed."""


class _Item(NamedTuple):
    path: str
    name: str
    """Relative to the folder, with slashes."""
    state: os.stat_result


def pack(folder: str, archive: str) -> Packed:
    """Write the folder's content to a new file at `archive`.

    Raises InputError if something cannot be read, or if a link leads out of the folder; ScError if the archive
    cannot be written.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is not a folder, so it cannot be packed; name a folder.")
    _check_links(folder)
    for _ in range(_TRIES - 1):
        with suppress(_Shrunk):
            return _pack(folder, archive)
    try:
        return _pack(folder, archive)
    except _Shrunk as shrunk:
        raise InputError(
            f"{shrunk} cannot be packed: it becomes shorter all the time; wait until it is written, "
            f"or name it in {os.path.join(folder, FILE)}."
        ) from None


class _Shrunk(Exception):
    """A file became shorter while it was packed; says which."""


def _pack(folder: str, archive: str) -> Packed:
    top, files, skipped = os.path.realpath(folder), 0, []
    with (
        _writing(folder, archive) as output,
        _gzip_writer(output) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        _add(tar, _Item(folder, ".", os.stat(folder)), top)
        for item in _items(folder, Ignored()):
            if _is_odd(item.state.st_mode):
                skipped.append(item.path)
            else:
                files += _add(tar, item, top)
            tar.members = []  # type: ignore[attr-defined] # it would remember every file
    return Packed(output.sha256.hexdigest(), output.size, files, tuple(skipped))


def _is_odd(mode: int) -> bool:
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


@contextmanager
def _writing(folder: str, archive: str) -> Iterator[_Hashing]:
    """The archive to be. What goes wrong with it says which disk it is that is full."""
    try:
        with open(archive, "wb") as file:
            yield _Hashing(file)
    except OSError as error:  # what cannot be read is an InputError
        raise ScError(
            f"{folder} cannot be packed: its archive is written to {os.path.dirname(archive)}, and there it says: "
            f"{error.strerror}. Make room there, or name another folder for temporary files in TMPDIR."
        ) from error


class _WriteError(OSError):
    """The archive's own disk says no; not what is packed."""


class _Hashing:
    """A file that knows the hash of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        try:
            return self._file.write(data)
        except OSError as error:
            raise _WriteError(error.errno, error.strerror) from error

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise _WriteError(error.errno, error.strerror) from error


def _gzip_writer(output: _Hashing) -> gzip.GzipFile:
    return gzip.GzipFile("", "wb", _LEVEL, output, mtime=0)


def _lines(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _items(folder: str, ignored: Ignored, below: str = "") -> Iterator[_Item]:
    """Everything to pack, each folder before its content, in the order of names."""
    try:
        names = _names(os.path.join(folder, below), is_top=not below)
        if FILE in names:
            depth = below.count("/") + 1 if below else 0
            ignored = ignored.below(depth, _lines(os.path.join(folder, below, FILE)))
        for one in names:
            name = f"{below}/{one}" if below else one
            path = os.path.join(folder, name)
            try:
                state = os.lstat(path)
            except _GONE:
                continue
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


def _names(folder: str, *, is_top: bool) -> list[str]:
    """In order; none if the folder has gone meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except _GONE:
        if is_top:
            raise
        return []


def _check_links(folder: str) -> None:
    top = os.path.realpath(folder)
    outside = [
        item.path
        for item in _items(folder, Ignored())
        if stat.S_ISLNK(item.state.st_mode) and leads_out(item.path, top)
    ]
    if outside:
        shown = ", ".join(outside[:_LINKS_TOLD])
        more = f" and {len(outside) - _LINKS_TOLD} more" if len(outside) > _LINKS_TOLD else ""
        raise InputError(
            f"{shown}{more}: such links lead out of the folder, to what other machines do not have; "
            f"replace them by what they lead to, or name them in {os.path.join(folder, FILE)}."
        )


def _add(tar: tarfile.TarFile, item: _Item, top: str) -> int:
    """Add one thing; returns how many files that is."""
    mode = item.state.st_mode
    info = tarfile.TarInfo(item.name)
    info.mode = stat.S_IMODE(mode) & 0o777
    info.mtime = _TIME
    if stat.S_ISREG(mode):
        return _add_file(tar, info, item.path)
    info.type = tarfile.DIRTYPE
    if stat.S_ISLNK(mode):
        try:
            target = os.readlink(item.path)
        except OSError:
            return 0  # it has gone, or is no link any more
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, _inside(target, item, top), 0o777
    tar.addfile(info)
    return 0


def _inside(target: str, item: _Item, top: str) -> str:
    """Where the link leads, from its own folder: the name and place of the top folder differ elsewhere."""
    at = os.path.dirname(item.name)
    lexically = os.path.normpath(os.path.join(at, target))
    if not os.path.isabs(target) and lexically.split("/")[0] != "..":
        return target
    path = os.path.join(top, at, target)
    last = os.path.basename(path)
    real = os.path.join(os.path.realpath(os.path.dirname(path)), last)
    if last in ("", ".", "..") or os.path.relpath(real, top).split("/")[0] == "..":
        real = os.path.realpath(path)
    return os.path.relpath(real, os.path.join(top, at))


def _add_file(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> int:
    """1, or 0 if it has gone meanwhile. It is packed with the length that it has when it is opened."""
    try:
        with open(path, "rb", opener=_opener) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                return 0
            info.size = state.st_size
            _copy(tar, info, file, holes.find(file.fileno(), state))
    except _GONE:
        return 0
    except _WriteError:
        raise
    except OSError as error:
        if error.errno is None:  # tarfile's word for an end that comes too soon
            raise _Shrunk(path) from error
        raise InputError(f"{path} cannot be packed: {error.strerror}.") from error
    return 1


def _opener(path: str, flags: int) -> int:
    """A pipe that has come in the place of a file holds nobody up."""
    return os.open(path, flags | os.O_NONBLOCK)


def _copy(
    tar: tarfile.TarFile, info: tarfile.TarInfo, file: BinaryIO, pieces: holes.Pieces
) -> None:
    if pieces:
        info.pax_headers = {holes.HEADER: holes.header(info.size, pieces)}
        info.size = sum(length for _, length in pieces)
        tar.addfile(info, holes.Reader(file, pieces))  # type: ignore[arg-type] # it is only read
    else:
        tar.addfile(info, file)
