"""The folders of one attempt: where its output goes while it runs, and what becomes of them at its end.

Where the output path is a folder of this machine, `stdout` and `stderr` are written in place, and a run without
results is marked at once. Else all of it lies in the temporary folder until a saver has stored it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional

from sc.executor import Sink
from sc.executor.folder import is_vanished, make_below
from sc.executor.messages import Ended, Left, Start
from sc.executor.printed import GONE, REPLACED, WHOLE, Printed
from sc.executor.removal import MOUNTED, Identity, Remaining, empty, identity_of, remove, told
from sc.executor.results import mounts_at
from sc.last_words import is_progress, last_line

HOPELESS_ERRNOS = frozenset(
    [
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EINVAL,
        errno.ELOOP,
        errno.EACCES,
        errno.EPERM,
        errno.EILSEQ,
        errno.EOPNOTSUPP,
        errno.EBUSY,  # a mount point
    ]
)
"""Of a path that will be as impossible in an hour; all else (a full disk, one that has turned read-only since places
were checked, a stale handle) may pass."""


WANTED = ".wanted"
"""Beside the folder of an attempt: a link that nobody follows, with the device, the inode and the path of the results
folder that the run wants, which was found empty."""
TAILS_BYTES = (2000, 64_000)
"""What is looked at of a failed run's `stderr`; the larger one where nothing but a progress bar is in the smaller."""
TAKEN = "another sc has begun it meanwhile, or somebody has replaced its output"
STORED_AGAIN = "its output was removed or moved away while it went on, and was stored again"
VANISHED = "the temporary folder was removed while it went on, and its results with it"


class RoomError(Exception):
    """No folder could be made for a run. The text is a sentence."""

    def __init__(self, text: str, is_passing: bool) -> None:
        super().__init__(text)
        self.is_passing = is_passing


class End(NamedTuple):
    """How an attempt has ended. Times as `Ended` has them."""

    code: Optional[int]
    cause: str
    began: float
    ended: float


def not_stored(reason: str, began: float, ended: float, left: Optional[Left] = None) -> Ended:
    """What is told of a run whose outputs cannot be stored."""
    return Ended(None, "upload", began, ended, True, left, reason)


@dataclass(frozen=True)
class Room:
    """Paths of this machine."""

    output: str
    """The folder of `stdout` and `stderr`."""
    folder: str
    """This attempt's own, in the temporary folder."""
    results: str
    is_in_place: bool
    wanted: Optional[str] = None
    """A note of ours on `results` where these are the run's choice, so that only what is in them goes; None: they are
    made by us, and the folder itself goes too."""
    identity: Optional[Identity] = None
    """Of `results`, likewise."""
    remark: str = ""
    """What a person should know of its output."""

    @property
    def stdout(self) -> str:
        return self.output + "/stdout"

    @property
    def stderr(self) -> str:
        return self.output + "/stderr"

    def close(self, start: Start, printed: Printed, end: End, reason: str = "") -> Ended:
        """Mark the run if that can be done at once; say what is left to be stored."""
        code, cause = end.code, end.cause
        is_final = code == 0 or start.is_last or cause in ("not-started", "interrupted")
        error_line = error_line_of(self.stderr) if code and is_final else ""
        left: Optional[Left] = None
        if not is_final or (self.is_in_place and cause == "interrupted"):
            self._remove_results()  # now: the next attempt may begin in the same folder before this one is stored
        elif cause != "interrupted" and is_vanished(self.results):
            self._let_go_of_results()
            return self._not_stored(end, VANISHED)
        if not self.is_in_place:
            left = Left(self.output, self.results if is_final else None, self.identity)
        elif not is_final:
            self._keep_attempt(start.attempt)
        elif cause != "interrupted":
            left = None if self._is_marked(code) else Left(None, self.results, self.identity)
            if (state := printed.state(self.output)) != WHOLE:
                return self._marked_too_soon(state, start, printed, end)
        self._let_go_of_results()
        return Ended(*end, is_final, left, reason, error_line)

    def rescued(self, printed: Printed) -> Room:
        """The same attempt, with `stdout` and `stderr` as they were written, whatever has become of them: where they
        were written in place it goes on as if they had not been. Raises RoomError where that cannot be."""
        state = printed.state(self.output)
        if state == WHOLE:
            return self
        if self.is_in_place and state == REPLACED:
            raise RoomError(f"{self.output}: {TAKEN}", False)
        room = self
        if self.is_in_place:
            output = f"{self.folder}.printed"
            room = replace(self, output=output, is_in_place=False, remark=STORED_AGAIN)
        try:
            if not os.path.isdir(room.output):
                make_below(room.output)
            printed.copy(room.output)
        except OSError as error:
            text = f"{self.output}: what it printed was removed while it went on, and cannot be stored again"
            raise RoomError(f"{text}: {error.strerror}", False) from error
        return room

    def _marked_too_soon(self, state: str, start: Start, printed: Printed, end: End) -> Ended:
        """Somebody has removed what it printed at this very moment."""
        if state == GONE:
            with contextlib.suppress(OSError):
                os.unlink(self.output + "/status_code")
        try:
            room = self.rescued(printed)
        except RoomError as error:
            self.remove()
            return self._not_stored(end, str(error))
        return room.close(start, printed, end, room.remark)

    def _not_stored(self, end: End, reason: str) -> Ended:
        left = None if self.is_in_place else Left(self.output, None)
        return not_stored(reason, end.began, end.ended, left)

    def remove(self) -> None:
        """Take back what `make_room` made."""
        self._remove_results()
        self._let_go_of_results()
        if not self.is_in_place:
            remove(self.output)

    def _is_marked(self, code: Optional[int]) -> bool:
        """True when there were no results and `status_code` is written."""
        try:
            if self.identity is None:
                os.rmdir(self.results)
            elif os.listdir(self.results):
                return False
        except FileNotFoundError:
            pass  # the run removed it
        except OSError:
            return False
        half = self.output + "/.status_code.half"
        try:
            descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                os.write(descriptor, b"%d" % (code or 0))
            finally:
                os.close(descriptor)
            os.rename(half, self.output + "/status_code")
        except OSError:
            return False  # a saver will try again, for longer
        return True

    def _keep_attempt(self, attempt: int) -> None:
        kept = f"{self.output}/attempts/{attempt}"
        os.makedirs(kept, exist_ok=True)
        for name in ("stdout", "stderr"):
            if os.path.lexists(f"{self.output}/{name}"):
                os.rename(f"{self.output}/{name}", f"{kept}/{name}")

    def _remove_results(self) -> None:
        if self.identity is None:
            remove(self.results)
        else:
            empty(self.results, self.identity)

    def _let_go_of_results(self) -> None:
        if self.wanted is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.wanted)


def error_line_of(path: str) -> str:
    """The line that says best why a run has failed; read now, as a file that is stored elsewhere would be a request."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    line = ""
    try:
        size = os.fstat(descriptor).st_size
        for tail in TAILS_BYTES:
            line = last_line(os.pread(descriptor, tail, max(0, size - tail)))
            if tail >= size or (line and not is_progress(line)):
                break
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return line


def make_room(sink: Sink, folder: str, start: Start) -> Room:
    """Make the folders for an attempt; what an earlier execution left at the place is removed, `status_code` first.

    `folder` is this attempt's own, not there yet: below the temporary folder. Raises RoomError.
    """
    run = start.run
    place = sink.local_path(run.remote_output_path)
    results = f"{folder}/results" if place is None else folder
    try:
        if place is None:
            make_below(folder)
        elif start.attempt == 1:
            make_empty(place)
        else:
            _remove_files(place)  # of this very attempt, if it has not come to its end before
        wanted = identity = None
        if run.local_results_dir is None:
            make_below(results)
        else:
            results, wanted = _make_wanted_results(run.local_results_dir), folder + WANTED
            identity = identity_of(os.stat(results))
            os.symlink(f"{identity[0]}:{identity[1]}:{results}", wanted)
    except OSError as error:
        text = f"{error.filename}: {error.strerror}"
        raise RoomError(text, error.errno not in HOPELESS_ERRNOS) from error
    output = folder if place is None else place
    return Room(output, folder, results, place is not None, wanted, identity)


def empty_wanted(folder: str) -> None:
    """Remove the results of an attempt that came to no end and had this folder, where the run had chosen their place:
    the next attempt wants to find it empty."""
    with contextlib.suppress(OSError):
        device, inode, results = os.readlink(folder + WANTED).split(":", 2)
        empty(results, (int(device), int(inode)))
        os.unlink(folder + WANTED)


def remove_attempt(folder: str) -> None:
    """Likewise, and the folder itself."""
    empty_wanted(folder)
    remove(folder)


def make_empty(output: str) -> None:
    """Make a run's output folder, or clear it. The mark goes first: what has none is not finished."""
    try:
        os.mkdir(output)
        return
    except FileNotFoundError:
        os.makedirs(output, exist_ok=True)
    except FileExistsError:
        pass
    old = [name for name in ("results", "attempts") if os.path.lexists(f"{output}/{name}")]
    if old:  # what holds a mount is found before anything is removed
        place = os.path.realpath(output)
        mounts = sorted((mounts_at(place) or frozenset()) - {place})
        _refuse(output, [Remaining(one, MOUNTED) for one in mounts])
    _remove_files(output)
    for name in old:
        _refuse(output, [one for one in remove(f"{output}/{name}") if not one.is_passing])


def _refuse(output: str, remaining: Sequence[Remaining]) -> None:
    """Raises RoomError where something stays: it would be taken for an output of the next execution."""
    if not remaining:
        return
    what = "unmount it" if remaining[0].is_mount else "remove it"
    raise RoomError(
        f"an earlier output in {output} {told(remaining)}; {what}, or choose another remote_output_path",
        False,
    )


def _remove_files(output: str) -> None:
    for name in ("status_code", "stdout", "stderr", ".status_code.half"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{output}/{name}")


def _make_wanted_results(wanted: str) -> str:
    results = os.path.realpath(os.path.expanduser(wanted))
    try:
        os.makedirs(results, exist_ok=True)
    except OSError as error:
        if error.errno == errno.EROFS:  # nobody has checked it before: it was so from the start
            raise RoomError(f"{error.filename}: {error.strerror}", False) from error
        raise
    if os.listdir(results):
        raise RoomError(
            f"local_results_dir {results} is not empty; empty it, or leave local_results_dir out",
            False,
        )
    return results
