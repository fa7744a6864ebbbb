"""Which part to take next: one worker's view of all parts of a job, got with few requests.

Parts are taken from the front: large ones lie there, and small ones at the end, or the longest runs, if their times
are known. As others are doing the same, a worker looks (a LIST of a block of 1,000 claims, see sc.blocks) and then
takes a random one of the first that nobody has. Of how many, it learns by itself: at first of twice as many as there
are workers, since all of them come at once and none needs a look to know that nothing is taken; of fewer with each
part that it gets, and of more when somebody was faster. What it has seen it believes until it has its part: minutes
later others have taken some. Only a worker that is alone goes on believing it.

When no part is left that nobody has had, the *sweep* looks for those whose holder is lost: not done, and not renewed
for longer than the lease. Where there are many blocks, workers tell one another which are done as a whole (see
sc.blocks.Marks): else the last thousand would list a hundred blocks each, all of them in the same seconds.

Requests for a part, `done` included: two for a worker that is alone, 3.1 with 20 workers and 600 parts, 3.6 with 200
and 5,000, 5.2 with 1,000 and 100,000, of which one is the claim, one or two are looks, and one is `done`; the sweeps
are 2 LISTs for each worker and each block with parts that go on. More only where all come at once, or where a worker
has few parts (`bench/run.py claims` counts them).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, Optional

from sc import paths
from sc.blocks import Block, Blocks, Marks
from sc.claims import Claim, is_free, take, take_over
from sc.storage import Entry, Storage

_OPEN, _TAKEN, _DONE = 0, 1, 2
_FEW = 2
"""So many blocks are looked at sooner than is asked what others know of them."""
_REOPENED = bytes.maketrans(bytes([_TAKEN]), bytes([_OPEN]))


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
        nonce: str = "",
    ) -> None:
        """`parts` is how many there will be, `crowd` how many workers may be about (it spreads them), `nonce` the
        job's own (empty: workers do not tell one another what has ended)."""
        self._storage = storage
        self._job_url = job_url
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._crowd = max(1, crowd)
        self._random = random
        self._states = bytearray(parts)
        self._written = parts
        self._blocks = Blocks(parts)
        tells = nonce and self._crowd > 1 and len(self._blocks) > _FEW
        self._marks = Marks(storage, job_url, nonce) if tells else None
        self._width = 2 * self._crowd
        """Of so many of the first free parts one is taken."""
        self._is_new = True
        self._has_met = False
        self._rest = Rest(0, 0.0, 0)

    def limit(self, written: int) -> None:
        """Staging has written the parts below this number."""
        self._written = min(written, len(self._states))

    def take(self, may_take_over: bool = True) -> Optional[Claim]:
        """Claim a part, or None if there is nothing to take now: `rest()` then tells what others have.

        `may_take_over`: also what is older than the lease.
        """
        while (part := self._pick()) is not None:
            block = self._blocks.of(part)
            if not block.is_fresh and not self._is_new:
                begun = self._written - self._states.count(_OPEN, 0, self._written)
                self._list(self._blocks.around(part, begun))
                continue
            self._is_new = False
            claim = self._try(block, part)
            if claim is not None:
                return claim
        return self._sweep(may_take_over)

    def rest(self) -> Rest:
        """What the last `take` that returned None has seen."""
        return self._rest

    def reconsider(self, part: int) -> None:
        """What we had to let go of may be taken again, by us too."""
        self._states[part] = _OPEN
        self._blocks.of(part).is_fresh = False

    def is_done(self, part: int) -> bool:
        """True if the part is known to be ended."""
        return self._states[part] == _DONE

    def has_work(self) -> bool:
        """True if there is a part that somebody could take now; `rest()` then tells of those that are not done. Looks:
        two LISTs for each block that is not done, until there is one."""
        unfinished, found = 0, self._written < len(self._states)
        for block in self._blocks:
            if found:
                break
            if not self._is_done_with(block):
                self._learn_done(block)
            held = [] if self._is_done_with(block) else self._list([block])
            ages = [entry.age_seconds for part, entry in held if self._states[part] != _DONE]
            unfinished += len(ages)
            found = max(ages, default=0.0) > self._lease_seconds or any(
                self._states.find(_OPEN, some.start, some.stop) >= 0 for some in block.ranges
            )
        self._rest = Rest(unfinished + found, 0.0, len(self._states) - self._written)
        self._forget_looks()
        return found

    def _pick(self) -> Optional[int]:
        """A random one of the first parts that seem to be there for the taking."""
        candidates: list[int] = []
        part = -1
        while len(candidates) < self._width:
            part = self._states.find(_OPEN, part + 1, self._written)
            if part < 0:
                break
            candidates.append(part)
        return self._random.choice(candidates) if candidates else None

    def _try(self, block: Block, part: int) -> Optional[Claim]:
        tag = block.free.pop(part, None)
        self._states[part] = _TAKEN
        if tag is None:
            claim = take(self._storage, self._job_url, part, self._worker, self._nonce())
        else:
            claim = take_over(self._storage, self._job_url, part, tag, self._worker, self._nonce())
        self._learn_width(claim is not None)
        if claim is None:
            block.is_fresh = False
        elif self._crowd > 1:
            self._forget_looks()
        return claim

    def _forget_looks(self) -> None:
        """Until the next part is wanted, others will have taken some, wherever we have looked."""
        for block in self._blocks:
            block.is_fresh = False

    def _learn_width(self, was_first: bool) -> None:
        """Half as wide with each part, until somebody is faster for the first time; from then on by an eighth, and
        three times as wide when somebody is: one try of ten is in vain then."""
        if was_first:
            self._width = max(1, self._width * 7 // 8 if self._has_met else self._width // 2)
        else:
            self._width, self._has_met = min(2 * self._crowd, 3 * self._width), True

    def _list(self, blocks: Sequence[Block]) -> Sequence[tuple[int, Entry]]:
        """Learn what is taken and what was given back; returns the claims that are held, with their parts."""
        held = []
        entries = [*self._entries("claims", blocks)]
        for block in blocks:
            block.free.clear()
            block.is_fresh = True
            for here in _slices(block):
                self._states[here] = self._states[here].translate(_REOPENED)
        for part, entry in entries:
            if is_free(entry):
                self._blocks.of(part).free[part] = entry.tag
                continue
            held.append((part, entry))
            if self._states[part] == _OPEN:
                self._states[part] = _TAKEN
        return held

    def _sweep(self, may_take_over: bool) -> Optional[Claim]:
        """Take over what a lost machine has held, or remember in `rest` why there is nothing to take."""
        unfinished, oldest = 0, 0.0
        self._hear_of_ended()
        for block in self._shuffled():
            if not self._is_done_with(block):
                self._learn_done(block)
            if self._is_done_with(block):
                continue
            for part, entry in self._list([block]):
                if self._states[part] == _DONE:
                    continue
                if may_take_over and entry.age_seconds > self._lease_seconds:
                    claim = self._take_over(part, entry)
                    if claim is not None:
                        return claim
                unfinished += 1
                oldest = max(oldest, entry.age_seconds)
            given_back = self._pick()
            if given_back is not None:
                claim = self._try(self._blocks.of(given_back), given_back)
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

    def _is_done_with(self, block: Block) -> bool:
        return all(
            self._states.count(_DONE, some.start, some.stop) == len(some) for some in block.ranges
        )

    def _learn_done(self, block: Block) -> None:
        for part, _entry in self._entries("done", [block]):
            self._states[part] = _DONE
        if self._marks is not None and self._is_done_with(block):
            self._marks.add(block)
            self._hear_of_ended()

    def _hear_of_ended(self) -> None:
        """A thousand that sweep at the same time, each in its own order, look at each block about once in all."""
        if self._marks is None:
            return
        if sum(not self._is_done_with(block) for block in self._blocks) <= _FEW:
            return
        for number in self._marks.read():
            if number < len(self._blocks):
                for here in _slices(self._blocks[number]):
                    self._states[here] = bytes([_DONE]) * (here.stop - here.start)

    def _entries(self, folder: str, blocks: Sequence[Block]) -> Iterator[tuple[int, Entry]]:
        return self._blocks.entries(self._storage, paths.join(self._job_url, folder), blocks)

    def _shuffled(self) -> Sequence[Block]:
        blocks = list(self._blocks)
        return self._random.sample(blocks, len(blocks))

    def _nonce(self) -> str:
        return f"{self._random.getrandbits(64):016x}"


def _slices(block: Block) -> Iterator[slice]:
    """Where the parts of a block are among all."""
    return (slice(some.start, some.stop) for some in block.ranges)
