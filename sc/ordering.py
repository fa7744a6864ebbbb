"""Which runs go first: those that take longest, where it is known how long runs take.

Who does not know their times cannot do better than hand them out as slots become free, in whatever order, and a
long run that starts last holds up all (`bench/run.py tail`: 10,000 log-normal runs on 160 slots end 17 % later than
they could). With the longest first they end together. Times are known from the batch (`expected_time`), or from
the records of an earlier job in the same place.

    runs ─▶ times() ─▶ a class for each run: powers of two seconds ─▶ longest_first() ─▶ runs
                            └─▶ costs(), by which sc.splitting cuts parts

Runs of one class stay in the order of the batch, so that nothing is turned round for the noise in short times.
Memory: a byte for each run; the runs of all but the first class wait in temporary files.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple, Optional

from sc.model import Run

IN_MEMORY = 1 << 20
"""Bytes of each class before it goes to a file."""
_UNKNOWN = 255
_LONGEST_CLASS = 40


class Times(NamedTuple):
    """How long runs take, roughly."""

    classes: bytes
    """Of each run, in the order of the batch: below 1 s, below 2 s, below 4 s and so on."""
    known: int
    """Of so many runs it is known; the others count as average ones."""

    @property
    def is_useful(self) -> bool:
        """True if it makes a difference who goes first."""
        return len(set(self.classes)) > 1

    def costs(self) -> Iterator[float]:
        """Seconds that each run takes, roughly, in the order of `longest_first`."""
        for number, count in sorted(Counter(self.classes).items(), reverse=True):
            for _ in range(count):
                yield _seconds(number)


NO_TIMES = Times(b"", 0)


def times(runs: Iterable[Run], seconds: Callable[[Run], Optional[float]]) -> Times:
    """Look at every run. `seconds` tells how long one takes, or None."""
    classes, total, known = bytearray(), 0.0, 0
    for run in runs:
        one = seconds(run)
        if one is None:
            classes.append(_UNKNOWN)
        else:
            classes.append(_class(one))
            total, known = total + one, known + 1
    average = _class(total / known if known else 0.0)
    return Times(bytes(classes).replace(bytes([_UNKNOWN]), bytes([average])), known)


def longest_first(runs: Iterable[Run], classes: bytes) -> Iterator[Run]:
    """The runs by their classes, in one pass over the batch, which may be slow to read."""
    first, *later = sorted(set(classes), reverse=True)
    with ExitStack() as stack:
        waiting: dict[int, IO[Any]] = {
            number: stack.enter_context(SpooledTemporaryFile(IN_MEMORY)) for number in later
        }
        for run, number in zip(runs, classes):
            if number == first:
                yield run
            else:
                pickle.dump(tuple(run), waiting[number])
        counts = Counter(classes)
        for number, file in waiting.items():
            file.seek(0)
            for _ in range(counts[number]):
                yield Run(*pickle.load(file))


def _class(seconds: float) -> int:
    """0 below one second, and one more with each doubling."""
    return min(int(max(0.0, seconds)).bit_length(), _LONGEST_CLASS)


def _seconds(number: int) -> float:
    """What a run of a class takes: the middle between its bounds."""
    return 0.75 * 2.0**number if number else 0.5
