"""Numbers for the runs of a batch, found by their paths: 8 bytes a run.

What is known of each run is kept in columns beside it, so that a million runs are some megabytes, whatever else the
storage or the history of the batch may hold.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

_BITS = 56
"""What is left of a key when the bits that choose its drawer are gone."""


def path_key(remote_output_path: str) -> int:
    """64 bits that stand for a path. Two of a million paths clash once in 10^7 batches."""
    data = remote_output_path.rstrip("/").encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


class RunIndex:
    """The runs of a batch by the hashes of their paths, in 256 sorted drawers.

    One drawer is sorted at a time: Python's numbers need five times the place while they are.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._keep(map(path_key, paths))

    def _keep(self, keys: Iterable[int]) -> None:
        self._drawers = [array("Q") for _ in range(256)]
        for key in keys:
            self._drawers[key >> _BITS].append(key)
        self._begins = array("Q")
        self._length = 0
        for number, drawer in enumerate(self._drawers):
            self._drawers[number] = array("Q", sorted(drawer))
            self._begins.append(self._length)
            self._length += len(drawer)

    @classmethod
    def of_bytes(cls, data: bytes) -> RunIndex:
        """The reverse of `to_bytes`."""
        index = cls([])
        index._keep(_numbers(data))
        return index

    @classmethod
    def of_keys(cls, keys: Iterable[int]) -> RunIndex:
        """Of what `path_key` gave."""
        index = cls([])
        index._keep(keys)
        return index

    def __len__(self) -> int:
        return self._length

    def find(self, remote_output_path: str) -> int:
        """The number of a run, or -1 for a path that is none's."""
        key = path_key(remote_output_path)
        drawer = self._drawers[key >> _BITS]
        place = bisect_left(drawer, key)
        if place < len(drawer) and drawer[place] == key:
            return self._begins[key >> _BITS] + place
        return -1

    def to_bytes(self) -> bytes:
        """All keys, sorted, 8 bytes each, the most significant first."""
        return b"".join(_big_endian(drawer).tobytes() for drawer in self._drawers)

    def shared(self, data: bytes) -> Iterator[int]:
        """The keys that are in here and in what another's `to_bytes` gave."""
        theirs = _numbers(data)
        if len(theirs) < len(self):
            yield from (key for key in theirs if self._has(key))
            return
        for drawer in self._drawers:
            for key in drawer:
                place = bisect_left(theirs, key)
                if place < len(theirs) and theirs[place] == key:
                    yield key

    def _has(self, key: int) -> bool:
        drawer = self._drawers[key >> _BITS]
        place = bisect_left(drawer, key)
        return place < len(drawer) and drawer[place] == key


def _numbers(data: bytes) -> array[int]:
    keys = array("Q")
    keys.frombytes(data[: len(data) // 8 * 8])
    return _big_endian(keys)


def _big_endian(keys: array[int]) -> array[int]:
    """The same numbers with their bytes in the order of the network, or back."""
    if sys.byteorder == "little":
        keys = keys[:]
        keys.byteswap()
    return keys
