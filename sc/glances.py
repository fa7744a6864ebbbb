"""`glances/…`: what one LIST tells of all workers of a job, in the names of tiny objects.

    glances/<worker>.<state>.<completed>.<failed>.<lost>.<running>.<waiting>.<slots>.<milliseconds>.<running seconds>
        .<not stored>.<runs that left processes>.<runs with files that were not stored>

A heartbeat tells everything of one worker, and costs a request each to be read. Whoever watches a job of a hundred
workers, or has to know how many runs of all of them have failed, lists this folder instead. A worker writes its new
glance before it removes the one before, and a clerk that died may leave one behind: of several the youngest counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional

from sc import paths
from sc.heartbeats import LAST_STATES, STATES
from sc.storage import Entry, Storage

SILENT_SECONDS, NEAR_SILENT_SECONDS = 75.0, 15.0
"""A worker that has said nothing for so long is taken for lost, until it says something; NEAR: of a job in a folder."""
_LONGEST_NUMBER = 12
_FIELDS_BEFORE = 10


class Glance(NamedTuple):
    """A worker's numbers at one moment."""

    worker: str
    state: str
    completed: int = 0
    failed: int = 0
    lost: int = 0
    running: int = 0
    waiting: int = 0
    """Taken, and not started yet."""
    slots: int = 0
    milliseconds: int = 0
    """That the completed and failed runs took, together."""
    running_seconds: int = 0
    """For which the running ones have been going on, together."""
    not_stored: int = 0
    ended_processes: int = 0
    """Runs that left processes, which were ended."""
    unstored_files: int = 0
    """Runs of which some files could not be stored."""

    @property
    def ended(self) -> int:
        """Runs that this worker has ended in any way."""
        return self.completed + self.unsuccessful

    @property
    def unsuccessful(self) -> int:
        """Those of them that did not complete."""
        return self.failed + self.lost + self.not_stored

    @property
    def is_last(self) -> bool:
        """True if the worker will say no more."""
        return self.state in LAST_STATES

    def to_name(self) -> str:
        """The last part of the key."""
        return ".".join([self.worker, self.state, *map(str, self[2:])])


class Seen(NamedTuple):
    """A glance as a listing has it."""

    glance: Glance
    age_seconds: float
    """By the storage's clock."""


def silent_seconds(is_near: bool) -> float:
    """After how long a silent worker is taken for lost. `is_near`: its job is in a folder."""
    return NEAR_SILENT_SECONDS if is_near else SILENT_SECONDS


def glance_of(name: str) -> Optional[Glance]:
    """The reverse of `to_name`; None for anything else. Names of version 0.1 end after the running seconds."""
    for count in (len(Glance._fields), _FIELDS_BEFORE):
        words = name.rsplit(".", count - 1)
        if len(words) == count and words[1] in STATES:
            break
    else:
        return None
    if not all(
        word.isascii() and word.isdigit() and len(word) <= _LONGEST_NUMBER for word in words[2:]
    ):
        return None
    return Glance(words[0], words[1], *map(int, words[2:]))


def read_glances(storage: Storage, job_url: str) -> Mapping[str, Seen]:
    """The newest glance of each worker, by its id. One request for a thousand workers."""
    return newest(storage.list(paths.glances(job_url)))


def newest(entries: Iterable[Entry]) -> Mapping[str, Seen]:
    """The same of what was listed."""
    found: dict[str, Seen] = {}
    for entry in entries:
        glance = glance_of(entry.place.rsplit("/", 1)[-1])
        if glance is None:
            continue
        seen = Seen(glance, entry.age_seconds)
        other = found.get(glance.worker)
        if other is None or _rank(seen) > _rank(other):
            found[glance.worker] = seen
    return found


def ended_and_failed(glances: Iterable[Glance]) -> tuple[int, int]:
    """How many runs have ended, and how many of them did not complete."""
    every = list(glances)
    return sum(one.ended for one in every), sum(one.unsuccessful for one in every)


def _rank(seen: Seen) -> tuple[float, bool, int]:
    """S3 tells whole seconds: of equally old ones that counts which has seen more."""
    return -seen.age_seconds, seen.glance.is_last, seen.glance.ended
