"""The temporary folder of one execution, and the rescue of what could not be stored from it."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Optional

from sc.executor.messages import Save
from sc.executor.removal import Remaining, remove
from sc.executor.results import mounts_at

PREFIX, KEPT_PREFIX, LOCK, MEMBERS = "sc-run-", "sc-kept-", "lock", "members"
LAST_OUT_SECONDS = 5.0
ALONE_SECONDS = 5.0


@dataclass
class Kept:
    """What could not be stored."""

    folder: Optional[str] = None
    places: set[str] = field(default_factory=set)
    """Of the runs."""
    reason: str = ""


class TemporaryFolder:
    """A folder that is removed at the end; if that end never comes, the next execution removes it.

    It holds a locked file: the lock ends with its owner, whatever that dies of. The folder itself has a lock, too, by
    which systemd-tmpfiles leaves it alone (tmpfiles.d(5)), however old what is in it becomes.
    """

    def __init__(self, parent: Optional[str]) -> None:
        self.parent = parent or tempfile.gettempdir()
        self.remaining: list[Remaining] = []
        """What could not be removed at the end."""
        self._is_kept = False
        with _alone_in(self.parent) as is_alone:
            _remove_forsaken(self.parent, is_alone)
            self.path = os.path.realpath(tempfile.mkdtemp(prefix=PREFIX, dir=self.parent))
            try:
                self._lock = _lock(f"{self.path}/{LOCK}", os.O_CREAT)
                # Now, as there may be no room for it when a member begins.
                os.close(os.open(f"{self.path}/{MEMBERS}", os.O_CREAT | os.O_RDWR, 0o600))
                self._own = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
                with suppress(OSError):
                    fcntl.flock(self._own, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                remove_files(self.path)
                raise

    @staticmethod
    def sweep(parent: Optional[str] = None) -> None:
        """Remove what executions that were killed have left, as the next one would."""
        parent = parent or tempfile.gettempdir()
        with suppress(OSError), _alone_in(parent) as is_alone:
            _remove_forsaken(parent, is_alone)

    def __enter__(self) -> TemporaryFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove all of it; but what was to be kept and could not be moved stays, and the lock alone goes. What cannot
        be removed the next execution tries again."""
        if self._is_kept:
            with suppress(OSError):
                os.unlink(f"{self.path}/{LOCK}")
        else:
            self.remaining = _remove_all(self.path)
        os.close(self._own)
        os.close(self._lock)

    def keep(self, saves: Sequence[Save], kept: Optional[str]) -> str:
        """Move what could not be stored to a folder that nobody removes, and return that.

        Each is a folder with `stdout`, `stderr`, `results`, and `run.json`, which says where they belong and the code.
        On a full disk as much of this as can be; what cannot be moved stays where it is.
        """
        try:
            kept = kept or tempfile.mkdtemp(prefix=KEPT_PREFIX, dir=self.parent)
            for save in saves:
                _keep_one(save, f"{kept}/{save.number}")
        except OSError:
            self._is_kept = True
        return kept or self.path


def _keep_one(save: Save, target: str) -> None:
    if save.left.folder is not None and os.path.isdir(save.left.folder):
        _move(save.left.folder, target)
    os.makedirs(target, exist_ok=True)
    results = save.left.results
    if results and os.path.isdir(results) and not os.path.lexists(f"{target}/results"):
        _move(results, f"{target}/results")
    document = {
        "remote_output_path": save.remote_output_path,
        "code": save.code,
        "attempt": save.attempt,
    }
    with open(f"{target}/run.json", "w") as file:
        json.dump(document, file)


def _move(source: str, target: str) -> None:
    """Not by `shutil.move`, which removes what is mounted, and stops at a pipe. Raises OSError for a mount point."""
    try:
        os.rename(source, target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    mounts = mounts_at(os.path.realpath(source)) or frozenset()

    def left_out(folder: str, names: Sequence[str]) -> list[str]:
        paths = {name: os.path.join(os.path.realpath(folder), name) for name in names}
        return [name for name, path in paths.items() if path in mounts or not _can_be_copied(path)]

    shutil.copytree(source, target, symlinks=True, ignore=left_out)
    remove(source)


def _can_be_copied(path: str) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


class Membership:
    """A process's part in the temporary folder of a loop that may die before it.

    Each member holds a shared lock as long as it lives. Who leaves a dead loop's folder removes it, but only when the
    others are gone: a saver that found a run's results removed would take it for a run without results.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(folder, 0o700, exist_ok=True)  # somebody may have removed it
        self._lock = os.open(f"{folder}/{MEMBERS}", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Called when nothing of this member is left. A loop that lives removes the folder itself, when it
        has seen all of its members off: then there is nothing to wait for here."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        if is_locked(f"{self._folder}/{LOCK}"):
            return
        end = time.monotonic() + LAST_OUT_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.01)
                continue
            _remove_all(self._folder)
            return


def _remove_all(folder: str) -> list[Remaining]:
    """Remove the temporary folder of an execution, the lock last: where something stays, somebody tries again later."""
    try:
        names = [name for name in os.listdir(folder) if name not in (LOCK, MEMBERS)]
    except OSError:
        names = []  # not even a file more can be opened, perhaps
    remaining = [one for name in names for one in remove(f"{folder}/{name}")]
    if not remaining:
        remove_files(folder)
    return remaining


def remove_files(folder: str) -> None:
    """Remove the files of a folder in which there is nothing else, and the folder."""
    for name in (LOCK, MEMBERS):
        with suppress(OSError):
            os.unlink(f"{folder}/{name}")
    with suppress(OSError):
        os.rmdir(folder)


def make_below(path: str) -> None:
    """Make a folder in the temporary folder; that, too, if somebody has removed it: who tidies up, say."""
    try:
        os.mkdir(path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.mkdir(path)


def is_vanished(path: str) -> bool:
    """True if something in the temporary folder is not there, as somebody has removed all of that. Where it is made
    again there is no lock in it."""
    if os.path.lexists(path):
        return False
    above = os.path.dirname(path)
    while not os.path.basename(above).startswith(PREFIX):
        if above in ("/", ""):
            return False  # a folder of the run's own choice
        above = os.path.dirname(above)
    return not os.path.lexists(f"{above}/{LOCK}")


def is_locked(path: str) -> bool:
    """True if some process holds the lock of this file."""
    try:
        lock = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def _alone_in(parent: str) -> Iterator[bool]:
    """While one execution makes its folder and locks it no other looks for folders without a lock. False where that
    cannot be had: some network folders know no locks, and somebody may hold this one."""
    with ExitStack() as stack:
        try:
            descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            is_alone = _wait_for_lock(descriptor)
        except OSError:
            is_alone = False
        yield is_alone


def _wait_for_lock(descriptor: int) -> bool:
    end = time.monotonic() + ALONE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        else:
            return True


def _remove_forsaken(parent: str, is_alone: bool) -> None:
    """Remove the folders of executions that have died, all members included: those whose lock nobody holds, and the
    empty ones, whose owner has not come so far as to lock them. What was kept has no lock, and is not empty."""
    for path in glob.glob(f"{glob.escape(parent)}/{PREFIX}*"):
        try:
            lock = _lock(f"{path}/{LOCK}", 0)
        except FileNotFoundError:
            if is_alone:
                with suppress(OSError):
                    os.rmdir(path)
        except OSError:
            continue  # another user's, or its owner lives
        else:
            if not is_locked(f"{path}/{MEMBERS}"):  # else the last of them removes it
                _remove_all(path)
            os.close(lock)


def _lock(path: str, flags: int) -> int:
    """A descriptor of the file, with its lock. Raises OSError if somebody else has it."""
    lock = os.open(path, os.O_RDWR | flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
