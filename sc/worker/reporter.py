"""What a worker tells of itself: heartbeats, records, its log."""

from __future__ import annotations

import os
import platform
from typing import Optional

from sc import __version__, paths
from sc.glances import Glance
from sc.grouping import Groups, kind_of
from sc.heartbeats import Heartbeat
from sc.machine import count_vcpus
from sc.model import Counts, Outcome
from sc.records import Records
from sc.storage import Storage
from sc.worker import messages
from sc.worker.identity import Identity
from sc.worker.messages import Pulse, RecordsKept

_LOG_BYTES = 1 << 20


class Reporter:
    """Writes below workers/, glances/, records/ and logs/. Methods raise StorageError; what was not stored is kept."""

    def __init__(
        self, storage: Storage, job_url: str, identity: Identity, log: Optional[int]
    ) -> None:
        """`log` is a descriptor of the file that holds what this process says, if there is one."""
        self.tally = Counts()
        self.parts = 0
        self.nprocs = 0
        self.pulse = Pulse((), 0, 0, "")
        self.error = ""
        self._storage = storage
        self._job_url = job_url
        self._identity = identity
        self._log = log
        self._logged: tuple[int, int] = (0, 0)
        self._errors = Groups()
        self._glance = ""
        self._records = Records(job_url, identity.worker)
        self._pending: Optional[tuple[str, bytes]] = None
        self._told = 0

    def begin(self, prepared: messages.Prepared) -> None:
        """The machine is prepared; or a clerk has died, and its work goes on with another file of records."""
        self.nprocs, self.parts = prepared.nprocs, prepared.origins
        self.tally = Counts(*prepared.tally)
        self._records = Records(self._job_url, self._identity.worker, prepared.sequence)
        for outcome in prepared.unsaved:
            self._records.add(outcome)
        self._told = len(prepared.unsaved)

    def add(self, outcome: Outcome, is_told: bool = True) -> None:
        """A run has ended. `is_told`: the desk has it in its list, too."""
        self.tally.add(outcome)
        if outcome.code != 0 and outcome.cause != "interrupted":
            self._errors.add(kind_of(outcome), outcome.remote_output_path)
        self._records.add(outcome)
        self._told += is_told

    def keep_records(self, now: float) -> RecordsKept:
        """Store all records that there are."""
        while True:
            if self._pending is None:
                self._pending = self._records.due(now, at_once=True)
            if self._pending is None:
                return RecordsKept(self._told, self._records.sequence + 1)
            self._storage.put(*self._pending)
            self._pending = None

    def beat(self, state: str) -> None:
        """Write the heartbeat, and the glance that goes with it."""
        identity, tally, pulse = self._identity, self.tally, self.pulse
        heartbeat = Heartbeat(
            worker=identity.worker,
            machine=identity.machine,
            fleet=identity.fleet,
            kind=identity.kind,
            nprocs=self.nprocs,
            state=state,
            started=identity.started,
            parts=self.parts,
            completed=tally.completed,
            failed=tally.failed,
            lost=tally.lost,
            not_stored=tally.not_stored,
            waiting=pulse.waiting,
            saving=pulse.saving,
            running=pulse.running,
            error=pulse.trouble or self.error,
            errors=tuple(self._errors.sorted()),
            load=round(os.getloadavg()[0], 2),
            vcpus=count_vcpus(),
            version=__version__,
            python=platform.python_version(),
            pid=identity.pid,
        )
        place = paths.heartbeat(self._job_url, identity.worker)
        self._storage.put(place, heartbeat.to_bytes())
        self._put_glance(state)

    def _put_glance(self, state: str) -> None:
        """The new one first: whoever lists meanwhile sees both, and takes the younger."""
        tally, running = self.tally, self.pulse.running
        glance = Glance(
            self._identity.worker,
            state,
            tally.completed,
            tally.failed,
            tally.lost,
            len(running),
            self.pulse.waiting,
            self.nprocs,
            round(1000 * tally.seconds),
            round(sum(seconds for _, _, seconds in running)),
            tally.not_stored,
            tally.ended_processes,
            tally.unstored_files,
        )
        place = paths.join(paths.glances(self._job_url), glance.to_name())
        self._storage.put(place, b"-")
        if self._glance not in ("", place):
            self._storage.delete([self._glance])
        self._glance = place

    def keep_log(self) -> None:
        """Store the end of the log, if it has changed."""
        if self._log is None:
            return
        status = os.fstat(self._log)
        state = (status.st_size, status.st_mtime_ns)
        if state == self._logged or not status.st_size:
            return
        start = max(0, status.st_size - _LOG_BYTES)
        data = os.pread(self._log, _LOG_BYTES, start)
        self._storage.put(paths.log(self._job_url, self._identity.worker), data)
        self._logged = state
