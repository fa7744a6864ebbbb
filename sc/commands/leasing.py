"""The lease that an execution on this machine takes on its runs, before it touches anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Optional

from sc.commands.voice import say
from sc.errors import StorageError

if TYPE_CHECKING:
    from sc.errands import Errands
    from sc.held_lease import HeldLease
    from sc.leases import Runs, Times
    from sc.storage import Storage


@contextmanager
def leased(
    storage: Storage,
    url: str,
    execution: str,
    runs: Runs,
    errands: Errands,
    times: Optional[Times] = None,
) -> Iterator[HeldLease]:
    """Nobody else executes these runs from here on, until the feed that gets the lease has given it up.

    Raises BusyError if somebody does so now, and then has changed nothing.
    """
    from sc.held_lease import HeldLease, awake_clock
    from sc.holder import this_process
    from sc.leases import TIMES, Claimant, Lease, release

    times = times or TIMES
    lease = Lease(execution, this_process(time.time()))
    claimant = Claimant(storage, url, lease, runs, awake_clock, time.sleep, times=times)
    since = claimant.acquire(lambda line: say(f"sc: {line}"))
    del claimant  # it knows every run
    try:
        yield HeldLease(runs.place, url, lease, errands, since, times)
    except StorageError:
        raise  # it would not remove anything either
    except BaseException:
        with suppress(StorageError):
            release(storage, url, execution)
        raise
