"""The bytes of a file from a stranger: opened without hanging, read in pieces, as UTF-8 text.

A source keeps its file open and can be read again and again from the start, so the path may be
removed or replaced meanwhile. Whether somebody wrote into the file itself is noticed and told.
"""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
import weakref
from collections.abc import Iterator
from typing import BinaryIO, Optional

from sc.documents.problems import shown
from sc.errors import InputError
from sc.widths import OPEN, Width, width_of

PIECE = 256 * 1024
"""Bytes that are read at a time."""
_BEGINNING = 64 * 1024
_MOST_FROM_STDIN = 16 * 1024**3
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
"""How compressed files begin."""


class Source:
    """An open, regular file. `name` is what people see; `is_stream` says that it came through a pipe; `width` is who
    may read what it came from."""

    def __init__(
        self, descriptor: int, name: str, is_stream: bool = False, width: Width = OPEN
    ) -> None:
        self.name = name
        self.is_stream = is_stream
        self.width = width
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self.size = os.fstat(descriptor).st_size
        self._state = self._state_now()

    def text(self) -> Iterator[str]:
        """The whole text in pieces, from the start.

        Raises InputError for what is not UTF-8, and when the file has changed since it was opened.
        """
        self.check_unchanged()
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        offset, ended = 0, False
        while not ended:
            piece = self._read(offset)
            ended = not piece
            try:
                decoded = decoder.decode(piece, final=ended)
            except UnicodeDecodeError as error:
                raise self._not_utf8(offset + len(piece) - len(error.object), error) from None
            offset += len(piece)
            if decoded:
                yield decoded
        self.check_unchanged()

    def beginning(self) -> str:
        """Enough of the text to see what kind it is; wrong bytes are replaced."""
        return os.pread(self._descriptor, _BEGINNING, 0).decode("utf-8-sig", "replace")

    def packed_by(self) -> str:
        """The word for how the bytes are compressed; empty if they are not."""
        begin = os.pread(self._descriptor, 6, 0)
        return next((word for magic, word in _PACKED.items() if begin.startswith(magic)), "")

    def check_unchanged(self) -> None:
        if self._state_now() != self._state:
            raise InputError(
                f"{self.name}: the file was changed while sc was reading it; start again."
            )

    def _read(self, offset: int) -> bytes:
        try:
            return os.pread(self._descriptor, PIECE, offset)
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {error.strerror}.") from error

    def _state_now(self) -> tuple[int, int]:
        now = os.fstat(self._descriptor)
        return now.st_size, now.st_mtime_ns

    def _not_utf8(self, offset: int, error: UnicodeDecodeError) -> InputError:
        """`offset` is where the bytes that were being decoded begin in the file."""
        if os.pread(self._descriptor, 2, 0) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return InputError(f"{self.name}: is written in UTF-16; save it as UTF-8.")
        byte = error.object[error.start]
        return InputError(
            f"{self.name}: is not UTF-8 text (byte 0x{byte:02x} at offset {offset + error.start}); "
            "save it as UTF-8."
        )


def open_file(path: str, name: str) -> Source:
    """Raises InputError for what is missing, may not be read, or is no regular file."""
    if "\0" in path:
        raise InputError(f"{shown(path)} is no name of a file: it contains a NUL character.")
    try:
        # O_NONBLOCK: a pipe that nobody writes to would hold us up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file.") from None
    except (OSError, UnicodeEncodeError) as error:
        reason = getattr(error, "strerror", None) or "its name is no text"
        raise InputError(f"{name}: cannot be opened: {reason}.") from None
    kind = _kind(os.fstat(descriptor).st_mode)
    if kind:
        os.close(descriptor)
        raise InputError(f"{name}: is {kind}.")
    return Source(descriptor, name, width=width_of(descriptor))


def spool(stream: BinaryIO, name: str) -> Source:
    """Keep what comes from a pipe in a nameless temporary file, which is gone with the source."""
    try:
        with tempfile.TemporaryFile(prefix="sc-") as kept:
            size = 0
            for piece in iter(lambda: stream.read(PIECE), b""):
                size += len(piece)
                if size > _MOST_FROM_STDIN:
                    raise InputError(f"{name}: is larger than 16 GiB; give it as a file.")
                kept.write(piece)
            kept.flush()
            return Source(os.dup(kept.fileno()), name, is_stream=True, width=_width(stream))
    except OSError as error:
        raise InputError(
            f"{name}: cannot be kept in {tempfile.gettempdir()}: {error.strerror}."
        ) from error


def _width(stream: BinaryIO) -> Width:
    """Of a file that was connected to standard input; a pipe says nothing of who may read what."""
    try:
        descriptor = stream.fileno()
        return width_of(descriptor) if stat.S_ISREG(os.fstat(descriptor).st_mode) else OPEN
    except (OSError, ValueError):
        return OPEN


def _kind(mode: int) -> Optional[str]:
    """What a thing is that is not a regular file."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "a folder; name a file in it"
    if stat.S_ISFIFO(mode):
        return "a pipe; name it `-` and connect it to standard input"
    return "a device or a socket, not a file"
