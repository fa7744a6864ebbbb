"""The exit codes of runs, read from the storage with as few requests as there can be.

A `status_code` holds one to three digits, so its ETag, the MD5 of its content on S3, can be only one of 256: a
listing tells the code without a GET. Runs below the batch's output path are listed in parallel ranges of keys; those
elsewhere are asked for one by one. Where a place is a folder, the small files are read.

Of a run only a hash of its path is kept (8 bytes) and its code (2 bytes): a million runs are 10 MB.
Saturn Cloud's client writes the text `None` at times, and dies on it later: here such a run is incomplete, and told.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, Optional

from sc import paths
from sc.errors import MissingError
from sc.model import Run
from sc.paths import BEHIND
from sc.run_index import RunIndex
from sc.storage import Entry, Storage
from sc.storage.places import escaped_key

NONE, GARBAGE, NOT_STORED, CHANGED = -1, -2, -3, -4
"""What stands for no code, for a `status_code` that holds something else than a code, and, where records are known too,
for a run that has ended, and whose outputs could not be stored, and for outputs that another command has left."""
THREADS = 16


def _codes_by_tag() -> dict[str, int]:
    """None where this Python has no MD5: then each code takes a GET, as where ETags are none (a key of KMS)."""
    try:
        tags = [hashlib.md5(str(one).encode(), usedforsecurity=False) for one in range(256)]
    except (ValueError, AttributeError):
        return {}
    return {tag.hexdigest(): code for code, tag in enumerate(tags)}


_CODE_OF_TAG = _codes_by_tag()
_PAGE = 1000
_OBJECTS_PER_RUN = 3
"""stdout, stderr, status_code; results come on top."""
_SAMPLE = 2048
_SLICE = 1000


class Codes:
    """What each run of a batch has ended with."""

    def __init__(self, index: RunIndex) -> None:
        self.index = index
        self._codes = array("h", [NONE]) * len(index)

    def note(self, remote_output_path: str, code: int) -> None:
        """A run has ended so; what is no run of the batch is passed over."""
        place = self.index.find(remote_output_path)
        if place >= 0:
            self._codes[place] = code

    def code(self, remote_output_path: str) -> Optional[int]:
        """0 to 255, or None for a run that has not ended (or left garbage)."""
        place = self.index.find(remote_output_path)
        found = self._codes[place] if place >= 0 else NONE
        return found if found >= 0 else None

    def code_at(self, place: int) -> int:
        """The same by the run's number in `index`; NONE for one that has not ended."""
        return max(NONE, self._codes[place])

    @property
    def garbage(self) -> int:
        """How many hold something that is no code."""
        return self._codes.count(GARBAGE)

    def __len__(self) -> int:
        """How many have a `status_code`."""
        return len(self._codes) - self._codes.count(NONE)


class Ended(NamedTuple):
    """A run's `status_code` as the storage has it."""

    code: int
    """0 to 255, or GARBAGE."""
    age_seconds: float
    is_age_sure: bool = True
    """As `Entry` has it."""

    @property
    def known(self) -> Optional[int]:
        """The code; None if what is there is none."""
        return None if self.code == GARBAGE else self.code


def read_code(storage: Storage, remote_output_path: str) -> Optional[Ended]:
    """What one run has ended with, and when; None if it has not. One request."""
    place = paths.join(remote_output_path, paths.STATUS_CODE)
    entry = storage.stat(place)
    if entry is None:
        return None
    try:
        return Ended(code_of(storage, entry), entry.age_seconds, entry.is_age_sure)
    except MissingError:
        return None


def code_of(storage: Storage, entry: Entry) -> int:
    """The code in a listed `status_code`, or GARBAGE. Asks only where tag and size do not tell."""
    code = _CODE_OF_TAG.get(entry.tag)
    if code is not None:
        return code
    return parse(storage.get(entry.place)) if entry.size <= 16 else GARBAGE


def parse(data: bytes) -> int:
    """The code that a `status_code` holds, or GARBAGE."""
    text = data.strip()
    if not text.isdigit() or len(text) > 3 or int(text) > 255:
        return GARBAGE
    return int(text)


def read_codes(storage: Storage, remote_output_path: str, runs: Collection[Run]) -> Codes:
    """What every run of a batch has ended with.

    `runs` is gone through once, and again if a listing cannot tell of all of them.
    """
    inside = remote_output_path.rstrip("/") + "/"
    is_far = storage.local_path(remote_output_path) is None
    sample = Sample()

    def seen() -> Iterator[str]:
        for run in runs:
            if is_far and run.remote_output_path.startswith(inside):
                sample.add(run.remote_output_path[len(inside) :])
            yield run.remote_output_path

    codes = Codes(RunIndex(seen()))
    with _Reader(storage, codes) as reader:
        if sample.count:
            reader.list_all(remote_output_path, ranges(sorted(sample.paths), sample.count))
        if sample.count < len(codes.index):
            places = (run.remote_output_path for run in runs)
            reader.ask_each(one for one in places if not (is_far and one.startswith(inside)))
    return codes


def ranges(sample: Sequence[str], runs: int) -> list[tuple[str, str]]:
    """Bounds of key ranges (exclusive, relative) with about as many runs each; "" is no bound.

    `sample` is sorted. Each range may waste a request for a page that is not full, and the requests shall stay
    within a tenth of what one listing would need, so there are few ranges for few runs.
    """
    pages = runs * _OBJECTS_PER_RUN / _PAGE
    wanted = max(1, min(2 * THREADS, int(pages / 10), len(sample)))
    cuts = [sample[len(sample) * number // wanted] for number in range(1, wanted)]
    # Between the ranges lies nothing that is lost: a cut is the path of a run, never that of an object.
    kept: list[str] = []
    for cut in cuts:
        if not kept or (
            _ascends(kept[-1], cut) and _ascends(escaped_key(kept[-1]), escaped_key(cut))
        ):
            kept.append(cut)
    return list(zip(["", *kept], [*kept, ""]))


def _ascends(one: str, other: str) -> bool:
    """ "a-b" comes before "a/b" by bytes and after it by tree: only what ascends by both makes ranges for both."""
    return one < other and one.split("/") < other.split("/")


class Sample:
    """Some of the paths, evenly spread over all that were added, whatever their number."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.count = 0
        self._step = 1

    def add(self, path: str) -> None:
        if self.count % self._step == 0:
            self.paths.append(path)
            if len(self.paths) == 2 * _SAMPLE:
                del self.paths[1::2]
                self._step *= 2
        self.count += 1


class _Reader:
    """Notes the codes of one batch. Its threads are gone when the block is left, soon after an error, too."""

    def __init__(self, storage: Storage, codes: Codes) -> None:
        from concurrent.futures import ThreadPoolExecutor  # see sc.executor.threads

        self._storage, self._codes = storage, codes
        self._listers, self._askers = ThreadPoolExecutor(THREADS), ThreadPoolExecutor(THREADS)
        self._is_over = False

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._listers.shutdown(cancel_futures=True)
        self._askers.shutdown(cancel_futures=True)

    def list_all(self, place: str, bounds: Iterable[tuple[str, str]]) -> None:
        """All that lies below a place, in ranges of keys."""
        for _ in self._listers.map(lambda one: self._list(place, *one), bounds):
            """Raises what the thread has raised."""

    def ask_each(self, places: Iterable[str]) -> None:
        """Runs one by one: files are read at once, elsewhere it is a request each, several at a time."""
        asked = iter(places)
        while True:
            some = list(islice(asked, _SLICE))
            if not some:
                return
            here = [self._storage.local_path(place) for place in some]
            far = [place for place, path in zip(some, here) if path is None]
            for place, path in zip(some, here):
                if path is not None:
                    self._codes.note(place, _read_file(self._storage, place, path))
            for place, ended in zip(far, self._askers.map(partial(read_code, self._storage), far)):
                self._codes.note(place, NONE if ended is None else ended.code)

    def _list(self, place: str, first: str, end: str) -> None:
        skip = len(place.rstrip("/")) + 1
        start: Optional[str] = first
        while start is not None and not self._is_over:
            listing, start = self._storage.list(place, start, end), None
            untold: list[Entry] = []
            for number, entry in enumerate(listing, 1):
                self._look_at(entry, untold)
                if number % _PAGE == 0:
                    self._ask_for(untold)
                    untold = []
                    # At a page's end, to leap over what tells of no code costs no request more than to go on.
                    start = self._behind(entry.place, skip)
                    if start is not None or self._is_over:
                        break
            self._ask_for(untold)

    def _look_at(self, entry: Entry, untold: list[Entry]) -> None:
        path, _, name = entry.place.rpartition("/")
        if name == paths.STATUS_CODE:
            code = _CODE_OF_TAG.get(entry.tag)
            if code is not None:
                self._codes.note(path, code)
            elif self._codes.index.find(path) >= 0:
                untold.append(entry)

    def _behind(self, place: str, skip: int) -> Optional[str]:
        """Where to go on if the object is one of a run's results, or what a job keeps; else None.

        Relative, as bounds of a listing are: without the first `skip` characters.
        """
        if place.startswith(paths.JOBS + "/", skip):
            return paths.JOBS + BEHIND
        end = place.find(f"/{paths.RESULTS}/", skip)
        while end >= 0:
            if self._codes.index.find(place[:end]) >= 0:
                return f"{place[skip:end]}/{paths.RESULTS}{BEHIND}"
            end = place.find(f"/{paths.RESULTS}/", end + 1)
        return None

    def _ask_for(self, untold: Sequence[Entry]) -> None:
        """Get those whose tag is no MD5: uploaded in several parts, or encrypted with a key of KMS."""
        for entry, code in zip(untold, self._askers.map(self._code_of, untold)):
            self._codes.note(entry.place.rpartition("/")[0], code)

    def _code_of(self, entry: Entry) -> int:
        try:
            return code_of(self._storage, entry)
        except MissingError:
            return NONE


def _read_file(storage: Storage, place: str, folder: str) -> int:
    """As `read_code`, in a fifth of the time: there may be a million. It waits for no pipe that a run left there."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(os.path.join(folder, paths.STATUS_CODE), flags)
        try:
            return parse(os.read(fd, 64))
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return NONE
    except OSError:  # a folder, or no right to read it: the storage has a sentence for it
        ended = read_code(storage, place)
        return NONE if ended is None else ended.code


def each_code(codes: Codes, runs: Iterable[Run]) -> Iterator[tuple[Run, Optional[int]]]:
    """Every run with its code, in the order of the batch."""
    for run in runs:
        yield run, codes.code(run.remote_output_path)
