"""What loop, keepers and savers say to each other: both ends of the wire in one file."""

from __future__ import annotations

import pickle
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Optional

from sc.model import Run


class Start(NamedTuple):
    """Loop to keeper: execute this."""

    number: int
    """Counts the starts of this execution; names the attempt's temporary folder."""
    run: Run
    attempt: int
    is_last: bool
    """A failure of this attempt is the run's end, so that its code may be written at once."""
    devices: Optional[str] = None
    """For `CUDA_VISIBLE_DEVICES`; None leaves that variable as it is."""


class Stop(NamedTuple):
    """Loop to keeper: end the run that goes on; it gets no `status_code`."""

    at_once: bool
    """No SIGTERM and no grace: SIGKILL now."""


class Left(NamedTuple):
    """What an ended run has left that is still to be stored."""

    folder: Optional[str]
    """With `stdout` and `stderr`; None where these were written in place."""
    results: Optional[str]
    """The results folder, if there is something in it."""
    is_own: bool = True
    """`results` is of our making and goes when it is stored; else only what is in it does."""


class Ended(NamedTuple):
    """Keeper to loop: the run and all that it started are gone."""

    code: Optional[int]
    cause: str
    started: float
    ended: float
    is_final: bool
    """False: a failure, and attempts are left."""
    left: Optional[Left]
    """None: everything is stored and marked."""
    reason: str = ""


class Blocked(NamedTuple):
    """Keeper to loop: this machine could not give the run a place, or took its output from it; try again later."""

    reason: str


GROWING, ATTEMPT, PRINTED, ALL = "growing", "attempt", "printed", "all"


class Save(NamedTuple):
    """Loop to saver: store something of a run."""

    number: int
    kind: str
    """GROWING: `stdout` and `stderr` of a run that goes on. ATTEMPT: the same of a failed attempt, kept under
    `attempts/`. PRINTED: of an interrupted run. ALL: these, the results, and `status_code` last.
    After all but GROWING what was stored is removed here."""
    remote_output_path: str
    left: Left
    code: Optional[int] = None
    attempt: int = 1


class Saved(NamedTuple):
    """Saver to loop."""

    number: int
    error: str = ""
    """Empty: all of it is stored."""
    note: str = ""
    """What could not be stored because it is no plain file, or lies outside of the folder."""


def send(connection: Connection, message: Any) -> None:
    """Raises OSError when the other end is gone. (`Connection.send` takes twice as long to pickle.)"""
    connection.send_bytes(pickle.dumps(message, 4))


def receive(connection: Connection) -> Any:
    """Raises EOFError or OSError when the other end is gone."""
    return pickle.loads(connection.recv_bytes())
