"""What the records of a batch tell, as columns: about 60 bytes for each ended run, and nothing else.

A row is a record: a run that was done twice has two. `last` finds the one that counts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, Optional

from sc import paths
from sc.errors import MissingError
from sc.grouping import Groups, kind_of
from sc.heartbeats import heartbeat_of
from sc.model import NOT_STORED, Comparison, Given, Outcome, Run
from sc.run_index import path_key
from sc.storage import Storage

MOST_KINDS = 500
MOST_REMARKS = 10_000
_NOBODYS = 2**64 - 1
_THREADS = 8
_AHEAD = 8
"""A full file of records is two megabytes."""
_LONGEST_SECONDS = 10 * 366 * 86400.0
"""A record that tells of more is of a clock gone wrong."""


class Worker(NamedTuple):
    """Who did some of the work: one `sc` on one machine."""

    id: str
    machine: str
    slots: int
    kind: str
    """The instance type, `local`, or "" where nothing is known."""
    started: float
    ended: float


class History:
    """The records, in the order in which they were read."""

    def __init__(self, given: Optional[Given] = None) -> None:
        """`given` is what the recipe says, where one is at hand."""
        self._comparison = Comparison(given)
        self._hashes, self._are_of_commands = array("Q"), array("B")
        self.started, self.ended = array("d"), array("d")
        self.codes = array("h")
        """-1 where none was stored."""
        self.not_stored = array("B")
        self.workers, self.ranks = array("H"), array("H")
        self.remarks: dict[int, str] = {}
        """By row: why a run was not stored, or what it has left behind. At most MOST_REMARKS."""
        self.kinds: list[str] = []
        """The kinds of failure, as `sc.grouping` has them."""
        self._kind_rows = array("i")
        self._keys = array("Q")
        self._names: dict[str, int] = {}
        self._machines: list[str] = []
        self._kind_numbers: dict[str, int] = {}
        self._order: Optional[array[int]] = None

    def __len__(self) -> int:
        return len(self.started)

    def add(self, worker: str, line: str) -> None:
        """One line of a record; what is none, or of a run that was interrupted, is passed over."""
        try:
            outcome = Outcome.from_line(line)
        except ValueError:
            return
        seconds = outcome.ended - outcome.started
        is_sound = 0 <= seconds < _LONGEST_SECONDS and 0 <= outcome.rank < 65536
        code = -1 if outcome.code is None else outcome.code
        if not is_sound or not -1 <= code <= 255 or outcome.cause == "interrupted":
            return
        is_remarkable = outcome.ended_processes or outcome.unstored_files
        if (is_remarkable or outcome.status == NOT_STORED) and len(self.remarks) < MOST_REMARKS:
            self.remarks[len(self)] = outcome.reason
        self.not_stored.append(outcome.status == NOT_STORED)
        self.started.append(outcome.started)
        self.ended.append(outcome.ended)
        self.codes.append(code)
        self.workers.append(self._number_of(worker, outcome.machine))
        self.ranks.append(outcome.rank)
        self._kind_rows.append(self._kind(outcome) if code else -1)
        self._keys.append(path_key(outcome.remote_output_path))
        texts = outcome.identity, outcome.own_identity, outcome.command_hash
        digits, by_command = self._comparison.recorded(*texts)
        self._hashes.append(_number(digits))
        self._are_of_commands.append(by_command)
        self._order = None

    def last(self, remote_output_path: str) -> Optional[int]:
        """The row of a run's newest record, or None."""
        if self._order is None:
            # Twice, since a tuple for each row as the key would take more than all the columns.
            rows = sorted(range(len(self._keys)), key=self.ended.__getitem__)
            rows.sort(key=self._keys.__getitem__)
            self._order = array("I", rows)
            self._sorted_keys = array("Q", (self._keys[row] for row in self._order))
        key = path_key(remote_output_path)
        place = bisect_right(self._sorted_keys, key) - 1
        if place < 0 or self._sorted_keys[place] != key:
            return None
        return self._order[place]

    def is_of(self, row: int, run: Run) -> bool:
        """Whether a record of that run's output path is of this very run, and not of another command."""
        by_command = bool(self._are_of_commands[row])
        return self._hashes[row] == self._comparison.now(run, by_command)

    def seconds(self, row: int) -> float:
        return self.ended[row] - self.started[row]

    def kind(self, row: int) -> str:
        """The kind of a failure; empty for what is none."""
        number = self._kind_rows[row]
        return self.kinds[number] if number >= 0 else ""

    def worker_names(self) -> Sequence[str]:
        """Ids of workers, by their numbers in `workers`."""
        return list(self._names)

    def machine(self, worker: int) -> str:
        return self._machines[worker]

    def _number_of(self, worker: str, machine: str) -> int:
        number = self._names.setdefault(worker, len(self._names))
        if number == len(self._machines):
            self._machines.append(machine)
        return min(number, 65535)

    def _kind(self, outcome: Outcome) -> int:
        text = kind_of(outcome)
        if text not in self._kind_numbers and len(self.kinds) >= MOST_KINDS:
            text = self.kinds[-1]
        number = self._kind_numbers.setdefault(text, len(self.kinds))
        if number == len(self.kinds):
            self.kinds.append(text)
        return number


def read_history(
    storage: Storage, job_urls: Sequence[str], given: Optional[Given] = None
) -> History:
    """The records of these jobs."""
    history = History(given)
    places = (
        entry.place
        for url in job_urls
        for entry in storage.list(paths.join(url, "records"))
        if entry.place.endswith(".jsonl")
    )
    with ThreadPoolExecutor(_THREADS) as threads:
        while some := list(islice(places, _AHEAD)):
            for place, data in zip(some, threads.map(lambda one: _get(storage, one), some)):
                worker = place.rpartition("/")[2].rpartition("-")[0]
                for line in data.decode("utf-8", "replace").splitlines():
                    history.add(worker, line)
    return history


def read_workers(storage: Storage, job_urls: Sequence[str], history: History) -> list[Worker]:
    """Who did the work, by the numbers that `history` gives them.

    A worker of a job tells its slots itself; those of others are the ranks that were seen.
    """
    told = {}
    for url in job_urls:
        for entry in storage.list(paths.join(url, "workers")):
            heartbeat = heartbeat_of(_get(storage, entry.place))
            if heartbeat is not None:
                told[heartbeat.worker] = heartbeat
    workers = []
    for name, seen in zip(history.worker_names(), _seen(history)):
        heartbeat = told.get(name)
        slots = max(seen.slots, heartbeat.nprocs if heartbeat else 0)
        kind = heartbeat.kind if heartbeat else ""
        workers.append(seen._replace(id=name, slots=slots, kind=kind))
    return workers


def _seen(history: History) -> Iterator[Worker]:
    """What the records alone tell of each worker."""
    count = len(history.worker_names())
    slots = [0] * count
    started, ended = [float("inf")] * count, [0.0] * count
    rows = zip(history.workers, history.ranks, history.started, history.ended)
    for worker, rank, begin, end in rows:
        slots[worker] = max(slots[worker], rank + 1)
        started[worker] = min(started[worker], begin)
        ended[worker] = max(ended[worker], end)
    for worker in range(count):
        machine = history.machine(worker)
        yield Worker("", machine, slots[worker], "", started[worker], ended[worker])


def groups_of(history: History, failures: Iterator[tuple[str, Optional[int]]]) -> Groups:
    """The failures (output path and row of the record) by kind."""
    groups = Groups(MOST_KINDS)
    for path, row in failures:
        if row is not None:
            groups.add(history.kind(row), path)
    return groups


def _get(storage: Storage, place: str) -> bytes:
    try:
        return storage.get(place)
    except MissingError:
        return b""


def _number(digits: str) -> int:
    """Of a hash, out of JSON that others may have written; for what is none, one that is nobody's."""
    try:
        number = int(digits, 16)
    except ValueError:
        return _NOBODYS
    return number if 0 <= number < 2**64 else _NOBODYS
