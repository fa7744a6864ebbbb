"""What lies at the output paths of runs, under names that executions use, and was left by none: it is never removed.

What `sc`, or Saturn Cloud's client, has left there is known
- by its `status_code`;
- where it was interrupted: by `stdout` and `stderr` with nothing beside them but `attempts/<n>/`, which have the same;
- else by a lease or a record of the batch that names the run. These are read only where they are needed.

Whoever is about to start runs looks before anything is changed: at all of those whose outputs go to folders of this
machine, and at the first ones of others. Elsewhere the rest is looked at when its turn comes, with the listing that
finds what is to be removed.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple, Optional

from sc import paths
from sc.errors import InputError, MissingError, OccupiedError
from sc.listed_folders import MOST_NAMES, ListedFolders
from sc.model import Outcome, Run, command_hash
from sc.previous_outputs import Previous, find_previous
from sc.run_index import RunIndex, path_key
from sc.storage import Storage

FAR_RUNS = 1000
"""So many whose outputs do not go to a folder are looked at before anything is started: one LIST, as a rule."""
MOST_DOUBTFUL = 10_000
NOT_RUN = "it was there before, and no execution of sc has left it"
_PRINTED = (paths.STDOUT, paths.STDERR)
_HALF = ".status_code.half"
_ATTEMPT = re.compile(r"attempts/[1-9][0-9]*/(stdout|stderr)")
_LONGEST_CODE = 3

Name = Callable[[str], str]


class Own(NamedTuple):
    """Who looks: what it has written itself says nothing of what was there before."""

    url: str
    execution: str = ""
    """Empty: the workers of the job at that URL."""


NOBODY = Own("")


class Found(NamedTuple):
    """What lies at the output paths of some runs."""

    previous: dict[str, Previous]
    """What is to be removed."""
    strangers: dict[str, str]
    """Where something else lies: the place of the first such thing, by the run's path."""


def unrecognised(one: Previous) -> str:
    """The name of something that no execution is sure to have left, "." for the output path itself; empty if there is
    none. Pure."""
    if one.has_code:
        return ""
    printed = [name for name in one.names if name in _PRINTED]
    attempts = [name for name in one.names if _ATTEMPT.fullmatch(name)]
    others = set(one.names).difference(printed, attempts)
    if others or one.has_more:
        return min(others, default=paths.RESULTS) or "."
    return printed[0] if len(printed) == 1 and not attempts else ""


def find_ours(storage: Storage, runs: Collection[str], place: str, own: Own, name: Name) -> Found:
    """As `find_previous`, but without what is not known to be of an execution. `name`: see `sc.leases.namer`."""
    previous = find_previous(storage, runs, place)
    doubtful = {path: what for path, one in previous.items() if (what := unrecognised(one))}
    strangers = _without_known(storage, doubtful, place, own, name)
    return Found(
        {path: one for path, one in previous.items() if path not in strangers},
        {path: _place(path, what) for path, what in strangers.items()},
    )


def refused(run: Run, stranger: str, now: float, machine: str = "") -> Outcome:
    """What is told of a run that is not started, as something else lies at its output path."""
    reason = f"{stranger}: {NOT_RUN}: move it away, or choose another remote_output_path"
    path = run.remote_output_path
    return Outcome(path, command_hash(run), None, "upload", 1, machine, -1, now, now, reason)


class Survey:
    """Looks at the output paths of runs as they are gone through."""

    def __init__(self, storage: Storage, place: str, own: Own, name: Name) -> None:
        """`place` is the batch's."""
        self._storage = storage
        self._place = place.rstrip("/")
        self._own = own
        self._name = name
        self._folder = storage.local_path(place)
        self._listed = ListedFolders()
        self._far: list[str] = []
        self._doubtful: dict[str, str] = {}

    def watch(self, runs: Iterable[str]) -> Iterator[str]:
        """The same output paths. Raises OccupiedError at their end, where somebody else's things lie."""
        for path in runs:
            self._look(path)
            yield path
        for path, one in find_previous(self._storage, self._far, self._place).items():
            self._doubt(path, unrecognised(one))
        found = _without_known(self._storage, self._doubtful, self._place, self._own, self._name)
        if found:
            raise OccupiedError(_sentence(found))

    def _look(self, path: str) -> None:
        folder = self._local(path)
        if folder is None:
            if len(self._far) < FAR_RUNS:
                self._far.append(path)
            return
        if self._listed.has(folder) is not False:
            self._doubt(path, unrecognised(left_in(folder)))

    def _doubt(self, path: str, what: str) -> None:
        if what and len(self._doubtful) < MOST_DOUBTFUL:
            self._doubtful[path] = what

    def _local(self, path: str) -> Optional[str]:
        """The folder that an output path is, if it is one."""
        if self._folder is not None and path.startswith(self._place + "/"):
            return (self._folder.rstrip("/") + path[len(self._place) :]).rstrip("/")
        with suppress(InputError):  # which is told where it is to be used
            folder = self._storage.local_path(path)
            return None if folder is None else folder.rstrip("/")
        return None


def left_in(folder: str) -> Previous:
    """What lies in a folder of this machine under the names that executions use; a folder with nothing in it, and an
    empty file beside which there is nothing, count for nothing. Names are told up to the first that is nobody's."""
    with suppress(OSError):
        if _is_code(os.stat(f"{folder}/{paths.STATUS_CODE}")):
            return Previous(has_code=True)
    if _mode(folder) and not os.path.isdir(folder):
        return Previous(names=("",))
    if _mode(f"{folder}/{_HALF}"):
        return Previous(has_code=True)  # an execution was killed when it was about to write it
    names, sizes = [], 0
    for name in (paths.STATUS_CODE, *_PRINTED):
        if mode := _mode(path := f"{folder}/{name}"):
            is_file = stat.S_ISREG(mode) and name != paths.STATUS_CODE
            names.append(name if is_file else f"{name}/")
            sizes += os.lstat(path).st_size if is_file else 1
    names = names if sizes or len(names) > 1 else []
    if mode := _mode(f"{folder}/{paths.RESULTS}"):
        names += _first_in(folder, paths.RESULTS, mode)
    if mode := _mode(f"{folder}/{paths.ATTEMPTS}"):
        for number in _all_in(folder, paths.ATTEMPTS, mode):
            names += _all_in(folder, number, _mode(f"{folder}/{number}"))
    return Previous(names=tuple(names))


def _is_code(status: os.stat_result) -> bool:
    """An empty one is left by a machine that lost its power."""
    return stat.S_ISREG(status.st_mode) and status.st_size <= _LONGEST_CODE


def _mode(path: str) -> int:
    """0 if it is not there."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _first_in(folder: str, name: str, mode: int) -> list[str]:
    return _all_in(folder, name, mode, 1)


def _all_in(folder: str, name: str, mode: int, most: int = MOST_NAMES) -> list[str]:
    """The names of what is in a folder in `folder`; its own if it is none."""
    if not stat.S_ISDIR(mode):
        return [name]
    names: list[str] = []
    try:
        with os.scandir(f"{folder}/{name}") as entries:
            for entry in entries:
                names.append(f"{name}/{entry.name}")
                if len(names) >= most:
                    break
    except OSError:
        return [name]
    return names


def _without_known(
    storage: Storage, doubtful: Mapping[str, str], place: str, own: Own, name: Name
) -> dict[str, str]:
    """Those of these runs that no lease and no record of the batch names."""
    left = dict(doubtful)
    if not left:
        return left
    keys = {path_key(name(path)): path for path in left}
    jobs = paths.join(place, paths.JOBS)
    for job in storage.list_folders(jobs):
        for data in _leases(storage, paths.join(jobs, job), own):
            for key in RunIndex.of_keys(keys).shared(data):
                left.pop(keys[key], None)
        for data in _records(storage, paths.join(jobs, job)) if left else ():
            for path in filter(None, map(_executed, data.splitlines())):
                left.pop(path, None)
    return left


def _leases(storage: Storage, url: str, own: Own) -> Iterator[bytes]:
    """Which runs others have, or have had."""
    found: dict[str, set[str]] = {}
    for entry in storage.list(paths.leases(url)):
        execution, _, kind = entry.place.rpartition("/")[2].rpartition(".")
        found.setdefault(execution, set()).add(kind)
    for execution, kinds in found.items():
        is_own = execution == own.execution
        is_own |= not own.execution and url.rstrip("/") == own.url.rstrip("/") and "job" in kinds
        if "runs" in kinds and not is_own:
            with suppress(MissingError):
                yield storage.get(paths.leased_runs(url, execution))


def _records(storage: Storage, url: str) -> Iterator[bytes]:
    for entry in storage.list(paths.join(url, "records")):
        with suppress(MissingError):
            yield storage.get(entry.place)


def _executed(line: bytes) -> str:
    """The output path of a run that had a slot, from a line of a record; empty if it tells of none."""
    try:
        record = json.loads(line)
        is_executed = record["rank"] >= 0 and record["cause"] != ""
        return str(record["remote_output_path"]) if is_executed else ""
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _place(path: str, what: str) -> str:
    return path if what == "." else paths.join(path, what.rstrip("/"))


def _sentence(found: Mapping[str, str]) -> str:
    path, what = min(found.items())
    more = f" (and so with {len(found) - 1:,} more of the runs)" if len(found) > 1 else ""
    return (
        f"{_place(path, what)}: {NOT_RUN}{more}: move it away, or choose another "
        "remote_output_path; nothing was changed, and no run was started"
    )
