"""What the records of all jobs of a batch tell: which command each run's outputs came from.

A run whose command has changed since it completed is not "completed". Records are many (a line for each run that ever
ended), so of each only two hashes and a time are kept: 24 bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Optional

from sc import paths
from sc.codes import THREADS, path_key
from sc.errors import MissingError
from sc.model import Outcome, Run, command_hash
from sc.storage import Storage


class CommandHashes:
    """The command that each run's `status_code` came from, as far as records tell."""

    def __init__(self, keys: array[int], hashes: array[int], times: array[float]) -> None:
        order = sorted(range(len(keys)), key=lambda index: (keys[index], times[index]))
        self._keys, self._hashes = array("Q"), array("Q")
        for index in order:
            if self._keys and self._keys[-1] == keys[index]:
                self._hashes[-1] = hashes[index]
            else:
                self._keys.append(keys[index])
                self._hashes.append(hashes[index])

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, remote_output_path: str) -> Optional[str]:
        """The hash of the command, as `sc.model.command_hash` makes it; None if no record tells."""
        key = path_key(remote_output_path)
        place = bisect_left(self._keys, key)
        if place < len(self._keys) and self._keys[place] == key:
            return f"{self._hashes[place]:016x}"
        return None

    def has_changed(self, run: Run) -> bool:
        """True if the run's outputs came from another command than it has now. False where nobody knows: what
        Saturn Cloud's client has completed, say, has no record."""
        known = self.of(run.remote_output_path)
        return known is not None and known != command_hash(run)


def read_command_hashes(storage: Storage, remote_output_path: str) -> CommandHashes:
    """From the records of every job below a batch's output path; the last one that ended counts."""
    keys, hashes, times = array("Q"), array("Q"), array("d")
    with ThreadPoolExecutor(THREADS) as threads:
        for texts in _in_slices(_records(storage, remote_output_path)):
            for data in threads.map(lambda place: _read(storage, place), texts):
                for outcome in _outcomes(data):
                    keys.append(path_key(outcome.remote_output_path))
                    hashes.append(int(outcome.command_hash, 16))
                    times.append(outcome.ended)
    return CommandHashes(keys, hashes, times)


def _records(storage: Storage, remote_output_path: str) -> Iterator[str]:
    jobs = paths.join(remote_output_path, paths.JOBS)
    for name in storage.list_folders(jobs):
        for entry in storage.list(paths.join(jobs, name, "records")):
            yield entry.place


def _in_slices(places: Iterator[str]) -> Iterator[list[str]]:
    """A few at a time, since all of their texts are in memory together."""
    some: list[str] = []
    for place in places:
        some.append(place)
        if len(some) == 2 * THREADS:
            yield some
            some = []
    yield some


def _read(storage: Storage, place: str) -> bytes:
    try:
        return storage.get(place)
    except MissingError:
        return b""


def _outcomes(data: bytes) -> Iterator[Outcome]:
    """The records that tell what a `status_code` came from; a line that is none is passed over."""
    for line in data.splitlines():
        try:
            outcome = Outcome.from_line(line.decode("ascii"))
            is_known = outcome.code is not None and len(outcome.command_hash) == 16
            int(outcome.command_hash, 16)
            float(outcome.ended)
        except (ValueError, TypeError, RecursionError):
            continue
        if is_known and int(outcome.command_hash, 16) >= 0:
            yield outcome
