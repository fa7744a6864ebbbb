"""`workers/<id>.json`: what a worker tells of itself now and then. Written here, and read here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Optional

from sc.grouping import Group
from sc.model import is_count, is_number

LAST_STATES = ("left", "interrupted", "failed")
"""Last words."""
STATES = ("working", "leaving", *LAST_STATES)
_LONGEST_ERROR = 2000


@dataclass(frozen=True)
class Heartbeat:
    """One worker at one moment."""

    worker: str
    machine: str
    fleet: str
    kind: str
    """The instance type, or `local`."""
    nprocs: int
    state: str
    started: float
    """Unix seconds of that machine's clock."""
    parts: int = 0
    """Taken so far."""
    completed: int = 0
    failed: int = 0
    lost: int = 0
    not_stored: int = 0
    waiting: int = 0
    saving: int = 0
    running: tuple[tuple[int, str, float], ...] = ()
    """Rank, output path, seconds."""
    error: str = ""
    """The last thing that went wrong."""
    errors: tuple[Group, ...] = ()
    """What failed runs have said last: a few kinds, the most frequent first."""
    load: float = 0.0
    """Processes that run or want to, on average of the last minute, as `uptime` tells."""
    vcpus: int = 0
    version: str = ""
    """Of sc."""
    python: str = ""
    pid: int = 0

    @property
    def is_last(self) -> bool:
        """True if the worker will say no more."""
        return self.state in LAST_STATES

    def to_bytes(self) -> bytes:
        document = asdict(self)
        document["error"] = self.error[-_LONGEST_ERROR:]
        return json.dumps(document, ensure_ascii=True).encode()


def heartbeat_of(data: bytes) -> Optional[Heartbeat]:
    """The reverse of `to_bytes`; None for anything else, since a display must not die of it."""
    try:
        document = json.loads(data)
        fields = {
            name: document[name] for name in Heartbeat.__dataclass_fields__ if name in document
        }
        fields["running"] = tuple(_running(one) for one in fields.get("running", ()))
        fields["errors"] = tuple(_group(one) for one in fields.get("errors", ()))
        heartbeat = Heartbeat(**fields)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return heartbeat if _is_sound(vars(heartbeat)) else None


def _running(one: Any) -> tuple[int, str, float]:
    rank, path, seconds = one
    if not (is_count(rank) and isinstance(path, str) and is_number(seconds)):
        raise ValueError("not a run that goes on")
    return rank, path, seconds


def _group(one: Mapping[str, Any]) -> Group:
    group = Group(**one)
    texts = group.text, group.example
    if not (is_count(group.count) and all(isinstance(text, str) for text in texts)):
        raise ValueError("not a group of errors")
    return group


def _is_sound(fields: Mapping[str, Any]) -> bool:
    texts = ("worker", "machine", "fleet", "kind", "state", "error", "version", "python")
    counts = (
        "nprocs",
        "parts",
        "completed",
        "failed",
        "lost",
        "not_stored",
        "waiting",
        "saving",
        "pid",
        "vcpus",
    )
    return (
        all(isinstance(fields[name], str) for name in texts)
        and fields["state"] in STATES
        and all(is_count(fields[name]) for name in counts)
        and all(is_number(fields[name]) for name in ("started", "load"))
    )
