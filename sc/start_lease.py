"""Who is starting a job: a lease on the job's place, so that two starts of one job never mix.

    nothing ──create──▶ held ──renew (a thread, every 15 s)──▶ held ──(started, or given up)──▶ nothing
                         └──(its process has died, or it was not renewed for a minute)──▶ taken over

Taken before anything is changed in the job's place, machines included. Each step is one conditional write, so of many
who try, one succeeds. Ages are told by the storage's clock, as those of `sc.leases`, whose times and holders these are.
Whoever was away for so long that another may have come (a laptop that slept) finds that out before its next step, and
ends without taking anything away: what is there may be the other's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Optional

from sc import paths
from sc.claims import own_tag
from sc.errors import BusyError, MissingError, StorageError
from sc.holder import Holder, is_alive
from sc.leases import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    RUNNING,
    TIMES,
    UNTOLD_SECONDS,
    Lease,
    Tell,
    Times,
    lease_of,
    when,
)
from sc.storage import Storage

RETRY_SECONDS = 5.0
"""After a renewal that the storage has refused."""


class StartLease:
    """One start of one job. `clock` goes on while the machine sleeps."""

    def __init__(
        self,
        storage: Storage,
        url: str,
        nonce: str,
        holder: Holder,
        clock: Callable[[], float],
        pause: Callable[[float], None],
        *,
        is_alive: Callable[[Holder], Optional[bool]] = is_alive,
        times: Times = TIMES,
    ) -> None:
        """`nonce` is the job's: it is also on all that this start makes elsewhere."""
        self.is_lost = False
        """Another start may have, or have had, the job's place since."""
        self._storage, self._url, self._nonce = storage, url, nonce
        self._lease = Lease(nonce, holder, RUNNING)
        self._clock, self._pause, self._is_alive = clock, pause, is_alive
        self._times = times
        self._tag: Optional[str] = None
        self._confirmed = 0.0
        """Whoever looked after this moment, and for the lease's length from then on, has found us."""
        self._lock = threading.Lock()
        self._over = threading.Event()

    def look(self, tell: Tell) -> None:
        """Return when nobody is starting this job. Waits, with a word to `tell`, for whoever may have died elsewhere.
        Raises BusyError if somebody does."""
        self._free_tag(tell)

    def acquire(self, tell: Tell) -> None:
        """The same, and from here on nobody else does. To be ended by `release`."""
        while self._tag is None:
            tag, began, data = self._free_tag(tell), self._clock(), self._to_bytes()
            if tag is None:
                self._tag = self._storage.create(self._place, data)
            else:
                self._tag = self._storage.replace(self._place, data, tag)
            self._tag = self._tag or own_tag(self._storage, self._place, data)
            self._confirmed = began
        with suppress(RuntimeError):  # no thread can be started: `check` renews, too
            threading.Thread(target=self._keep, name="sc-start", daemon=True).start()

    def check(self) -> None:
        """Before each step. Raises BusyError if another start may have come, StorageError if that cannot be told."""
        if self._clock() - self._confirmed > self._times.renew_seconds:
            self._renew()
        if self.is_lost:
            raise BusyError(
                f"this start of {self._url} was away for longer than its lease ({self._times.lease_seconds:.0f} s), "
                "and somebody else may have started the job meanwhile: nothing more was done; look with 'sc ps' and "
                "'sc watch', and start it again if need be"
            )

    def release(self) -> None:
        """Leave no trace. What cannot be removed now is over in a minute. Never raises."""
        self._over.set()
        with suppress(StorageError, BusyError):
            if self._tag is not None:
                self.check()
                self._storage.delete([self._place])
        self._tag = None

    @property
    def _place(self) -> str:
        return paths.starting(self._url)

    def _to_bytes(self) -> bytes:
        document = {"nonce": self._nonce, **json.loads(self._lease.to_bytes())}
        return json.dumps(document, ensure_ascii=True).encode()

    def _keep(self) -> None:
        pause = self._times.renew_seconds
        while not self._over.wait(pause) and not self.is_lost:
            try:
                self._renew()
                pause = self._times.renew_seconds
            except StorageError:
                pause = RETRY_SECONDS

    def _renew(self) -> None:
        with self._lock:
            if self.is_lost or self._tag is None:
                return
            self._lease = replace(self._lease, renewals=self._lease.renewals + 1)
            began, data = self._clock(), self._to_bytes()
            tag = self._storage.replace(self._place, data, self._tag)
            tag = tag or own_tag(self._storage, self._place, data)
            self.is_lost = tag is None
            self._tag, self._confirmed = tag or self._tag, began

    def _free_tag(self, tell: Tell) -> Optional[str]:
        """None if there is nothing; the tag of what is over."""
        pause, since, told = FIRST_PAUSE_SECONDS, self._clock(), False
        first: Optional[str] = None
        while True:
            entry = self._storage.stat(self._place)
            if entry is None:
                return None
            try:
                lease = lease_of("", self._storage.get(self._place))
            except MissingError:
                continue
            first = entry.tag if first is None else first
            alive, is_same = self._is_alive(lease.holder), entry.tag == first
            is_over = is_same and self._clock() - since > self._times.lease_seconds
            if alive is False or is_over or entry.age_seconds > self._times.lease_seconds:
                return entry.tag
            if alive or not is_same:
                raise BusyError(self._sentence(lease.holder))
            if not told and self._clock() - since > UNTOLD_SECONDS:
                tell(
                    f"{self._url} is being started by {lease.holder} since {when(lease.holder)}, which may have died: "
                    f"waiting until that is known, at most {self._times.lease_seconds:.0f} s"
                )
                told = True
            self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _sentence(self, holder: Holder) -> str:
        return (
            f"another start of the job {self._url} is under way, by {holder} since {when(holder)}: wait for its end, "
            "or give this job another --name; nothing was changed here"
        )
