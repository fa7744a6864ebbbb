"""Which part to take next: one worker's view of all parts of a job, got with few requests.

The numbers of the parts, sorted as texts as every listing sorts them, are cut into blocks of 1,000: one block is
one LIST request. A worker looks for a part in the foremost blocks, because parts get smaller towards the end and
the large ones should go first, but takes a random one among the foremost, because others are doing the same.
It believes its last listing of a block until somebody was faster.

When no part is left that nobody has had, the *sweep* looks for those whose holder is lost: not done, and not renewed
for longer than the lease.

Requests, with W workers: to take a part, one or two (a create, and now and then a LIST); to see the end, each worker
lists all blocks about twice, which is W/500 for each part. So 1,000 workers need about four for each part, 20
workers less than two (tests/unit/test_board.py counts them).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Optional

from sc import paths
from sc.claims import Claim, is_free, take, take_over
from sc.storage import Entry, Storage

BLOCK = 1000
"""S3 tells of at most so many objects per request."""

_OPEN, _TAKEN, _DONE = 0, 1, 2


class Rest(NamedTuple):
    """What a sweep found and could not take."""

    unfinished: int
    """Parts that somebody holds and has not ended."""
    oldest_seconds: float
    """Since the renewal that lies back longest; 0 if nothing is unfinished."""
    unwritten: int
    """Parts that staging has not written yet."""

    @property
    def is_nothing(self) -> bool:
        return not self.unfinished and not self.unwritten


@dataclass
class _Block:
    """Parts that one LIST request tells of."""

    numbers: Sequence[int]
    """From the smallest."""
    start_after: str
    end_before: str
    is_fresh: bool = False
    """True while the last listing is to be believed."""
    is_full: bool = False
    """True if nothing was left to take at the last listing."""
    free: dict[int, str] = field(default_factory=dict)
    """Parts that were given back, with the tag of what stands in their claim's place."""


class Board:
    """What this worker knows of each part. Memory: one byte and one number per part."""

    def __init__(
        self,
        storage: Storage,
        job_url: str,
        parts: int,
        worker: str,
        *,
        lease_seconds: float,
        crowd: int,
        random: Random,
    ) -> None:
        """`parts` is how many there will be, `crowd` how many workers may be about (it spreads them)."""
        self._storage = storage
        self._job_url = job_url
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._crowd = max(1, crowd)
        self._random = random
        self._states = bytearray(parts)
        self._written = parts
        self._blocks = _blocks(parts)
        self._rest = Rest(0, 0.0, 0)

    def limit(self, written: int) -> None:
        """Staging has written the parts below this number."""
        self._written = min(written, len(self._states))
        for block in self._blocks:
            block.is_full = False

    def take(self, may_take_over: bool = True) -> Optional[Claim]:
        """Claim a part, or None if there is nothing to take now: `rest()` then tells what others have.

        `may_take_over`: also what is older than the lease.
        """
        while True:
            block = self._choose()
            if block is None:
                return self._sweep(may_take_over)
            if not block.is_fresh:
                self._list(block)
            part = self._pick(block)
            if part is None:
                block.is_full = True
                continue
            claim = self._try(block, part)
            if claim is not None:
                return claim

    def rest(self) -> Rest:
        """What the last `take` that returned None has seen."""
        return self._rest

    def reconsider(self, part: int) -> None:
        """What we had to let go of may be taken again, by us too."""
        self._states[part] = _OPEN
        for block in self._blocks:
            if part in block.numbers:
                block.is_fresh = block.is_full = False

    def is_done(self, part: int) -> bool:
        """True if the part is known to be ended."""
        return self._states[part] == _DONE

    def _choose(self) -> Optional[_Block]:
        """One of the foremost blocks that may have something to take, as many as the crowd needs."""
        wanted = 1 + 2 * self._crowd // BLOCK
        foremost = []
        for block in self._blocks:
            if not block.is_full:
                foremost.append(block)
                if len(foremost) == wanted:
                    break
        return self._random.choice(foremost) if foremost else None

    def _pick(self, block: _Block) -> Optional[int]:
        """A random one of the foremost parts that seem to be there for the taking."""
        window = 2 * self._crowd
        candidates: list[int] = []
        for number in block.numbers:
            if number >= self._written:
                break
            if self._states[number] == _OPEN:
                candidates.append(number)
                if len(candidates) == window:
                    break
        return self._random.choice(candidates) if candidates else None

    def _try(self, block: _Block, part: int) -> Optional[Claim]:
        tag = block.free.pop(part, None)
        self._states[part] = _TAKEN
        if tag is None:
            claim = take(self._storage, self._job_url, part, self._worker, self._nonce())
        else:
            claim = take_over(self._storage, self._job_url, part, tag, self._worker, self._nonce())
        block.is_fresh = claim is not None
        return claim

    def _list(self, block: _Block) -> Sequence[tuple[int, Entry]]:
        """Learn what is taken and what was given back; returns the claims that are held, with their parts."""
        held = []
        taken = set()
        block.free.clear()
        for part, entry in self._entries("claims", block):
            taken.add(part)
            if is_free(entry):
                block.free[part] = entry.tag
            else:
                held.append((part, entry))
        for part in block.numbers:
            if self._states[part] != _DONE:
                is_held = part in taken and part not in block.free
                self._states[part] = _TAKEN if is_held else _OPEN
        block.is_fresh = True
        return held

    def _sweep(self, may_take_over: bool) -> Optional[Claim]:
        """Take over what a lost machine has held, or remember in `rest` why there is nothing to take."""
        unfinished, oldest = 0, 0.0
        for block in self._random.sample(self._blocks, len(self._blocks)):
            if not self._is_done_with(block):
                self._learn_done(block)
            if self._is_done_with(block):
                continue
            for part, entry in self._list(block):
                if self._states[part] == _DONE:
                    continue
                if may_take_over and entry.age_seconds > self._lease_seconds:
                    claim = self._take_over(part, entry)
                    if claim is not None:
                        return claim
                unfinished += 1
                oldest = max(oldest, entry.age_seconds)
            part_to_take = self._pick(block)
            if part_to_take is not None:
                claim = self._try(block, part_to_take)
                if claim is not None:
                    return claim
                unfinished += 1
        self._rest = Rest(unfinished, oldest, len(self._states) - self._written)
        return None

    def _take_over(self, part: int, entry: Entry) -> Optional[Claim]:
        nonce = self._nonce()
        claim = take_over(self._storage, self._job_url, part, entry.tag, self._worker, nonce)
        if claim is not None and self._storage.stat(paths.done(self._job_url, part)) is not None:
            # Its holder was slow, not lost. The claim may stay as it is: `done` is what counts.
            self._states[part] = _DONE
            return None
        return claim

    def _is_done_with(self, block: _Block) -> bool:
        return all(self._states[part] == _DONE for part in block.numbers)

    def _learn_done(self, block: _Block) -> None:
        for part, _entry in self._entries("done", block):
            self._states[part] = _DONE

    def _entries(self, folder: str, block: _Block) -> Iterator[tuple[int, Entry]]:
        """What is listed for the parts of a block; a key that names no part is passed over."""
        place = paths.join(self._job_url, folder)
        for entry in self._storage.list(place, block.start_after, block.end_before):
            name = entry.place.rsplit("/", 1)[-1]
            part = part_number(name)
            if part is not None and part < len(self._states):
                yield part, entry

    def _nonce(self) -> str:
        return f"{self._random.getrandbits(64):016x}"


def part_number(name: str) -> Optional[int]:
    """The number of the part that a key of `claims/` or `done/` is about; None if it is about none."""
    if not (name.isascii() and name.isdigit()) or len(name) > 9 or (name[0] == "0" and name != "0"):
        return None
    return int(name)


def _blocks(parts: int) -> list[_Block]:
    """All parts in blocks, those with the smallest numbers on average first."""
    texts = sorted(map(str, range(parts)))
    blocks = []
    for first in range(0, parts, BLOCK):
        names = texts[first : first + BLOCK]
        after = texts[first - 1] if first else ""
        before = texts[first + BLOCK] if first + BLOCK < parts else ""
        blocks.append(_Block(sorted(map(int, names)), after, before))
    blocks.sort(key=lambda block: sum(block.numbers) / len(block.numbers))
    return blocks
