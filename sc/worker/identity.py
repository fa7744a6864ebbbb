"""Who a worker is, and what it makes of where it runs."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional, Protocol


@dataclass(frozen=True)
class Identity:
    """A worker's names for itself."""

    worker: str
    """Unlike that of every other worker, ever: claims and records go by it."""
    machine: str
    fleet: str
    """`local` or `ec2`; empty where somebody typed `sc work`."""
    kind: str
    """The instance type, or `local`."""
    started: float
    """Unix seconds."""
    pid: int


@dataclass(frozen=True)
class Habits:
    """How often a worker does what, in seconds, and whether it stays when there is nothing to take."""

    lingers: bool = False
    """Its machine costs nothing: it stays until every part is ended, also through an outage of the storage."""
    heartbeat_seconds: float = 20.0
    stop_seconds: float = 20.0
    """Between looks at `stop`."""
    records_seconds: float = 60.0
    log_seconds: float = 60.0
    notice_seconds: float = 5.0
    """Between looks for a notice that the machine will be taken away."""

    poll_seconds: float = 12.0
    """Between looks for a part where there was none; a fifth as often while runs of its own go on and it costs."""

    def that(self, lingers: bool) -> Habits:
        """The same, for a machine that costs nothing, or does."""
        return replace(self, lingers=lingers)


FAR = Habits()
"""Where the job's place is S3, and each look is a request that costs."""
NEAR = Habits(
    heartbeat_seconds=2.0,
    stop_seconds=1.0,
    records_seconds=10.0,
    log_seconds=10.0,
    poll_seconds=0.5,
)
"""Where it is a folder."""


class Leave(NamedTuple):
    """This machine is going to be taken away."""

    reason: str
    is_certain: bool
    """False: nobody knows whether, or when. What goes on may end, and runs that are known to be short may begin."""


class Site(Protocol):
    """What the clerk asks of the machine it is on."""

    ends_others: bool
    """Whether it can end other machines of this job, which cost money."""

    def notice(self) -> Optional[Leave]:
        """Whether the machine is going to be taken away; asked every few seconds, never raises."""

    def proved(self) -> None:
        """Told once: the machine is prepared, and has taken its first part. Never raises."""

    def alive(self) -> None:
        """Told every minute or so from then on, as long as main process and clerk go on. Never raises."""

    def end(self, machine: str, is_replaced: bool) -> None:
        """End another machine of this job, which hangs. Returns at once, never raises."""


class NoSite:
    """A machine of which nothing is known."""

    ends_others = False

    def notice(self) -> Optional[Leave]:
        return None

    def proved(self) -> None:
        """Nobody wants to know."""

    def alive(self) -> None:
        """Nobody wants to know."""

    def end(self, machine: str, is_replaced: bool) -> None:
        """It is not ours."""


def worker_name(machine: str, pid: int) -> str:
    """A name for a worker on a machine that may have several: safe as part of a key."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", machine).strip("-") or "host"
    return f"{host[:40]}-{int(time.time()):x}-{pid}"
