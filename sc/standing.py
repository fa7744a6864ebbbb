"""What is known of each run of a batch: how it ended, whether its command has changed since, and how long it took.

The code is what the storage holds at the run's path. Which command it came from is told by the records of all jobs
of the batch; a code without a record, such as those that Saturn Cloud's client leaves, counts as of the same command.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional

from sc import paths
from sc.codes import path_key, read_codes
from sc.errors import MissingError
from sc.model import Batch, Run, command_hash
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
    """The last record of each path: 30 bytes a record, and nothing else."""

    def __init__(self) -> None:
        self._keys, self._ends = array("Q"), array("d")
        self._codes, self._hashes, self._seconds = array("h"), array("Q"), array("f")
        self._is_sorted = True

    def add(self, line: str) -> None:
        """A line of a record; one that tells of no code, or is none of ours, is passed over."""
        try:
            record = json.loads(line)
            code, ended = record["code"], float(record["ended"])
            seconds = ended - float(record["started"])
            digest = int(record["command_hash"], 16)
            key = path_key(record["remote_output_path"])
            if not isinstance(code, int) or not 0 <= code <= 255 or not 0 <= digest < 2**64:
                return
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        for column, value in ((self._keys, key), (self._hashes, digest), (self._codes, code)):
            column.append(value)
        self._ends.append(ended)
        self._seconds.append(min(max(0.0, seconds), _LONGEST_SECONDS))
        self._is_sorted = False

    def last(self, remote_output_path: str) -> Optional[Known]:
        """What the run's newest record tells, or None if there is none."""
        if not self._is_sorted:
            self._sort()
        key = path_key(remote_output_path)
        place = bisect_right(self._keys, key) - 1
        if place < 0 or self._keys[place] != key:
            return None
        return Known(self._codes[place], self._hashes[place], self._seconds[place])

    def seconds(self, run: Run) -> Optional[float]:
        """How long a run takes: what the batch says, else what it took when it completed last; None if unknown.

        Of a failure that tells nothing: it may have come at once.
        """
        if run.expected_time is not None or not self._keys:
            return run.expected_time
        known = self.last(run.remote_output_path)
        return known.seconds if known is not None and known.code == 0 else None

    def __len__(self) -> int:
        return len(self._keys)

    def _sort(self) -> None:
        """By path, and of a path by time."""
        keys, ends = self._keys, self._ends
        order = array("I", sorted(range(len(keys)), key=lambda one: (keys[one], ends[one])))
        self._keys = array("Q", (keys[one] for one in order))
        self._codes = array("h", (self._codes[one] for one in order))
        self._hashes = array("Q", (self._hashes[one] for one in order))
        self._seconds = array("f", (self._seconds[one] for one in order))
        self._ends = array("d", (ends[one] for one in order))
        self._is_sorted = True


def standings(storage: Storage, batch: Batch, commands: Commands) -> Callable[[Run], Standing]:
    """What is known of a run, for every run of the batch."""
    codes = read_codes(storage, batch.remote_output_path, batch.runs)

    def standing(run: Run) -> Standing:
        code = codes.code(run.remote_output_path)
        if code is None:
            return NOT_ENDED
        known = commands.last(run.remote_output_path)
        if known is None or known.code != code:
            return Standing(code)
        return Standing(code, known.command_hash != int(command_hash(run), 16))

    return standing


def read_commands(storage: Storage, remote_output_path: str) -> Commands:
    """The records of all jobs that ever worked on a batch."""
    commands = Commands()
    with ThreadPoolExecutor(THREADS) as threads:
        places = _records(storage, paths.join(remote_output_path, paths.JOBS))
        for data in threads.map(lambda place: _get(storage, place), places):
            for line in data.decode("utf-8", "replace").splitlines():
                commands.add(line)
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
