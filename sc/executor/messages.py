"""What loop, keepers and savers say to each other: both ends of the wire in one file."""

from __future__ import annotations

import marshal
import os
from collections import deque
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Optional

from sc.model import Run

CHUNK_BYTES = 1 << 18


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
    identity: Optional[tuple[int, int]] = None
    """Of `results`, if they are of the run's choice (device and inode): only what is in that folder goes when it is
    stored. None: they are of our making, and the folder goes, too."""

    @property
    def is_own(self) -> bool:
        return self.identity is None


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
    error_line: str = ""
    """Of a failure: the last line in its `stderr`."""
    ended_processes: int = 0
    """Processes that were still running when the command exited, and were ended; `reason` names them."""


class Blocked(NamedTuple):
    """Keeper to loop: this machine could not give the run a place, or took its output from it; try again later."""

    reason: str
    is_crowded: bool = False
    """It was a process that could not be had."""


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
    origin: int = 0
    """Of the run, see Task."""


class Saved(NamedTuple):
    """Saver to loop."""

    number: int
    error: str = ""
    """Empty: all of it is stored."""
    note: str = ""
    """What could not be stored (it is no plain file, say, or lies outside of the folder), or not be removed here."""
    unstored: int = 0
    """How many files and links could not be stored."""
    is_final: bool = False
    """The error would be the same in an hour: the storage works, but this it will never take."""


class Hurry(NamedTuple):
    """Loop to saver: the execution is to end; tell from now on whether anything moves."""


class Moving(NamedTuple):
    """Saver to loop: bytes have moved since the last time."""


_KINDS: tuple[Any, ...] = (Start, Stop, Ended, Blocked, Save, Saved, Hurry, Moving)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_NESTED = {Start: (Start._fields.index("run"), Run), Ended: (Ended._fields.index("left"), Left)}
_NESTED[Save] = (Save._fields.index("left"), Left)


def pack(message: Any) -> bytes:
    """A message as bytes: four of length, then what `marshal` makes of it, in a third of pickle's time."""
    kind = type(message)
    fields = list(message)
    nested = _NESTED.get(kind)
    if nested is not None and fields[nested[0]] is not None:
        fields[nested[0]] = tuple(fields[nested[0]])
    data = marshal.dumps((_NUMBERS[kind], fields))
    return len(data).to_bytes(4, "big") + data


def unpack(data: bytes) -> Any:
    """The message in what `pack` made, its length left out."""
    number, fields = marshal.loads(data)
    kind = _KINDS[number]
    nested = _NESTED.get(kind)
    if nested is not None and fields[nested[0]] is not None:
        fields[nested[0]] = nested[1](*fields[nested[0]])
    return kind(*fields)


class Channel:
    """One end of a pipe in two directions. Several messages cost one system call where they come together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._buffer = b""
        self._messages: deque[Any] = deque()

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def send(self, message: Any) -> None:
        """Raises OSError when the other end is gone."""
        data = pack(message)
        while data:
            data = data[os.write(self._connection.fileno(), data) :]

    def receive(self) -> Any:
        """The next message, waiting for it. Raises EOFError or OSError when the other end is gone."""
        while not self._messages:
            self._messages.extend(self.receive_ready())
        return self._messages.popleft()

    def has_message(self) -> bool:
        """True when `receive` has one without looking at the pipe."""
        return bool(self._messages)

    def receive_ready(self) -> list[Any]:
        """The whole messages in what is there to be read now, once something is. Raises as `receive` does."""
        data = os.read(self._connection.fileno(), CHUNK_BYTES)
        if not data:
            raise EOFError
        data = self._buffer + data
        messages, start = [], 0
        while len(data) - start >= 4:
            end = start + 4 + int.from_bytes(data[start : start + 4], "big")
            if end > len(data):
                break
            messages.append(unpack(data[start + 4 : end]))
            start = end
        self._buffer = data[start:]
        return messages
