"""Runs commands on this machine. Standard library only; knows nothing of jobs, fleets or clouds.

    feed ──Task──▶ loop ──Start──▶ keeper of rank 0 ──fork, exec──▶ the run and all it starts
                    │ ▲            keeper of rank 1 …
       Outcome ◀────┘ └──Ended──── (one process per slot)
                    │ ▲
                    └─┴──Save / Saved── savers (a few processes; only where outputs are not written in place)

The life of one run: the feed gives it; the scheduler finds a free rank, and GPUs if it asks for some; the keeper of
that rank makes its results folder, starts it in a session of its own with its output in files, waits, sweeps
whatever it left behind, and tells how it ended; a failure may be tried again after a pause; a saver stores its
files, `status_code` last; the feed is told the outcome. The rank is free as soon as the process tree is gone, the
saving goes on beside the next run.

One keeper per slot, because a keeper that is a child subreaper then owns exactly one process tree: "has this run
left anything behind" is one waitpid that answers ECHILD, and no process can be taken for another run's.
A keeper whose loop is gone (its pipe ends) kills its run and leaves; the loop adopts and kills what a dead keeper
leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Protocol

from sc.model import NOTHING_GIVEN, Given, Outcome, Run


class Task(NamedTuple):
    """A run to execute, and where it came from."""

    run: Run
    origin: int = 0
    """The number of the part it belongs to; a whole origin can be revoked. A plain batch has just 0."""


class Gauge(NamedTuple):
    """What goes on at this moment, for progress displays and heartbeats."""

    running: tuple[tuple[int, str, float], ...]
    """Rank, output path, and seconds since its start, of each live run."""
    saving: int
    """Runs that have ended and whose files are still on their way."""
    waiting: int
    """Runs taken from the feed that wait for a rank, a GPU, or their next attempt."""
    trouble: str
    """The last error of a saver that is still trying again; empty if there is none."""
    saving_origins: tuple[int, ...] = ()
    """Of all that is on its way to the storage."""
    is_stopping: bool = False
    """Nothing more is started, and what goes on is being ended."""


class Feed(Protocol):
    """The caller's side of an execution: where runs come from, and who is told of their end.

    All methods are called from the loop and have to return at once; work that takes long belongs in a process
    behind `fileno`.
    """

    def take(self, wanted: int = 1) -> Optional[Task]:
        """The next run, or None if there is none now. Its old `status_code` is gone already,
        except where outputs are written in place (there the keeper removes it).

        `wanted`: so many could start at this moment; whoever removes old codes may do so for all of these at once.
        """

    def is_over(self) -> bool:
        """True when `take` will never again return a run."""

    def fileno(self) -> Optional[int]:
        """A descriptor that becomes readable when there is news (`read_news` is then called), or None."""

    def read_news(self) -> None:
        """Take in what came over `fileno`."""

    def revoked(self) -> frozenset[int]:
        """Origins whose runs are to be stopped, because somebody else has them now."""

    def is_in_doubt(self) -> bool:
        """True while somebody else may have the runs: until that is known nothing is started or stored."""

    def is_stopping(self) -> bool:
        """True when no more runs are to be started and those that go on are to be stopped, as after SIGTERM."""

    def is_urgent(self) -> bool:
        """True when they are to be stopped at once, as after the second SIGTERM."""

    def ended(self, task: Task, outcome: Outcome) -> None:
        """A run has ended for good and its files are where they belong (or `outcome.cause` says why not)."""

    def tick(self, gauge: Gauge) -> float:
        """Called now and then, with the state of things. Returns seconds until the next call is wanted."""


class Sink(Protocol):
    """The part of `sc.storage.Storage` that keepers and savers need."""

    def local_path(self, place: str) -> Optional[str]:
        """The folder that the place is, if outputs may be written in place."""

    def put(self, place: str, data: bytes) -> str:
        """Store some bytes."""

    def put_file(self, place: str, path: str) -> None:
        """Store a file."""

    def moved(self) -> int:
        """A number that changes while an upload of this process moves; in a folder it may stay the same."""


OpenSink = Callable[[], Sink]


@dataclass(frozen=True)
class Plan:
    """How to execute: everything that stays the same from the first run to the last."""

    nprocs: int
    machine: str
    """The name of this machine in records."""
    gpus: tuple[str, ...] = ()
    """Indices, UUIDs or MIG ids, as `CUDA_VISIBLE_DEVICES` understands them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What every run gets on top of `sc`'s own environment."""
    given: Given = NOTHING_GIVEN
    """What the recipe says of environment and folder: by it records tell later whether a run is still the same."""
    working_directory: Optional[str] = None
    synced: Mapping[str, str] = field(default_factory=dict)
    """Folders that may be replaced by a newer version, and the version in which runs begin that begin there."""
    temp_folder: Optional[str] = None
    """None: the folder of `tempfile`."""
    grace_seconds: float = 10.0
    """Between SIGTERM and SIGKILL."""
    save_patience_seconds: float = 24 * 3600.0
    """How long a store that fails is tried again before its files are kept here and the run is given up. If nothing
    could be stored in all that time, no more runs are started."""
    blocked_patience_seconds: float = 3600.0
    """How long nothing may be startable, for want of room or processes, before the execution is given up."""
    are_runs_redone: bool = False
    """What a stop has left no time to store is done again by somebody else: it is kept all the same, but told as
    interrupted."""
    savers: int = 2
    """Processes that store outputs, where those are not written in place."""


@dataclass(frozen=True)
class Ending:
    """How an execution as a whole ended."""

    was_interrupted: bool = False
    kept_folder: Optional[str] = None
    """Where the outputs lie that could not be stored; None if everything was."""
    kept_runs: int = 0
    reason: str = ""
    """Of what could not be stored; or else why nothing more could be started, and was given up."""
    unremoved: str = ""
    """What runs left here that could not be removed, and why: part of a sentence; empty if all was."""
