"""What is known of each run of a batch: how it ended, whether it is another one since, and how long it took.

The code is what the storage holds at the run's path. Which run left it is told by the records of all jobs of the batch
(see `sc.model.identity`): a batch that was edited may have another command there now. A code without a record, such as
those that Saturn Cloud's client leaves, counts as of the same run; a record of a version of `sc` that knew no
identities counts by the hash of its command.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from threading import Event
from typing import Any, NamedTuple, Optional

from sc import paths
from sc.codes import CHANGED, NONE, NOT_STORED, Codes, read_codes
from sc.errors import MissingError
from sc.model import Batch, Comparison, Given, Run, is_count, is_number
from sc.run_index import RunIndex
from sc.splitting import NOT_ENDED, Standing
from sc.storage import Entry, Storage

THREADS = 8
_LONGEST_SECONDS = 366 * 86400.0
"""A record that tells of more, or of less than nothing, is of a clock that was set meanwhile."""


MOST_REMARKS = 10_000
"""So many different ones are kept."""
_FOLDERS_ABOVE = 8
_NEWEST_RECORDS = 16
"""Files of about two megabytes at most."""
_ENDED_PROCESSES, _UNSTORED_FILES, _BY_COMMAND = 1, 2, 4
"""_BY_COMMAND: the record is of a version of `sc` that knew no identities."""


class Known(NamedTuple):
    """A run's last record."""

    code: int
    """0 to 255, or NOT_STORED."""
    seconds: float


class Judged(NamedTuple):
    """What a run's output path and its records tell together."""

    code: int
    """0 to 255; NONE, NOT_STORED, or CHANGED: what is stored there, another command has left."""
    remark: str = ""
    """Why it was not stored; of another run, what a person should know of it beside its code."""
    ended_processes: bool = False
    """It left processes, which were ended."""
    unstored_files: bool = False
    """It made files that could not be stored."""


class Commands:
    """The last record of each run of a batch: 35 bytes a run, however many jobs have worked on it."""

    def __init__(self, runs: Collection[Run], given: Optional[Given] = None) -> None:
        """`runs` are gone through when the first record comes: of a new batch there is none. `given` is what the recipe
        says, where one is at hand."""
        self._runs = runs
        self._comparison = Comparison(given)
        self._index = RunIndex([])
        self._ends, self._seconds = array("d"), array("f")
        self._codes, self._hashes = array("h"), array("Q")
        self._remarks, self._flags = array("I"), array("B")
        self._texts, self._numbers = [""], {"": 0}

    def add(self, line: str) -> None:
        """A line of a record; one that tells of no code, or of no run of the batch, is passed over."""
        try:
            record = json.loads(line)
            code, started, ended = record["code"], record["started"], record["ended"]
            code = NOT_STORED if code is None and record["cause"] == "upload" else code
            texts = record.get("identity"), record.get("own_identity"), record["command_hash"]
            digits, by_command = self._comparison.recorded(*texts)
            digest = int(digits, 16)
            path = str(record["remote_output_path"])
            if not (code == NOT_STORED or (is_count(code) and code <= 255)):
                return
            if not 0 <= digest < 2**64:
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
            self._remark(place, record, code)
            self._flags[place] |= _BY_COMMAND if by_command else 0

    def _remark(self, place: int, record: Mapping[str, Any], code: int) -> None:
        """Keep the reason of a run that was not stored, or that left something behind."""
        flags = _ENDED_PROCESSES if record.get("ended_processes") else 0
        flags |= _UNSTORED_FILES if record.get("unstored_files") else 0
        text = record.get("reason") if flags or code == NOT_STORED else ""
        if not isinstance(text, str) or len(self._texts) >= MOST_REMARKS:
            text = ""
        number = self._numbers.setdefault(text, len(self._texts))
        self._texts += [text] if number == len(self._texts) else []
        self._flags[place], self._remarks[place] = flags, number

    def last(self, remote_output_path: str) -> Optional[Known]:
        """What the run's newest record tells, or None if there is none."""
        place = self._index.find(remote_output_path)
        if place < 0 or self._codes[place] == NONE:
            return None
        return Known(self._codes[place], self._seconds[place])

    def judge(self, run: Run, stored: Optional[int], is_known: bool = True) -> Judged:
        """What is known of a run at whose path this code is stored, or none.

        A record that tells of another code is not of what is stored now. Of a run of which no more than the path
        `is_known` there is nothing to compare.
        """
        code = NONE if stored is None else stored
        return self._judge(run, code, self._index.find(run.remote_output_path), is_known)

    def judge_all(self, codes: Codes) -> Iterator[tuple[Run, Judged]]:
        """Every run of the batch, whose codes these are."""
        if self.is_empty:
            for run in self._runs:
                code = codes.code(run.remote_output_path)
                yield run, Judged(NONE if code is None else code)
            return
        for run in self._runs:
            place = self._index.find(
                run.remote_output_path
            )  # one index is as the other, see RunIndex
            yield run, self._judge(run, codes.code_at(place), place)

    def codes_now(self, codes: Codes) -> array[int]:
        """Of each run 0 to 255; NONE, NOT_STORED, or CHANGED. Two bytes a run."""
        return array("h", (judged.code for _, judged in self.judge_all(codes)))

    def _judge(self, run: Run, code: int, place: int, is_known: bool = True) -> Judged:
        if place < 0 or self._codes[place] != (NOT_STORED if code == NONE else code):
            return Judged(code)
        flags = self._flags[place]
        if is_known and not self._is_of(place, run):
            return Judged(NONE) if code == NONE else Judged(CHANGED, changed_remark(code))
        if not flags & ~_BY_COMMAND and code != NONE:
            return Judged(code)
        remark = self._texts[self._remarks[place]]
        marks = bool(flags & _ENDED_PROCESSES), bool(flags & _UNSTORED_FILES)
        return Judged(self._codes[place], remark, *marks)

    def is_another(self, run: Run) -> bool:
        """Whether the run's newest record is of another one, whatever is stored now."""
        place = self._index.find(run.remote_output_path)
        if place < 0 or self._codes[place] == NONE:
            return False
        return not self._is_of(place, run)

    def _is_of(self, place: int, run: Run) -> bool:
        by_command = bool(self._flags[place] & _BY_COMMAND)
        return self._hashes[place] == self._comparison.now(run, by_command)

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
        self._remarks = array("I", [0]) * len(self._index)
        self._flags = array("B", [0]) * len(self._index)


def changed_remark(code: int) -> str:
    """What is told of outputs that another command has left."""
    return (
        f"its outputs are those of another command (exit code {code}): the command of this run, its folder, "
        "environment or GPUs have changed since"
    )


def read_all(
    storage: Storage, batch: Batch, given: Optional[Given] = None
) -> tuple[Codes, Commands]:
    """The codes of a batch, and its records, which are read beside them: that mostly waits for the listing."""
    from concurrent.futures import ThreadPoolExecutor  # see sc.executor.threads

    is_over = Event()
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read_commands, storage, batch, is_over.is_set, given)
        try:
            codes = read_codes(storage, batch.remote_output_path, batch.runs)
            commands = reading.result()
        finally:
            is_over.set()
    return codes, commands


def read_codes_now(storage: Storage, batch: Batch, given: Optional[Given] = None) -> array[int]:
    """As `Commands.codes_now` has them, in the order of the batch."""
    codes, commands = read_all(storage, batch, given)
    return commands.codes_now(codes)


def read_standings(
    storage: Storage, batch: Batch, given: Optional[Given] = None
) -> tuple[Commands, Callable[[Run], Standing]]:
    """The records, and what is known of a run, for every run of the batch."""
    codes, commands = read_all(storage, batch, given)

    def standing(run: Run) -> Standing:
        code = codes.code(run.remote_output_path)
        if code is None:
            return NOT_ENDED
        return Standing(code, commands.judge(run, code).code == CHANGED)

    return commands, standing


def read_commands(
    storage: Storage,
    batch: Batch,
    is_over: Callable[[], bool] = lambda: False,
    given: Optional[Given] = None,
) -> Commands:
    """The records of all jobs that ever worked on a batch; `is_over`: nobody wants to know any more."""
    commands = Commands(batch.runs, given)
    entries = _records(storage, paths.join(batch.remote_output_path, paths.JOBS))
    places = (entry.place for entry in entries)
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


def read_judged(
    storage: Storage,
    run: Run,
    stored: Optional[int],
    given: Optional[Given] = None,
    is_known: bool = True,
) -> Judged:
    """What is known of one run at whose output path this code is stored, or none; see `Commands.judge`.

    The records are looked for below the folders above the path. Elsewhere than in a folder only the newest ones are
    read: nobody wants to wait for more.
    """
    path = run.remote_output_path
    above = path.rstrip("/")
    commands = Commands([run], given)
    for _ in range(_FOLDERS_ABOVE):
        above = above.rpartition("/")[0]
        if not above or above.endswith((":", "/")):
            break
        entries = list(_records(storage, paths.join(above, paths.JOBS)))
        if entries:
            if storage.local_path(path) is None:
                entries = sorted(entries, key=lambda one: one.age_seconds)[:_NEWEST_RECORDS]
            for entry in entries:
                for line in _get(storage, entry.place).decode("utf-8", "replace").splitlines():
                    commands.add(line)
            break
    return commands.judge(run, stored, is_known)


def _records(storage: Storage, jobs: str) -> Iterator[Entry]:
    for name in storage.list_folders(jobs):
        for entry in storage.list(paths.join(jobs, name, "records")):
            if entry.place.endswith(".jsonl"):
                yield entry


def _get(storage: Storage, place: str) -> bytes:
    try:
        return storage.get(place)
    except MissingError:
        return b""
