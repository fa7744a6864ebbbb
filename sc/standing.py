"""What is known of each run of a batch: how it ended, whether its command has changed since, and how long it took.

The code is what the storage holds at the run's path. Which command it came from is told by the records of all jobs
of the batch; a code without a record, such as those that Saturn Cloud's client leaves, counts as of the same command.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from threading import Event
from typing import NamedTuple, Optional

from sc import paths
from sc.codes import NONE, read_codes
from sc.errors import MissingError
from sc.model import Batch, Run, command_hash, is_count, is_number
from sc.run_index import RunIndex
from sc.splitting import NOT_ENDED, Standing
from sc.storage import Storage

THREADS = 8
_LONGEST_SECONDS = 366 * 86400.0
"""A record that tells of more, or of less than nothing, is of a clock that was set meanwhile."""


class Known(NamedTuple):
    """A run's last record."""

    code: int
    command_hash: int
    seconds: float


class Commands:
    """The last record of each run of a batch: 30 bytes a run, however many jobs have worked on it."""

    def __init__(self, runs: Collection[Run]) -> None:
        """`runs` are gone through when the first record comes: of a new batch there is none."""
        self._runs = runs
        self._index = RunIndex([])
        self._ends, self._seconds = array("d"), array("f")
        self._codes, self._hashes = array("h"), array("Q")

    def add(self, line: str) -> None:
        """A line of a record; one that tells of no code, or of no run of the batch, is passed over."""
        try:
            record = json.loads(line)
            code, started, ended = record["code"], record["started"], record["ended"]
            digest = int(record["command_hash"], 16)
            path = str(record["remote_output_path"])
            if not is_count(code) or code > 255 or not 0 <= digest < 2**64:
                return
            if not (is_number(started) and is_number(ended)):
                return
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        if self.is_empty:
            self._make_room()
        place = self._index.find(path)
        if place >= 0 and ended >= self._ends[place]:
            self._ends[place], self._codes[place], self._hashes[place] = ended, code, digest
            self._seconds[place] = min(max(0.0, ended - started), _LONGEST_SECONDS)

    def last(self, remote_output_path: str) -> Optional[Known]:
        """What the run's newest record tells, or None if there is none."""
        place = self._index.find(remote_output_path)
        if place < 0 or self._codes[place] == NONE:
            return None
        return Known(self._codes[place], self._hashes[place], self._seconds[place])

    def seconds(self, run: Run) -> Optional[float]:
        """How long a run takes: what the batch says, else what it took when it completed last; None if unknown.

        Of a failure that tells nothing: it may have come at once.
        """
        if run.expected_time is not None or self.is_empty:
            return run.expected_time
        known = self.last(run.remote_output_path)
        return known.seconds if known is not None and known.code == 0 else None

    @property
    def is_empty(self) -> bool:
        """True if no record has come."""
        return not len(self._index)

    def _make_room(self) -> None:
        self._index = RunIndex(run.remote_output_path for run in self._runs)
        self._ends = array("d", [-math.inf]) * len(self._index)
        self._codes = array("h", [NONE]) * len(self._index)
        self._hashes = array("Q", [0]) * len(self._index)
        self._seconds = array("f", [0.0]) * len(self._index)


def read_standings(storage: Storage, batch: Batch) -> tuple[Commands, Callable[[Run], Standing]]:
    """The records, and what is known of a run, for every run of the batch.

    The records are read beside the codes, which mostly waits for the storage's listing.
    """
    from concurrent.futures import ThreadPoolExecutor  # see sc.executor.threads

    is_over = Event()
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read_commands, storage, batch, is_over.is_set)
        try:
            codes = read_codes(storage, batch.remote_output_path, batch.runs)
            commands = reading.result()
        finally:
            is_over.set()

    def standing(run: Run) -> Standing:
        code = codes.code(run.remote_output_path)
        if code is None:
            return NOT_ENDED
        known = commands.last(run.remote_output_path)
        if known is None or known.code != code:
            return Standing(code)
        return Standing(code, known.command_hash != int(command_hash(run), 16))

    return commands, standing


def read_commands(
    storage: Storage, batch: Batch, is_over: Callable[[], bool] = lambda: False
) -> Commands:
    """The records of all jobs that ever worked on a batch; `is_over`: nobody wants to know any more."""
    commands = Commands(batch.runs)
    places = _records(storage, paths.join(batch.remote_output_path, paths.JOBS))
    # As many at a time as there are threads: they may be fetched faster than they are read.
    some = list(islice(places, THREADS))
    if not some:
        return commands
    from concurrent.futures import ThreadPoolExecutor  # see sc.executor.threads

    with ThreadPoolExecutor(THREADS) as threads:
        while some and not is_over():
            for data in threads.map(lambda place: _get(storage, place), some):
                for line in data.decode("utf-8", "replace").splitlines():
                    commands.add(line)
            some = list(islice(places, THREADS))
    return commands


def _records(storage: Storage, jobs: str) -> Iterator[str]:
    for name in storage.list_folders(jobs):
        for entry in storage.list(paths.join(jobs, name, "records")):
            if entry.place.endswith(".jsonl"):
                yield entry.place


def _get(storage: Storage, place: str) -> bytes:
    try:
        return storage.get(place)
    except MissingError:
        return b""
