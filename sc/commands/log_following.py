"""Following what a run or a worker prints: only what is new is read, again and again, until it has ended."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Optional

from sc import paths
from sc.commands.output import output
from sc.commands.voice import result, tell
from sc.errors import ExitCode, MissingError

if TYPE_CHECKING:
    from sc.commands.logs import Meant
    from sc.storage import Storage

FIRST_PAUSE_SECONDS, LONGEST_NEAR_SECONDS, LONGEST_FAR_SECONDS = 0.2, 1.0, 5.0
_OVERLAP = 64
"""Bytes that are read again, to see that it still is the same output and not that of another attempt."""


class Tail:
    """What is new in an object that grows, or is replaced by something else. One request a look."""

    def __init__(self, storage: Storage, place: str) -> None:
        self._storage = storage
        self._place = place
        self._offset = 0
        self._known = b""
        """The last bytes before `offset`."""

    def look(self) -> tuple[bytes, bool]:
        """The new bytes, and whether they begin something new altogether."""
        try:
            data = self._storage.get(self._place, self._offset - len(self._known))
            is_same = data.startswith(self._known)
            if not is_same:
                data = self._storage.get(self._place)
        except MissingError:
            return b"", False
        is_new = not is_same
        if is_new:
            self._offset, self._known = 0, b""
        fresh = data[len(self._known) :]
        self._offset += len(fresh)
        self._known = (self._known + fresh)[-_OVERLAP:]
        return fresh, is_new


def follow_run(
    storage: Storage,
    meant: Meant,
    stream: str,
    as_json: bool,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Until its status_code appears; 1 if the run has failed."""
    from sc.codes import CHANGED, Ended, read_code

    remote_output_path = meant.path

    def code_of(found: Optional[Ended]) -> Optional[int]:
        return None if found is None or found.code < 0 else found.code

    tail = Tail(storage, paths.join(remote_output_path, stream))
    found = read_code(storage, remote_output_path)
    if found is not None:
        judged = meant.judged(storage, code_of(found))
        if judged.code == CHANGED:
            tell(f"{remote_output_path}: {judged.remark}")
    if found is None and storage.stat(paths.join(remote_output_path, stream)) is None:
        tell(f"{remote_output_path} has not begun yet; waiting for it (Ctrl-C leaves)")

    def ended() -> bool:
        # Asked before each look: status_code is stored last, so all that was printed is there then.
        nonlocal found
        found = found or read_code(storage, remote_output_path)
        return found is not None

    _follow(tail, ended, _longest(storage, remote_output_path), as_json, pause)
    code = code_of(found)
    judged = meant.judged(storage, code)
    remark = "" if judged.code == CHANGED else judged.remark
    tell(f"{remote_output_path} ended: {outcome(code)}" + (f"; {remark}" if remark else ""))
    if as_json:
        from sc.reports import json_line

        result(json_line({"remote_output_path": remote_output_path, "status_code": code}))
    return ExitCode.OK if code == 0 else ExitCode.RUNS_FAILED


def follow_worker(
    storage: Storage,
    job_url: str,
    worker: str,
    as_json: bool,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Until the worker has said its last word."""
    from sc.heartbeats import Heartbeat, heartbeat_of

    last: Optional[Heartbeat] = None

    def ended() -> bool:
        nonlocal last
        try:
            last = heartbeat_of(storage.get(paths.heartbeat(job_url, worker)))
        except MissingError:
            return False
        return last is not None and last.is_last

    tail = Tail(storage, paths.log(job_url, worker))
    _follow(tail, ended, _longest(storage, job_url), as_json, pause)
    state = "" if last is None else last.state
    tell(f"{worker} has ended: {state}")
    if as_json:
        from sc.reports import json_line

        result(json_line({"worker": worker, "state": state}))
    return ExitCode.OK


def outcome(code: Optional[int]) -> str:
    """How a run has ended, in words."""
    if code is None:
        return "it left something else than a code"
    if code == 0:
        return "completed"
    signal = f" (signal {code - 128})" if 128 < code < 193 else ""
    return f"failed with exit code {code}{signal}"


def _follow(
    tail: Tail,
    ended: Callable[[], bool],
    longest: float,
    as_json: bool,
    pause: Callable[[float], None],
) -> None:
    seconds = FIRST_PAUSE_SECONDS
    with _objects() if as_json else output() as put:
        while True:
            is_over = ended()
            data, is_new = tail.look()
            if is_new:
                tell("what follows is of another attempt")
            put(data)
            if is_over:
                return
            seconds = FIRST_PAUSE_SECONDS if data else min(seconds * 1.5, longest)
            pause(seconds)


@contextmanager
def _objects() -> Iterator[Callable[[bytes], None]]:
    """For a program: an object for each piece."""
    from sc.reports import json_line

    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def put(data: bytes) -> None:
        if text := decoder.decode(data):
            result(json_line({"text": text}))

    yield put


def _longest(storage: Storage, place: str) -> float:
    """Between two looks: a file costs nothing, elsewhere outputs are stored every ten seconds or so."""
    return LONGEST_FAR_SECONDS if storage.local_path(place) is None else LONGEST_NEAR_SECONDS
