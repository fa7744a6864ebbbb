"""Which runs of a batch are left, and how they are cut into parts.

    batch ─▶ select() ─▶ Selection: counts, and the runs in their order (or in that of sc.ordering) ─┐
                              └ included ─▶ part_sizes() ────────────────────────────────────────────┴▶ part_documents()

Pure, and in bounded memory: of a million runs a byte each is kept, and parts are made one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import compress, islice, repeat
from typing import Any, NamedTuple, Optional

from sc.model import Batch, Run

BULK = 3
"""A part is this many times nprocs: few enough requests per run, soon enough done."""
_LOOK_AHEAD = 2
"""Of guided self-scheduling: a part is at most 1/(2 x machines) of what remains. In a simulation of
10,000 log-normal runs on 20 and on 100 machines with 8 slots, 2 was as good as 3 and 4, with fewer parts."""
_LOOK_AHEAD_KNOWN = 4
"""The same where the times are known and parts are cut by work: with 2, a part may hold two long runs for the one
free slot of the machine that takes it (100 machines, log-normal with sigma 1: 1.7 x the bound at worst)."""
_SMALLEST = 4
"""Parts do not get smaller than nprocs / 4: below that the simulation showed more parts and no gain."""


class Standing(NamedTuple):
    """What the storage knows of one run."""

    code: Optional[int]
    """Its status code; None if it has not ended, or nobody knows how."""
    changed: bool = False
    """Whether what ended so was another command than the run has now."""


NOT_ENDED = Standing(None)


class Selection(NamedTuple):
    """The runs that a split takes, and why the others are left out. The counts add up to the batch."""

    included: int
    skipped_completed: int
    skipped_failed: int
    beyond_max_jobs: int
    """Left out for nothing but their number."""
    changed: int
    """Not skipped, though they have ended, because their command has changed since."""
    runs: Iterable[Run]
    """The included ones in the order of the batch; can be iterated again and again."""


class _Chosen:
    """The runs whose byte is 1."""

    def __init__(self, runs: Iterable[Run], marks: bytes) -> None:
        self._runs = runs
        self._marks = marks

    def __iter__(self) -> Iterator[Run]:
        return compress(self._runs, self._marks)


def select(
    runs: Collection[Run],
    standing: Optional[Callable[[Run], Standing]] = None,
    *,
    skip_completed: bool = False,
    skip_failures: bool = False,
    max_jobs: Optional[int] = None,
) -> Selection:
    """Choose among `runs`; with neither of the skips, `standing` is not asked and not needed.

    `max_jobs` is the number of runs to take at most, as in the system that this one follows; None
    or a number below 1 means all of them.
    """
    most = max_jobs if max_jobs is not None and max_jobs > 0 else len(runs)
    if standing is None or not (skip_completed or skip_failures):
        included = min(most, len(runs))
        chosen = _Chosen(runs, b"\1" * included) if included < len(runs) else runs
        return Selection(included, 0, 0, len(runs) - included, 0, chosen)
    marks = bytearray()
    completed = failed = changed = beyond = taken = 0
    for run in runs:
        known = standing(run)
        has_ended = known.code is not None and (
            skip_completed if known.code == 0 else skip_failures
        )
        if has_ended and not known.changed:
            completed += known.code == 0
            failed += known.code != 0
        elif taken == most:
            beyond += 1
        else:
            taken += 1
            changed += has_ended
            marks.append(True)
            continue
        marks.append(False)
    return Selection(taken, completed, failed, beyond, changed, _Chosen(runs, bytes(marks)))


def part_sizes(
    total: int,
    nprocs: int,
    scale: int = 1,
    batch_size: Optional[int] = None,
    costs: Optional[Collection[float]] = None,
) -> Iterator[int]:
    """How many runs each part gets, in order; they add up to `total`.

    With a `batch_size`, or on one machine, all but the last are equal: nobody is to be waited for. On
    several machines parts are 3 x nprocs until the end is near, and then get smaller, so that the
    machines finish together, and none stands idle because the others hold all that is left.

    `costs` are what runs take, the longest first, in any unit, where that is known: then a part is as much work as
    others, and the first ones are single runs if need be, for no long run is to wait behind another.
    """
    bulk = batch_size if batch_size is not None else BULK * nprocs
    if bulk < 1:
        raise ValueError("a part has at least one run")
    if batch_size is not None or scale == 1:
        yield from _equal_sizes(total, bulk)
        return
    left = float(total) if costs is None else sum(costs)
    least = max(1, nprocs // _SMALLEST) * left / max(1, total)
    machines = scale * (_LOOK_AHEAD if costs is None else _LOOK_AHEAD_KNOWN)
    size, cost = 0, 0.0
    for one in repeat(1.0, total) if costs is None else costs:
        size, cost = size + 1, cost + one
        if size == bulk or cost >= max(least, left / machines):
            yield size
            left -= cost
            size, cost = 0, 0.0
    if size:
        yield size


def _equal_sizes(total: int, size: int) -> Iterator[int]:
    yield from repeat(size, total // size)
    if total % size:
        yield total % size


def part_documents(batch: Batch, runs: Iterable[Run], sizes: Iterable[int]) -> Iterator[bytes]:
    """The parts as batch files in JSON, made while `runs` is read."""
    remaining = iter(runs)
    head: dict[str, Any] = {"remote_output_path": batch.remote_output_path}
    if batch.nprocs is not None:
        head = {"nprocs": batch.nprocs, **head}
    for size in sizes:
        document = {**head, "runs": [run.to_json() for run in islice(remaining, size)]}
        yield json.dumps(document, separators=(",", ":")).encode()
