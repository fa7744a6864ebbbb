"""What a report tells, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

from sc.grouping import Group
from sc.history import History, Worker


class Row(NamedTuple):
    """One run."""

    number: int
    """In the batch, from 0."""
    path: str
    """Its output path; relative to that of the batch, if it lies there."""
    cmd: str
    code: int
    """-1: it has not ended; -3: it was not stored."""
    seconds: float
    """-1: nobody knows."""
    worker: int
    """-1: nobody knows."""


class Links(NamedTuple):
    """How a reader of the page gets to what a run has left."""

    kind: str
    """`folder`: links to files. `console`: to the console of AWS. `none`: the place is told as text."""
    base: str
    """What comes before a row's path in a link: escaped."""


@dataclass(frozen=True)
class Facts:
    """A batch and what has become of it."""

    title: str
    place: str
    """The batch's output path."""
    jobs: Sequence[str]
    made: str
    """When, for people."""
    version: str
    counts: Mapping[str, int]
    """completed, failed, not_stored, incomplete."""
    history: History
    workers: Sequence[Worker]
    groups: Sequence[Group]
    rows: Callable[[], Iterator[Row]]
    """All runs, in the order of the batch; may be called again and again."""
    slowest: Sequence[Row]
    links: Links
    dollars: Optional[float]
    remarks: Sequence[tuple[str, str]] = ()
    """Output paths of runs that left processes, or files that could not be stored, or were not stored at all; and
    the sentence that tells it."""

    @property
    def runs(self) -> int:
        return sum(self.counts.values())
