"""An archive (tar.gz) -> files below a folder, believing nothing that the archive says.

All of it is looked at before the first file is written. tarfile's own filters would do a part of
this, but the Python 3.9 of bare machines often lacks them.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, BinaryIO, NamedTuple, Optional

from sc.archives import holes
from sc.archives.links import leads_out
from sc.errors import InputError

_PIECE = 256 * 1024
_LONGEST_HEADER = 1024 * 1024
_DAMAGES = (
    *(tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError),
    # tarfile calls itself for each header before a member, and reads some of them where they have ended.
    *(RecursionError, LookupError),
)


def unpack(archive: str, destination: str) -> int:
    """Write the archive's content below the folder `destination`, which is made; returns the files.

    What is there with the same names is replaced, so nobody may be using it (see `trees`). Files get the present time,
    so that nobody's cache takes them for an older version. Raises InputError, before anything is written, for an
    archive that is damaged, holds anything but files, folders and links, leaves the destination, or does not fit
    there. Links alone are made before it is seen where they lead; if one leads out, none of them is left.
    """
    os.makedirs(destination, exist_ok=True)
    top = os.path.realpath(destination)
    with _told(archive):
        _check_all(archive, top)
        files, links = 0, {}  # by path: of two links of one name the last one counts
        for member in _members(archive):
            path = os.path.join(top, member.name)
            if member.info.isdir():
                os.makedirs(path, exist_ok=True)
                os.chmod(path, member.info.mode & 0o777 | 0o700)
            elif member.info.issym():
                links[path] = member.info.linkname
            else:
                _write(path, member)
                files += 1
        _make_links(top, links)
        return files


def _check_all(archive: str, top: str) -> None:
    """Read the archive to its end, and write nothing."""
    free = shutil.disk_usage(top).free
    links: set[str] = set()
    for member in _members(archive):
        free -= member.info.size - _size_there(top, member)
        if free < 0:  # told before the content is read: it may be petabytes of zeros
            raise _Refused("needs more space than there is")
        if member.content is not None:
            _check_length(member.content, member.info)
        above = next((one for one in _folders_above(member.name) if one in links), None)
        if above is not None:
            raise _Refused(f"holds {member.name!r} below {above!r}, which is a link")
        if member.info.issym():
            links.add(member.name)


class _Refused(Exception):
    """The archive is not unpacked; says why. Never leaves this module."""


class _Member(NamedTuple):
    info: tarfile.TarInfo
    name: str
    """Relative, without dots; empty for the destination itself."""
    content: Optional[IO[bytes]]
    sparse: Optional[tuple[int, holes.Pieces]] = None
    """Of a file with holes: its size, and where its content belongs."""


@contextmanager
def _told(archive: str) -> Iterator[None]:
    try:
        yield
    except _Refused as refused:
        raise InputError(f"The archive {archive} is not unpacked: it {refused}.") from None
    except _DAMAGES as error:
        raise InputError(f"The archive {archive} is damaged ({error}); pack it again.") from error
    except OSError as error:
        raise InputError(f"The archive {archive} cannot be unpacked: {error}.") from error


class _Bounded(gzip.GzipFile):
    """The decompressed archive; headers that claim to be gigabytes, or are, are not read into memory."""

    left = _LONGEST_HEADER
    """Bytes that may be read till the next member."""

    def read(self, size: Optional[int] = -1) -> bytes:
        if size is None or not 0 <= size <= self.left:
            raise _Refused("has a header without end")
        self.left -= size
        return super().read(size)


def _members(archive: str) -> Iterator[_Member]:
    """What the archive holds, each checked on its own."""
    with _Bounded(archive, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        position = -1
        while True:
            file.left = _LONGEST_HEADER
            info = tar.next()
            if info is None:
                while file.read(_PIECE):  # to the checksum at the end
                    pass
                return
            tar.members = []  # type: ignore[attr-defined] # it would remember every file
            if info.offset <= position or info.size < 0:
                raise _Refused("leads back to its beginning")  # CVE-2025-8194, open in Python 3.9
            position = info.offset
            name = _checked_name(info)
            content = tar.extractfile(info) if info.isreg() else None
            file.left = info.size
            yield _Member(info, name, content, _sparse(info))


def _sparse(info: tarfile.TarInfo) -> Optional[tuple[int, holes.Pieces]]:
    text = info.pax_headers.get(holes.HEADER)
    found = holes.read(text, info.size) if text is not None else None
    if text is not None and (found is None or not info.isreg()):
        raise _Refused(f"holds {info.name[:200]!r}, whose holes cannot be")
    return found


def _checked_name(info: tarfile.TarInfo) -> str:
    shown = repr(info.name[:200])
    if not (info.isreg() or info.isdir() or info.issym()) or info.issparse():
        raise _Refused(f"holds {shown}, which is no file, folder or symbolic link")
    parts = [part for part in info.name.split("/") if part not in ("", ".")]
    if info.name.startswith("/") or ".." in parts or "\0" in info.name:
        raise _Refused(f"holds {shown}, which leads out of the destination")
    if not parts and not info.isdir():
        raise _Refused(f"holds {shown}, which is no name")
    if info.issym() and (os.path.isabs(info.linkname) or "\0" in info.linkname):
        raise _Refused(f"holds the link {shown}, which leads out of the destination")
    return "/".join(parts)


def _check_length(content: IO[bytes], info: tarfile.TarInfo) -> None:
    length = 0
    for piece in iter(lambda: content.read(_PIECE), b""):
        length += len(piece)
    if length != info.size:
        raise _Refused(f"ends in the middle of {info.name[:200]!r}")


def _size_there(top: str, member: _Member) -> int:
    """The size of what will be replaced. No link that is there may lead what we write elsewhere."""
    parts = member.name.split("/")
    path = top
    for part in parts if member.info.isdir() else parts[:-1]:
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise _Refused(f"holds {member.name!r}, but {path!r} is a link; remove that first")
    try:
        there = os.lstat(os.path.join(top, member.name))  # also tells of a name that is too long
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return there.st_size if member.info.isreg() else 0


def _folders_above(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _write(path: str, member: _Member) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(path, flags, member.info.mode & 0o777 | 0o600)
    with open(descriptor, "wb") as file:
        if member.content is not None and member.sparse is None:
            shutil.copyfileobj(member.content, file, _PIECE)
        elif member.content is not None and member.sparse is not None:
            _write_pieces(file, member.content, *member.sparse)
    os.chmod(path, member.info.mode & 0o777 | 0o600)  # whatever the umask is


def _write_pieces(file: BinaryIO, content: IO[bytes], size: int, pieces: holes.Pieces) -> None:
    for start, length in pieces:
        file.seek(start)
        left = length
        while left:
            data = content.read(min(left, _PIECE))
            left -= len(data)
            file.write(data)
    file.truncate(size)


def _make_links(top: str, links: Mapping[str, str]) -> None:
    """Last of all, so that nothing is written through them; and together they may not lead out."""
    made: list[str] = []
    for path, target in links.items():
        folder = os.path.dirname(path)
        if leads_out(folder, top):  # where `A` and `a` are one name, the names alone do not tell
            break
        os.makedirs(folder, exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)
        made.append(path)
    if len(made) < len(links) or any(leads_out(path, top) for path in made):
        for path in reversed(made):
            os.unlink(path)
        raise _Refused("holds links that lead out of the destination")
