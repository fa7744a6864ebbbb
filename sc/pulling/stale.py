"""What an earlier pull has fetched of runs that were executed again since, and that they have no more.

Outputs that were removed from the storage to save room, or all of a place, are no reason to remove them here.
"""

from __future__ import annotations

import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress

from sc.pulling.memory import Memory
from sc.pulling.selection import Selection
from sc.run_index import path_key


class Executions:
    """When each run was stored last. 16 bytes a run, as long as a listing tells of a run's objects one by one."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._times = array("d")

    def note(self, run: str, time: float) -> None:
        """Something of it was stored at that time, in seconds by this machine's clock."""
        key = path_key(run)
        if self._keys and self._keys[-1] == key:
            self._times[-1] = max(self._times[-1], time)
        else:
            self._keys.append(key)
            self._times.append(time)

    def sort(self) -> None:
        """To be called before `last`."""
        order = array("I", sorted(range(len(self._keys)), key=self._keys.__getitem__))
        self._keys = array("Q", (self._keys[one] for one in order))
        self._times = array("d", (self._times[one] for one in order))

    def last(self, run: str) -> float:
        """When the run was stored last; in the distant past if nothing of it is there.

        S3 tells whole seconds, of the object and of the answer alike, so that it may be a second off.
        """
        key = path_key(run)
        number, last = bisect_left(self._keys, key), -float("inf")
        while number < len(self._keys) and self._keys[number] == key:
            last, number = max(last, self._times[number]), number + 1
        return last


class Stale:
    """To be used when all that lies at the output paths has been seen."""

    def __init__(
        self, dest: str, selection: Selection, memory: Memory, executions: Executions
    ) -> None:
        self._dest = dest
        self._selection = selection
        self._memory = memory
        self._executions = executions

    def remove(self, runs: Iterable[str]) -> int:
        """Remove the stale files of these runs, and folders that are empty then; returns how many files.

        What no pull has made, or somebody has changed since, stays.
        """
        self._executions.sort()
        removed = 0
        for run in runs:
            folder = f"{self._dest}/{self._selection.path(run)}"
            executed = self._executions.last(run)
            for name in _files(folder, self._selection):
                with suppress(OSError):  # it goes with the next pull: no reason to fail
                    if self._is_stale(f"{folder}/{name}", f"{run.rstrip('/')}/{name}", executed):
                        os.unlink(f"{folder}/{name}")
                        removed += 1
                        _remove_empty(os.path.dirname(f"{folder}/{name}"), folder)
        return removed

    def _is_stale(self, path: str, place: str, executed: float) -> bool:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_mtime >= executed:
            return False
        return self._memory.is_stale(place, status.st_size, status.st_mtime_ns)


def _files(folder: str, selection: Selection) -> Iterator[str]:
    """The names of what is wanted below a run's folder; links are not followed."""
    for parent, folders, files in os.walk(folder):
        below = parent[len(folder) + 1 :]
        if below:
            yield from (f"{below}/{name}" for name in files)
        else:
            folders[:] = filter(selection.is_kind, folders)
            yield from filter(selection.is_kind, files)


def _remove_empty(folder: str, last: str) -> None:
    with suppress(OSError):
        while len(folder) > len(last):
            os.rmdir(folder)
            folder = os.path.dirname(folder)
