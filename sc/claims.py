"""Who works on which part: claims in the storage, without a server and without trusting any machine's clock.

    nothing ──take──▶ held ──renew──▶ held ──(part ended)──▶ stays, beside done/<n>
                       │ ▲
              give_back│ │take_over (of what was given back, or of what is older than the lease)
                       ▼ │
                      free

Every step is one conditional write, so of many who try, one succeeds. A claim is never deleted: a key that
comes and goes would let two create it. What is given back becomes a tiny object instead, so that a LIST, which
tells sizes, ages and tags, shows the state of every part, and its tag is all that taking it over needs.

A renewal changes the content (it counts), because the tag of S3 depends on nothing else: a claim that was renewed
a moment ago can then not be taken over by somebody who still has the old listing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Optional

from sc import paths
from sc.errors import MissingError
from sc.model import is_count
from sc.storage import Entry, Storage

LEASE_SECONDS = 120.0
"""A claim that was not renewed for so long is taken over: what a machine may be away for."""
RENEWALS_PER_LEASE = 4
"""How often a claim is renewed within its lease, so that three renewals may fail."""
MAX_LOSSES = 3
"""A part that has lost so many machines is ended: it may be what kills them."""

SHORT_NOTE = 24
"""Bytes of the longest `done/<n>` that tells of nothing but completed runs."""
_FAILED_SIZE, _MOST_FAILED = 64, 4000
_FREE_SIZE = 24
"""A claim of at most so many bytes is free; one that is held is longer than 70."""
_REMEMBERED_HOLDERS = 8


@dataclass(frozen=True)
class Claim:
    """One part in one worker's hands."""

    part: int
    worker: str
    nonce: str
    """Makes this claim unlike every other, also of the same worker."""
    losses: int = 0
    """Machines that held this part and were lost."""
    renewals: int = 0
    holders: tuple[str, ...] = ()
    """Who was lost with it before, the latest last."""
    tag: str = ""
    """Of the object that stands for this claim; not part of it."""
    was_begun: bool = False
    """Somebody had it before: some of its runs may be done. Not part of the object either."""

    def to_bytes(self) -> bytes:
        """The content of `claims/<n>` while the part is held."""
        document = {
            "worker": self.worker,
            "nonce": self.nonce,
            "losses": self.losses,
            "renewals": self.renewals,
            "holders": list(self.holders),
        }
        return json.dumps(document, ensure_ascii=True).encode()

    @property
    def is_hopeless(self) -> bool:
        """True when the part is to be ended instead of tried again."""
        return self.losses >= MAX_LOSSES


def is_free(entry: Entry) -> bool:
    """True if the listed claim was given back."""
    return entry.size <= _FREE_SIZE


def take(storage: Storage, job_url: str, part: int, worker: str, nonce: str) -> Optional[Claim]:
    """Claim a part that nobody has had. None if somebody was first."""
    claim, place = Claim(part, worker, nonce), paths.claim(job_url, part)
    tag = storage.create(place, claim.to_bytes())
    if tag is None:
        tag = own_tag(storage, place, claim.to_bytes())
    return None if tag is None else replace(claim, tag=tag)


def take_over(
    storage: Storage, job_url: str, part: int, tag: str, worker: str, nonce: str
) -> Optional[Claim]:
    """Claim a part that was given back, or whose lease is over, as a listing with this tag has shown.

    None if it has changed since. The claim of a lost machine counts as a loss, one given back does not.
    """
    place = paths.claim(job_url, part)
    try:
        before = _read(part, storage.get(place))
    except MissingError:
        return None
    lost = (before.worker,) if before.worker else ()
    claim = Claim(
        part,
        worker,
        nonce,
        losses=before.losses + len(lost),
        holders=(*before.holders, *lost)[-_REMEMBERED_HOLDERS:],
        was_begun=True,
    )
    new_tag = _replace(storage, place, claim.to_bytes(), tag)
    return None if new_tag is None else replace(claim, tag=new_tag)


def renew(storage: Storage, job_url: str, claim: Claim) -> Optional[Claim]:
    """Start the lease anew. None: the claim is lost, somebody else has the part or may have it."""
    renewed = replace(claim, renewals=claim.renewals + 1)
    tag = _replace(storage, paths.claim(job_url, claim.part), renewed.to_bytes(), claim.tag)
    return None if tag is None else replace(renewed, tag=tag)


def give_back(storage: Storage, job_url: str, claim: Claim) -> bool:
    """Let go of a part that is not ended, so that another may take it at once; no loss is counted.

    To be called when none of its runs goes on any more. False if the claim was lost already.
    """
    free = json.dumps({"losses": claim.losses}).encode()
    return storage.replace(paths.claim(job_url, claim.part), free, claim.tag) is not None


def recall(storage: Storage, job_url: str, part: int, worker: str) -> Optional[Claim]:
    """The claim that this worker holds according to the storage (after whoever kept it in memory has died).

    None if it is somebody else's.
    """
    place = paths.claim(job_url, part)
    entry = storage.stat(place)
    if entry is None:
        return None
    try:
        claim = _read(part, storage.get(place))
    except MissingError:
        return None
    # The tag is from before the content was read: if the claim changed between, the next renewal fails.
    return replace(claim, tag=entry.tag) if claim.worker == worker else None


def _replace(storage: Storage, place: str, data: bytes, tag: str) -> Optional[str]:
    """Like `storage.replace`, but knows what it has written itself."""
    new_tag = storage.replace(place, data, tag)
    return own_tag(storage, place, data) if new_tag is None else new_tag


def own_tag(storage: Storage, place: str, data: bytes) -> Optional[str]:
    """The tag of what we were told that we could not write, if it was written all the same; else None.

    A write that took effect and was repeated, by us or by a proxy on the way, meets its own object and is told that
    it lost. Our content is like no other (nonce and count of renewals), so reading it tells; whoever lost to another,
    as nearly all do, needs no more than that one request.
    """
    try:
        if storage.get(place) != data:
            return None
        # The tag is from between two looks at the same content: it is that content's.
        entry = storage.stat(place)
        return entry.tag if entry is not None and storage.get(place) == data else None
    except MissingError:
        return None


def _read(part: int, data: bytes) -> Claim:
    """A claim as the storage has it; what is no claim at all is taken for one that nobody holds."""
    fields = _fields(data)
    holders = fields.get("holders")
    return Claim(
        part,
        worker=_text(fields.get("worker")),
        nonce=_text(fields.get("nonce")),
        losses=_count(fields.get("losses")),
        renewals=_count(fields.get("renewals")),
        holders=tuple(filter(None, map(_text, holders[-_REMEMBERED_HOLDERS:])))
        if isinstance(holders, list)
        else (),
    )


def _fields(data: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and is_count(value) else 0


def done_note(
    completed: int,
    failed: int,
    lost: Sequence[str],
    worker: str,
    trouble: str = "",
    not_stored: int = 0,
) -> bytes:
    """The content of `done/<n>`.

    A part in which all went well says only `{"completed":24}`; one in which runs failed, and nothing worse, is filled
    up with blanks to 64 bytes and one for each failure. A listing of `done/` then tells by the sizes alone how many
    have failed, and which few parts have to be read to know what else went wrong.
    """
    document: dict[str, object] = {"completed": completed}
    if failed:
        document.update(failed=failed)
    if not lost and not trouble and not not_stored and failed <= _MOST_FAILED:
        note = json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()
        return note.ljust(_FAILED_SIZE + failed) if failed else note
    document.update(failed=failed, not_stored=not_stored, lost=list(lost))
    document.update(worker=worker, trouble=trouble)
    note = json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()
    return note.ljust(_FAILED_SIZE + _MOST_FAILED + 1)


def failed_by_size(size: int) -> Optional[int]:
    """How many runs of a part have failed, by the size of its `done/<n>`; None if it has to be read to be known."""
    if size <= SHORT_NOTE:
        return 0
    return size - _FAILED_SIZE if _FAILED_SIZE < size <= _FAILED_SIZE + _MOST_FAILED else None


class DoneNote(NamedTuple):
    """What `done/<n>` says."""

    completed: int = 0
    failed: int = 0
    lost: tuple[str, ...] = ()
    """Output paths of runs that nobody will do any more."""
    trouble: str = ""
    not_stored: int = 0
    """Runs that have ended, and whose outputs could not be stored."""


def read_done_note(data: bytes) -> DoneNote:
    """The reverse of `done_note`; what is none is told as trouble."""
    fields = _fields(data)
    lost = fields.get("lost")
    return DoneNote(
        _count(fields.get("completed")),
        _count(fields.get("failed")),
        tuple(map(_text, lost)) if isinstance(lost, list) else (),
        _text(fields.get("trouble")) if fields else "its note cannot be read",
        _count(fields.get("not_stored")),
    )
