"""The parts of a job in blocks of a thousand: what one LIST tells, as keys are sorted.

Names of parts have no leading zeros, so a block is not a thousand that follow one another: of 100,000 parts the third
one has 12, 118 to 126, 1,180 to 1,269 and 11,798 to 12,697. In each number of digits those of a block do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Optional

from sc import paths
from sc.storage import Entry, Storage

BLOCK = 1000
"""Entries of one LIST, by S3's own limit."""


@dataclass
class Block:
    """Parts whose numbers, sorted as texts, come one after the other; and what a worker knows of them."""

    number: int
    """Of this block, counted from 0."""
    ranges: Sequence[range]
    """The parts in it: a range for each number of digits."""
    start_after: str
    end_before: str
    is_fresh: bool = False
    """True while the last listing is to be believed."""
    free: dict[int, str] = field(default_factory=dict)
    """Parts that were given back, with the tag of what stands in their claim's place."""

    def __len__(self) -> int:
        return sum(map(len, self.ranges))

    def count_below(self, part: int) -> int:
        """How many of its parts have smaller numbers."""
        return sum(min(len(some), max(0, part - some.start)) for some in self.ranges)


def part_number(name: str) -> Optional[int]:
    """The number of the part that a key of `claims/` or `done/` is about; None if it is about none."""
    if not (name.isascii() and name.isdigit()) or len(name) > 9 or (name[0] == "0" and name != "0"):
        return None
    return int(name)


class Blocks:
    """All parts of a job."""

    def __init__(self, parts: int) -> None:
        texts = sorted(map(str, range(parts)))
        self._starts = texts[::BLOCK]
        self._all = [_block(texts, number) for number in range(len(self._starts))]
        self._parts = parts

    def __iter__(self) -> Iterator[Block]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> Block:
        return self._all[number]

    def of(self, part: int) -> Block:
        """The one that a part is in."""
        return self._all[bisect_right(self._starts, str(part)) - 1]

    def around(self, part: int, begun: int) -> Sequence[Block]:
        """The block of a part and its neighbours, as many as one LIST of claims tells of while so many parts have been
        begun, the first ones: of those with less digits than the last a block has but a few. There is as much room left
        for what was begun since."""
        begun = max(part, begun)
        first = self.of(part).number
        end, room = first + 1, BLOCK // 2 - self._all[first].count_below(begun)
        while end < len(self._all) and room >= (more := self._all[end].count_below(begun)):
            end, room = end + 1, room - more
        while first and room >= (more := self._all[first - 1].count_below(begun)):
            first, room = first - 1, room - more
        return self._all[first:end]

    def entries(
        self, storage: Storage, place: str, some: Sequence[Block]
    ) -> Iterator[tuple[int, Entry]]:
        """What is listed for the parts of neighbouring blocks; a key that names none of the job is passed over."""
        for entry in storage.list(place, some[0].start_after, some[-1].end_before):
            part = part_number(entry.place.rsplit("/", 1)[-1])
            if part is not None and part < self._parts:
                yield part, entry


def _block(texts: Sequence[str], number: int) -> Block:
    first, end = number * BLOCK, (number + 1) * BLOCK
    after = texts[first - 1] if first else ""
    before = texts[end] if end < len(texts) else ""
    parts = sorted(texts[first:end], key=len)  # those that are equally long stay in order
    alike = (list(map(int, some)) for _, some in groupby(parts, key=len))
    ranges = tuple(range(some[0], some[-1] + 1) for some in alike)
    return Block(number, ranges, after, before)


class Marks:
    """`ended/`: which blocks are done as a whole, as workers tell one another.

    Once is for ever, so who finds one spares all others a look at it. The nonce is the job's: what a late worker of an
    earlier job of this name writes counts for nothing.
    """

    def __init__(self, storage: Storage, job_url: str, nonce: str) -> None:
        self._storage = storage
        self._job_url = job_url
        self._nonce = nonce

    def add(self, block: Block) -> None:
        """Every part of it is done."""
        self._storage.put(paths.ended(self._job_url, self._nonce, block.number), b"")

    def read(self) -> Iterator[int]:
        """The numbers of the blocks that were found so."""
        for entry in self._storage.list(paths.join(self._job_url, "ended")):
            nonce, _, name = entry.place.rsplit("/", 1)[-1].rpartition("-")
            number = part_number(name)
            if nonce == self._nonce and number is not None:
                yield number
