"""Where outputs and a job's keys are kept: a folder (`sc.storage.local`) or S3 (`sc.storage.s3`).

`open_storage()` gives one object that takes any place (`s3://…`, `sfs://…`, `file:///…`, a folder)
and hands the call to the right kind. boto3 is imported when the first `s3://` place is used, not
before. A storage is for one process, whose threads may share it: open another after a fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Optional, Protocol

from sc.widths import OPEN, Width

FIRST_PROCESS = os.getpid()
"""The one that the user has started: others are forks of it."""


class Entry(NamedTuple):
    """What a listing or `stat` tells of one object."""

    place: str
    """The full place, in the form in which it was asked for: `sfs://` asked, `sfs://` answered."""
    size: int
    """Bytes."""
    tag: str
    """Changes whenever the content does: S3's ETag without quotes; of a folder, a text of
    mtime, size and inode."""
    age_seconds: float
    """By the storage's own clock, never by this machine's."""
    is_age_sure: bool = True
    """False where that clock was set meanwhile, and the object may as well be older than `age_seconds`."""


class Storage(Protocol):
    """All that `sc` asks of a place.

    Every method raises MissingError where the object has to be there and is not, InputError for
    what is no place, and StorageError, with a sentence that names the place and the next step, for
    everything else. Passing trouble (time-outs, 5xx, 429, SlowDown, resets) is tried again inside
    for about a minute before it is an error. Nobody ever sees half an object.
    """

    def check(self, place: str) -> None:
        """Prove that the place can be used for outputs, without any effect there; raise if not.

        Of a folder the nearest one above that exists must be writable, and its disk not full; of S3
        the bucket must answer, and soon: this is the first contact.
        """

    def check_conditions(self, place: str) -> None:
        """Prove that `create` and `replace` hold below the place, by which workers share a job; raise if they do not.

        For a few requests, and with no effect that lasts: of S3 an object is made there, and removed.
        """

    def local_path(self, place: str) -> Optional[str]:
        """The folder or file of this machine that the place is, or None if it is elsewhere."""

    def put(self, place: str, data: bytes, width: Width = OPEN) -> str:
        """Store `data`, replacing what was there. Returns the tag. In a folder nobody beyond `width` may read it."""

    def put_file(self, place: str, path: str) -> None:
        """Store a file of any size in bounded memory; it may grow meanwhile: its size now counts.

        A folder keeps its mode, its time of change and its holes too; S3 keeps the mode of one that can be executed.
        """

    def moved(self) -> int:
        """A number that changes while an upload of this process moves, and stays while it waits for a server."""

    def get(self, place: str, start: int = 0) -> bytes:
        """The content from byte `start` on; a negative `start` counts from the end."""

    def get_file(self, place: str, path: str, size: Optional[int] = None) -> None:
        """Fetch into a local file, which appears at once when all is there, in bounded memory.

        It gets back what was kept beside its content. `size` is what a listing has told, if one has: a small object
        takes one request.
        """

    def stat(self, place: str) -> Optional[Entry]:
        """None if there is nothing."""

    def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Entry]:
        """Every object below the place (a folder; not a mere prefix), by its key's UTF-8 bytes.

        A folder in which something may not be looked at lists all the rest before it raises StorageError.

        `start_after` and `end_before` are texts relative to the place and bound the range (both
        exclusive), so that several threads can list a range each: ranges with common bounds have
        every object once. A server that keeps a tree (SeaweedFS) lists folder by folder, `a/b`
        before `a!`, and bounds are by that order too: do not merge listings by their order.
        """

    def list_folders(self, place: str) -> Iterator[str]:
        """The names of what lies directly below the place and has something below itself. A folder that this user may
        not look into, such as another user's job, is left out."""

    def delete(self, places: Iterable[str]) -> None:
        """Remove objects, many to a request; what is not there is no error."""

    def create(self, place: str, data: bytes) -> Optional[str]:
        """Store only if nothing is there. Returns the tag, or None if somebody was first.

        After a write whose answer was lost the same call may meet its own object: it then compares
        the content and returns the tag all the same if it is equal.
        """

    def replace(self, place: str, data: bytes, tag: str) -> Optional[str]:
        """Store only if the object still has this tag; None if it has changed or gone.

        Returns the new tag. Among several callers with the same tag exactly one wins.
        """


def open_storage(environ: Mapping[str, str] = os.environ) -> Storage:
    """One storage for any place. Costs nothing until a place is used."""
    from sc.storage.router import AnyStorage

    return AnyStorage(environ)
