"""All parts of a job in blocks, each of which one LIST request tells of."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional

from sc.storage import Entry, Storage

BLOCK = 1000
"""S3 tells of at most so many objects per request."""


@dataclass
class Block:
    """Parts whose numbers, sorted as texts, come one after the other; and what a worker knows of them."""

    numbers: Sequence[int]
    """From the smallest."""
    start_after: str
    end_before: str
    is_fresh: bool = False
    """True while the last listing is to be believed."""
    free: dict[int, str] = field(default_factory=dict)
    """Parts that were given back, with the tag of what stands in their claim's place."""

    def entries(self, storage: Storage, place: str, parts: int) -> Iterator[tuple[int, Entry]]:
        """What is listed for the parts of the block; a key that names none of the job's `parts` is passed over."""
        for entry in storage.list(place, self.start_after, self.end_before):
            part = part_number(entry.place.rsplit("/", 1)[-1])
            if part is not None and part < parts:
                yield part, entry


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
        self._all = [_block(texts, first) for first in range(0, parts, BLOCK)]

    def __iter__(self) -> Iterator[Block]:
        return iter(self._all)

    def of(self, part: int) -> Block:
        """The one that a part is in."""
        return self._all[bisect_right(self._starts, str(part)) - 1]


def _block(texts: Sequence[str], first: int) -> Block:
    names = texts[first : first + BLOCK]
    after = texts[first - 1] if first else ""
    before = texts[first + BLOCK] if first + BLOCK < len(texts) else ""
    return Block(sorted(map(int, names)), after, before)
