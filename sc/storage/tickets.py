"""Compare-and-swap on the files of a folder, safe among processes and machines, also over NFS.

    read tag T ──▶ ticket "T may be replaced" ──▶ is the tag still T? ──▶ rename ──▶ tear up

Why this is right. A *ticket* is an empty file that is created exclusively, and whose name is made
of the file's name and of its tag T. Exclusive creation and rename are atomic on every file system,
NFS included, while locks are not everywhere: Lustre and BeeGFS may leave them out or keep them per
machine.

1. Only who holds the ticket for T renames a new version over T. So if the tag is still T *after*
   the ticket was taken, nobody can change it until we do.
2. A tag never comes back: each version gets an mtime above that of the one before, so a late comer
   with a ticket for a past version finds another tag, tears up its ticket and has lost. (A clock that
   was put back by more than SET_BACK_SECONDS starts anew: else every version would seem to be as old
   as the first one after that. Its nanoseconds, size and inode make a tag unlike those of back then.)
3. A holder that was killed leaves its ticket. After STALE_SECONDS, by the file system's clock, the
   next one does not remove it, for two might do that, and the second would remove the first one's
   new ticket; it takes the ticket with the next *number* instead. Nothing is ever taken away
   while T is current, so each number has exactly one owner. The winner removes them all, when T
   is past.
4. A holder that was merely held up asks its own clock right before the rename, and gives up after
   GIVE_UP_SECONDS. What remains is a process that sleeps for the difference *between* these two
   calls; no lease without a server's help can do better.

Where a file system has no hard links, a file is *created* in the same way, as the swap of
"nothing" for something. That "version" does come back, so there the ticket is a plain lock.

Reading the tag opens the file: NFS checks with its server at `open`, while a bare `stat` may be
answered from a cache that is seconds old.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import Callable, Optional

from sc.storage.atomic_files import HIDDEN, Draft

STALE_SECONDS = 30.0
GIVE_UP_SECONDS = 10.0
SET_BACK_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 0.05
_TIME_STEPS_NS = (1, 100, 1000, 10**9, 2 * 10**9)
"""ext4 and NFS; SMB; old ext; FAT."""

Age = Callable[[str], float]
"""How old a file is, in seconds by its file system's clock. Raises FileNotFoundError."""

ABSENT = ""
"""The tag of a file that is not there."""


def tag_of(status: os.stat_result) -> str:
    """The tag of a file; see `Entry.tag`."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def fresh_status(path: str) -> Optional[os.stat_result]:
    """What the file's own server says of it now; None if there is no regular file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        status = os.stat(path)
    else:
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
    return status if stat.S_ISREG(status.st_mode) else None


def _tag_at(path: str) -> str:
    status = fresh_status(path)
    return ABSENT if status is None else tag_of(status)


class Tickets:
    """Swaps files; time is given: `age` of a file, `monotonic` seconds, and a `pause` to wait."""

    def __init__(
        self, age: Age, monotonic: Callable[[], float], pause: Callable[[float], None]
    ) -> None:
        self._age, self._monotonic, self._pause = age, monotonic, pause

    def swap(self, path: str, draft: Draft, tag: str) -> Optional[str]:
        """Publish `draft` at `path` if that still has `tag`. The new tag, or None if it has not."""
        number = self._take(path, tag)
        if number is None:
            return None
        taken, past = self._monotonic(), False
        try:
            old = fresh_status(path)
            if (ABSENT if old is None else tag_of(old)) != tag:
                past = True
                return None
            new = _mtime_above(draft.fd, old)
            if self._monotonic() - taken > GIVE_UP_SECONDS:
                return None
            draft.publish(path)
            past = True
            return new
        finally:
            if past:
                _tear_up(path, tag, range(number + 1))
            elif self._monotonic() - taken <= GIVE_UP_SECONDS:
                _tear_up(path, tag, [number])  # a full disk, say; an old one is no longer ours

    def _take(self, path: str, tag: str) -> Optional[int]:
        """The number of our ticket; None as soon as the file no longer has this tag."""
        number, pause = 0, 0.001
        while True:
            if _tag_at(path) != tag:
                return None
            name = ticket_name(path, tag, number)
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                return number
            except FileExistsError:
                pass
            try:
                stale = self._age(name) > STALE_SECONDS
            except FileNotFoundError:
                continue  # torn up just now: the tag tells who won
            if stale:
                number += 1
                continue
            self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def ticket_name(path: str, tag: str, number: int) -> str:
    """The name of one ticket, beside the file; short, however long the file's name is."""
    folder, name = os.path.split(path)
    digest = hashlib.sha256(os.fsencode(f"{name}/{tag}")).hexdigest()[:32]
    return os.path.join(folder, f"{HIDDEN}ticket-{digest}-{number}")


def _tear_up(path: str, tag: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        with suppress(FileNotFoundError):
            os.unlink(ticket_name(path, tag, number))


def _mtime_above(fd: int, old: Optional[os.stat_result]) -> str:
    """Make the draft's mtime greater than the old version's, and tell its tag.

    A kernel's file times move in ticks of some milliseconds, and a freed inode number is soon
    used again: two quick changes could bring an old tag back. Not every file system keeps
    nanoseconds, so the least step that it keeps is taken.
    """
    status = os.fstat(fd)
    for step in _TIME_STEPS_NS:
        if old is None or status.st_mtime_ns > old.st_mtime_ns:
            break
        if status.st_mtime_ns < old.st_mtime_ns - SET_BACK_SECONDS * 1e9:
            break
        os.utime(fd, ns=(old.st_mtime_ns + step,) * 2)
        status = os.fstat(fd)
    return tag_of(status)
