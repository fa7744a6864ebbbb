"""Sparse files in archives: only what lies between the holes is in the archive, and a header says where it belongs.

The header is one of ours, and not GNU's for sparse files: the standard library cannot write those, and a reader that
knows one short header has less to fear from an archive.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO, Optional

HEADER = "SC.sparse"
MOST_PIECES = 1000
_BLOCK = 512

Pieces = Sequence[tuple[int, int]]
"""Offsets and lengths of what is no hole, in order. None at all: the file is packed as any other."""


def find(descriptor: int, state: os.stat_result) -> Pieces:
    """What is no hole in the file, if it has any holes. An empty last piece stands for a hole at the end."""
    size = state.st_size
    if state.st_blocks * _BLOCK >= size or not hasattr(os, "SEEK_DATA"):
        return []
    pieces: list[tuple[int, int]] = []
    place = 0
    while place < size and len(pieces) < MOST_PIECES - 1:
        try:
            start = os.lseek(descriptor, place, os.SEEK_DATA)
            place = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
        except OSError:  # nothing but a hole from here on
            start = place = size
        if start < place:
            pieces.append((start, place - start))
    pieces.append((place, size - place))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return [] if pieces[0] == (0, size) else pieces


def header(size: int, pieces: Pieces) -> str:
    """The value of the header."""
    return " ".join(map(str, (size, *(number for piece in pieces for number in piece))))


def read(text: str, length: int) -> Optional[tuple[int, Pieces]]:
    """The size of the file and the pieces of it that are `length` bytes together; None if that is nonsense."""
    words = text.split(" ", 2 * MOST_PIECES + 1)
    if not len(words) % 2 or not all(word.isascii() and word.isdigit() for word in words):
        return None
    if any(len(word) > 19 for word in words):
        return None
    size, *numbers = map(int, words)
    pieces = list(zip(numbers[::2], numbers[1::2]))
    end = 0
    for start, count in pieces:
        if start < end:
            return None
        end = start + count
    if not end <= size < 2**63 or sum(count for _, count in pieces) != length:
        return None
    return size, pieces


class Reader:
    """The pieces of a file, one after the other."""

    def __init__(self, file: BinaryIO, pieces: Pieces) -> None:
        self._file = file
        self._pieces = iter(pieces)
        self._left = 0

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end only."""
        data = b""
        while len(data) < size:
            while not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    return data
                self._file.seek(piece[0])
                self._left = piece[1]
            more = self._file.read(min(size - len(data), self._left))
            if not more:
                return data
            self._left -= len(more)
            data += more
        return data
