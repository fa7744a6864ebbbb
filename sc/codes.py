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
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import NamedTuple, Optional

from sc import paths
from sc.errors import MissingError
from sc.model import Run
from sc.storage import Entry, Storage

NONE, GARBAGE = -1, -2
"""What stands for no code, and for a `status_code` that holds something else than a code."""
THREADS = 16
_CODE_OF_TAG = {hashlib.md5(str(code).encode()).hexdigest(): code for code in range(256)}
_PAGE = 1000
_OBJECTS_PER_RUN = 3
"""stdout, stderr, status_code; results come on top."""
_SAMPLE = 2048
_SLICE = 1000


class Codes:
    """What each run of a batch has ended with."""

    def __init__(self, keys: array[int], codes: array[int]) -> None:
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self._keys = array("Q", (keys[index] for index in order))
        self._codes = array("h", (codes[index] for index in order))

    def code(self, remote_output_path: str) -> Optional[int]:
        """0 to 255, or None for a run that has not ended (or left garbage)."""
        found = self._find(remote_output_path)
        return found if found >= 0 else None

    def is_garbage(self, remote_output_path: str) -> bool:
        """True if its `status_code` holds something that is no code."""
        return self._find(remote_output_path) == GARBAGE

    @property
    def garbage(self) -> int:
        """How many hold something that is no code."""
        return self._codes.count(GARBAGE)

    def __len__(self) -> int:
        return len(self._codes)

    def _find(self, remote_output_path: str) -> int:
        key = path_key(remote_output_path)
        place = bisect_left(self._keys, key)
        found = place < len(self._keys) and self._keys[place] == key
        return self._codes[place] if found else NONE


class Ended(NamedTuple):
    """A run's `status_code` as the storage has it."""

    code: int
    """0 to 255, or GARBAGE."""
    age_seconds: float


def path_key(remote_output_path: str) -> int:
    """64 bits that stand for a path. Two of a million paths clash once in 10^7 batches."""
    data = remote_output_path.rstrip("/").encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def read_code(storage: Storage, remote_output_path: str) -> Optional[Ended]:
    """What one run has ended with, and when; None if it has not. One request."""
    place = paths.join(remote_output_path, paths.STATUS_CODE)
    entry = storage.stat(place)
    if entry is None:
        return None
    try:
        return Ended(code_of(storage, entry), entry.age_seconds)
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


def read_codes(storage: Storage, remote_output_path: str, runs: Iterable[Run]) -> Codes:
    """What every run of a batch has ended with. `runs` is gone through once."""
    keys, codes = array("Q"), array("h")
    if storage.local_path(remote_output_path) is not None:
        _ask_each(storage, (run.remote_output_path for run in runs), keys, codes)
        return Codes(keys, codes)
    inside = remote_output_path.rstrip("/") + "/"
    sample = Sample()
    elsewhere: list[str] = []
    known = array("Q")
    for run in runs:
        if run.remote_output_path.startswith(inside):
            sample.add(run.remote_output_path[len(inside) :])
            known.append(path_key(run.remote_output_path))
        else:
            elsewhere.append(run.remote_output_path)
    if sample.count:
        scan = partial(_scan, storage, remote_output_path, array("Q", sorted(known)))
        bounds = ranges(sorted(sample.paths), sample.count)
        with ThreadPoolExecutor(min(THREADS, len(bounds))) as threads:
            for some_keys, some_codes in threads.map(scan, bounds):
                keys += some_keys
                codes += some_codes
    _ask_each(storage, elsewhere, keys, codes)
    return Codes(keys, codes)


def ranges(sample: Sequence[str], runs: int) -> list[tuple[str, str]]:
    """Bounds of key ranges (exclusive, relative) with about as many runs each; "" is no bound.

    `sample` is sorted. Each range may waste a request for a page that is not full, and the requests shall stay
    within a tenth of what one listing would need, so there are few ranges for few runs.
    """
    pages = runs * _OBJECTS_PER_RUN / _PAGE
    wanted = max(1, min(2 * THREADS, int(pages / 10), len(sample)))
    cuts = [sample[len(sample) * number // wanted] for number in range(1, wanted)]
    cuts = sorted(set(cuts))
    # Between the ranges lies nothing that is lost: a cut is the path of a run, never that of an object.
    return list(zip(["", *cuts], [*cuts, ""]))


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


def _scan(
    storage: Storage, place: str, known: array[int], bounds: tuple[str, str]
) -> tuple[array[int], array[int]]:
    """The codes in one range of keys."""
    keys, codes = array("Q"), array("h")
    start: Optional[str] = bounds[0]
    while start is not None:
        listing, start = storage.list(place, start, bounds[1]), None
        crowded, seen = "", 0
        for entry in listing:
            path, _, name = entry.place.rpartition("/")
            if name == paths.STATUS_CODE:
                with suppress(MissingError):
                    code = code_of(storage, entry)
                    keys.append(path_key(path))
                    codes.append(code)
                continue
            run, is_result, _ = entry.place.rpartition(f"/{paths.RESULTS}/")
            seen = seen + 1 if is_result and run == crowded else 0
            crowded = run
            if seen >= _PAGE and _is_among(path_key(run), known):
                # Thousands of results of one run: go on behind them ("results0" comes after "results/").
                start = f"{run}/{paths.RESULTS}0"[len(place.rstrip("/")) + 1 :]
                break
    return keys, codes


def _is_among(key: int, keys: array[int]) -> bool:
    place = bisect_left(keys, key)
    return place < len(keys) and keys[place] == key


def _ask_each(storage: Storage, places: Iterable[str], keys: array[int], codes: array[int]) -> None:
    """Runs one by one: files are read at once, elsewhere it is a request each, several at a time."""
    asked = iter(places)
    with ThreadPoolExecutor(THREADS) as threads:
        while True:
            some = list(islice(asked, _SLICE))
            if not some:
                return
            here = [storage.local_path(place) for place in some]
            far = [place for place, path in zip(some, here) if path is None]
            for place, path in zip(some, here):
                if path is not None:
                    _note(place, _read_file(path), keys, codes)
            for place, ended in zip(far, threads.map(lambda one: read_code(storage, one), far)):
                _note(place, NONE if ended is None else ended.code, keys, codes)


def _note(place: str, code: int, keys: array[int], codes: array[int]) -> None:
    if code != NONE:
        keys.append(path_key(place))
        codes.append(code)


def _read_file(folder: str) -> int:
    try:
        fd = os.open(os.path.join(folder, paths.STATUS_CODE), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return NONE
    try:
        return parse(os.read(fd, 64))
    finally:
        os.close(fd)


def each_code(codes: Codes, runs: Iterable[Run]) -> Iterator[tuple[Run, Optional[int]]]:
    """Every run with its code, in the order of the batch."""
    for run in runs:
        yield run, codes.code(run.remote_output_path)
