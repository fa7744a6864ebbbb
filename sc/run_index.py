"""Numbers for the runs of a batch, found by their paths: 8 bytes a run.

What is known of each run is kept in columns beside it, so that a million runs are some megabytes, whatever else the
storage or the history of the batch may hold.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable

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
        self._drawers = [array("Q") for _ in range(256)]
        for path in paths:
            key = path_key(path)
            self._drawers[key >> _BITS].append(key)
        self._begins = array("Q")
        self._length = 0
        for number, drawer in enumerate(self._drawers):
            self._drawers[number] = array("Q", sorted(drawer))
            self._begins.append(self._length)
            self._length += len(drawer)

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
