"""What the worker's main process (the desk) and its clerk say to each other."""

from __future__ import annotations

from typing import Any, NamedTuple

from sc.model import Outcome, Run
from sc.staging import Job

# The desk says


class InHand(NamedTuple):
    """A part that this worker has, and how far it is."""

    origin: int
    part: int
    left: int
    """Runs that have not ended."""
    completed: int
    failed: int
    lost: tuple[str, ...]
    """Output paths of the runs that were given up by no fault of theirs."""
    not_stored: int = 0


class Prepared(NamedTuple):
    """The machine is ready for `nprocs` runs at a time. Also the first word to a clerk that replaces one that died:
    then with what that one had in hand."""

    nprocs: int
    in_hand: tuple[InHand, ...] = ()
    unsaved: tuple[Outcome, ...] = ()
    """Ended runs whose records nobody has confirmed."""
    sequence: int = 0
    """Of the next file of records."""
    origins: int = 0
    """Parts taken so far."""
    tally: tuple[Any, ...] = ()
    """What has become of all runs so far: the fields of Counts."""


class Hungry(NamedTuple):
    """More runs are wanted."""


class RunEnded(NamedTuple):
    """A run has ended for good."""

    origin: int
    outcome: Outcome


class Dropped(NamedTuple):
    """The desk has stopped a part, because it has heard nothing of a renewal for too long."""

    origin: int


class Gone(NamedTuple):
    """Nothing goes on any more of a part that was revoked or dropped."""

    origin: int


class Pulse(NamedTuple):
    """What goes on, for the heartbeat."""

    running: tuple[tuple[int, str, float], ...]
    saving: int
    waiting: int
    trouble: str


class Goodbye(NamedTuple):
    """The execution is over: write the last things, let go of the rest, and leave."""

    state: str
    """`left`, `interrupted` or `failed`."""
    error: str = ""
    gives_way: bool = False
    """It is over because this machine may be taken away."""


# The clerk says


class JobFound(NamedTuple):
    """What recipe.json says."""

    job: Job


class Part(NamedTuple):
    """Runs to do. Their old codes are gone, except where outputs are written in place."""

    origin: int
    """Counts the parts that this worker has taken, from 1."""
    part: int
    runs: tuple[Run, ...]
    completed: int
    """Runs of this part that somebody else has completed before."""
    failed: int
    until: float
    """As in Held."""


class Held(NamedTuple):
    """The claim on a part was renewed."""

    origin: int
    until: float
    """By `time.monotonic` of this machine: if nothing new is heard by then, the runs are to be stopped."""


class Revoked(NamedTuple):
    """Somebody else has this part now, or may have it soon: stop its runs."""

    origin: int


class PartDone(NamedTuple):
    """The part is told as ended, its records are stored."""

    origin: int


class RecordsKept(NamedTuple):
    """So many ended runs, counted from the first, are in the records; the next file of them is `sequence`."""

    outcomes: int
    """Of those that the desk has told."""
    sequence: int


class Over(NamedTuple):
    """There will be no more parts; what goes on may end."""

    reason: str
    drops: bool = False
    """True: what was not started yet is not to be started."""


class Hurry(NamedTuple):
    """The machine may soon be taken away: start only runs that are known to end within so many seconds, and leave when
    there is none."""

    reason: str
    seconds: float


class Halt(NamedTuple):
    """Stop what goes on, start nothing more."""

    reason: str
    at_once: bool = False
    """By SIGKILL."""


class Refused(NamedTuple):
    """The clerk cannot go on at all."""

    reason: str


class Farewell(NamedTuple):
    """The clerk's last word."""

    is_job_over: bool
    """True if every part is done, or `stop` is there."""
    completed: int
    failed: int
    lost: int
    not_stored: int
    trouble: str
    """Why something could not be done at all, now or ever; empty if nothing went wrong but runs."""
    is_work_left: bool = False
    """There is something that a new machine could take. Looked for only where this one gives way."""
