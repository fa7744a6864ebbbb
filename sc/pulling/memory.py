"""What has been fetched into a folder: `DEST/.sc-pull`, two records of 16 bytes an object, the last ones counting.

In the first 8 bytes stand for the path, 8 for the object's size and tag and the file's time of change. So an object is
fetched again when it has changed, and also when somebody has changed the file here. In the second, 8 stand for the
object's place, 8 for the file's size and time: by it a file is known as ours when its object is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from array import array
from bisect import bisect_right
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from sc.errors import InputError

FILE = ".sc-pull"
_HEAD = b"sc pull 1\n      "
_BYTES = 16
"""Of a record, and of the head."""


class Item(NamedTuple):
    """An object, and where below DEST it goes."""

    place: str
    size: int
    tag: str
    path: str


class Memory:
    """Knows what an earlier pull has fetched, and notes what this one fetches."""

    def __init__(self, dest: str) -> None:
        """Raises InputError if the folder cannot be used, or another pull is at work in it."""
        try:
            os.makedirs(dest, exist_ok=True)
            self._file: BinaryIO = open(os.path.join(dest, FILE), "a+b")  # noqa: SIM115
        except OSError as error:
            raise InputError(
                f"{dest} cannot be written to ({error.strerror}); name another DEST"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise InputError(f"another 'sc pull' is writing to {dest}; name another DEST") from None
        self._keys, self._versions = self._read()
        self._seen = bytearray(len(self._keys))

    def has(self, item: Item, modified: int) -> bool:
        """Whether the file that is here, last changed then, is this object as it is now."""
        if modified < 0:
            return False
        number = self._find(_number(item.path))
        return number >= 0 and self._versions[number] == _version(item, modified)

    def has_unseen(self) -> bool:
        """Whether there are objects that an earlier pull has fetched and `see` was not told of."""
        last = len(self._keys) - 1
        return any(
            not seen and (number == last or self._keys[number] != self._keys[number + 1])
            for number, seen in enumerate(self._seen)
        )

    def is_empty(self) -> bool:
        """True if no earlier pull has fetched anything."""
        return not self._keys

    def see(self, item: Item) -> None:
        """The object is still there."""
        for key in (_number(item.path), _object_key(item.place)):
            number = self._find(key)
            if number >= 0:
                self._seen[number] = 1

    def is_stale(self, place: str, size: int, modified: int) -> bool:
        """Whether the file that is here was fetched from that place by an earlier pull, has not been changed since, and
        its object has not been seen by this pull."""
        number = self._find(_object_key(place))
        if number < 0 or self._seen[number]:
            return False
        return self._versions[number] == _file_version(size, modified)

    def add(self, item: Item, modified: int) -> None:
        """It is here now. On a full disk it may be forgotten, and is fetched again by the next pull."""
        records = [_number(item.path), _version(item, modified)]
        records += [_object_key(item.place), _file_version(item.size, modified)]
        with suppress(OSError):
            self._file.write(array("Q", records).tobytes())

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()

    def _find(self, key: int) -> int:
        """Where the last record with this key is, or -1."""
        number = bisect_right(self._keys, key) - 1
        return number if number >= 0 and self._keys[number] == key else -1

    def _read(self) -> tuple[array[int], array[int]]:
        self._file.seek(0)
        if self._file.read(_BYTES) != _HEAD:
            self._file.truncate(0)
            self._file.write(_HEAD)
            return array("Q"), array("Q")
        size = os.fstat(self._file.fileno()).st_size // _BYTES * _BYTES
        self._file.truncate(size)  # a record that was cut off
        both = array("Q", self._file.read())
        keys, versions = both[0::2], both[1::2]
        order = array("I", sorted(range(len(keys)), key=keys.__getitem__))
        return array("Q", (keys[one] for one in order)), array(
            "Q", (versions[one] for one in order)
        )


def _number(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _version(item: Item, modified: int) -> int:
    return _number(f"{item.size} {item.tag} {modified}")


def _object_key(place: str) -> int:
    """Never that of a path, which has no NUL."""
    return _number(f"\0{place}")


def _file_version(size: int, modified: int) -> int:
    return _number(f"{size} {modified}")
