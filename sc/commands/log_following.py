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
NEAR_LOOK_SECONDS, FAR_LOOK_SECONDS = 1.0, 10.0
"""Between two looks at whether anybody executes the run."""
START_SECONDS = 15.0
"""For so long a run is waited for that nobody has begun, or whose execution has left no trace."""
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
    place: str = "",
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Until its status_code appears; 1 if the run has failed. Also until nobody executes it any more: 3 then.

    `place` is that of the run's batch, if that is known.
    """
    from sc.codes import CHANGED, read_code

    remote_output_path = meant.path
    waiting = _Waiting(storage, remote_output_path, place)
    tail = Tail(storage, paths.join(remote_output_path, stream))
    found = read_code(storage, remote_output_path)
    if found is not None:
        judged = meant.judged(storage, found.known)
        if judged.code == CHANGED:
            tell(f"{remote_output_path}: {judged.remark}")
    if found is None and storage.stat(paths.join(remote_output_path, stream)) is None:
        tell(f"{remote_output_path} has not begun yet; waiting for it (Ctrl-C leaves)")

    def ended() -> bool:
        # Asked before each look: status_code is stored last, so all that was printed is there then.
        nonlocal found
        found = found or read_code(storage, remote_output_path)
        if found is None and waiting.is_over():
            found = read_code(storage, remote_output_path)  # it may have ended just now
            return True
        return found is not None

    _follow(tail, ended, _longest(storage, remote_output_path), as_json, pause)
    if found is None:
        tell(f"{remote_output_path} has not ended, and nobody executes it: {waiting.reason}")
        return _told_end(as_json, ExitCode.REFUSED, remote_output_path, reason=waiting.reason)
    return _tell_end(storage, meant, found.known, as_json)


def _tell_end(storage: Storage, meant: Meant, code: Optional[int], as_json: bool) -> ExitCode:
    """Of a run that has ended."""
    from sc.codes import CHANGED

    judged = meant.judged(storage, code)
    remark = "" if judged.code == CHANGED else judged.remark
    tell(f"{meant.path} ended: {outcome(code)}" + (f"; {remark}" if remark else ""))
    ends = ExitCode.OK if code == 0 else ExitCode.RUNS_FAILED
    return _told_end(as_json, ends, meant.path, code)


def _told_end(
    as_json: bool, ends: ExitCode, path: str, code: Optional[int] = None, reason: str = ""
) -> ExitCode:
    """The last object, for a program."""
    if as_json:
        from sc.reports import json_line

        document = {"remote_output_path": path, "status_code": code}
        result(json_line({**document, **({"reason": reason} if reason else {})}))
    return ends


class _Waiting:
    """For a run that has not ended: whether there is anything to wait for."""

    def __init__(self, storage: Storage, run: str, place: str) -> None:
        from sc.prospects import Prospects

        is_near = storage.local_path(run) is not None
        self.reason = ""
        self._prospects = Prospects(storage, run, place)
        self._every = NEAR_LOOK_SECONDS if is_near else FAR_LOOK_SECONDS
        self._due = self._since = time.monotonic()
        self._was_over = False

    def is_over(self) -> bool:
        """True when two looks, one after the other, have found nobody. Whoever has not begun yet gets some time."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + self._every
        found = self._prospects.look()
        if found.is_open:
            self._since, self._was_over = now, False
            return False
        before, self._was_over = self._was_over, True
        self.reason = found.reason or "it was interrupted, or was never started"
        return before and (bool(found.reason) or now - self._since >= START_SECONDS)


def follow_worker(
    storage: Storage,
    job_url: str,
    worker: str,
    as_json: bool,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Until the worker has said its last word, or nothing for so long that it is lost: 3 then."""
    from sc.heartbeats import Heartbeat, heartbeat_of

    last: Optional[Heartbeat] = None
    is_lost = False

    def ended() -> bool:
        nonlocal last, is_lost
        is_lost = _is_silent(storage, job_url, worker)
        try:
            last = heartbeat_of(storage.get(paths.heartbeat(job_url, worker)))
        except MissingError:
            return is_lost
        return is_lost or (last is not None and last.is_last)

    tail = Tail(storage, paths.log(job_url, worker))
    _follow(tail, ended, _longest(storage, job_url), as_json, pause)
    has_ended = last is not None and last.is_last
    state = last.state if last is not None and has_ended else "lost"
    if has_ended:
        tell(f"{worker} has ended: {state}")
    else:
        tell(f"{worker} says nothing any more: it was killed, or its machine is gone")
    if as_json:
        from sc.reports import json_line

        result(json_line({"worker": worker, "state": state}))
    return ExitCode.REFUSED if state in ("failed", "lost") else ExitCode.OK


def _is_silent(storage: Storage, job_url: str, worker: str) -> bool:
    """True if it should have said something by now. Before its first heartbeat it prepares its machine, as long as
    that may take; then its log counts, and what is known of the job."""
    from sc.glances import silent_seconds
    from sc.job_leases import BOOT_SECONDS

    silent = silent_seconds(storage.local_path(job_url) is not None)
    entry = storage.stat(paths.heartbeat(job_url, worker))
    if entry is not None:
        return entry.age_seconds > silent
    log = storage.stat(paths.log(job_url, worker))
    age = log.age_seconds if log is not None else BOOT_SECONDS
    is_stopped = storage.stat(paths.stop(job_url)) is not None
    return age > (silent if is_stopped else BOOT_SECONDS)


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
