"""What an earlier execution left at the output paths of runs that are to be executed again.

    find_previous (a LIST, no effect) ─▶ Previous of each run ─▶ remove_previous (DELETEs: status codes, then the rest)

Found is all that `sc` itself writes there: `status_code`, `stdout`, `stderr`, `results/…`, `attempts/…`; whatever else
lies there stays. Runs of one place are looked for with one listing, from the first of them to the last. At the end of
a page it leaps over what is none of theirs, so that each page but the last tells of at least one of the runs, or is
followed by a leap to another one.

Of a folder of this machine nothing is found: there the executor itself removes what lies at a run's output path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Optional

from sc import paths
from sc.paths import BEHIND
from sc.storage import Entry, Storage

PAGE = 1000
"""Objects that one answer of a listing tells of."""
MOST_OF_A_RUN, MOST_OF_ALL = 1000, 50_000
"""So many names are kept: 5 MB. What has more is listed again when it is removed."""
THREADS = 16
_FOLDERS = (paths.ATTEMPTS, paths.RESULTS)
_FILES = (paths.STATUS_CODE, paths.STDERR, paths.STDOUT)


class Previous(NamedTuple):
    """What lies at the output path of one run."""

    has_code: bool = False
    names: tuple[str, ...] = ()
    """Of the objects, relative to the output path, without `status_code`."""
    has_more: bool = False
    """There are results or attempts that are not among the names."""


def find_previous(
    storage: Storage, runs: Iterable[str], below: str = "", page: int = PAGE
) -> dict[str, Previous]:
    """What lies at these output paths; those at which nothing lies are left out.

    One LIST, where nothing is found, for all runs below the place `below`; another for each folder of others, or for
    each of these that lies in no folder of its bucket. `page` is how many objects an answer of the listing tells of.
    """
    far = (path for path in runs if storage.local_path(path) is None)
    groups = [_Group(place, some) for place, some in _by_place(far, below).items()]
    search = _Search(storage, page)
    if len(groups) > 1:
        from concurrent.futures import ThreadPoolExecutor  # see sc.executor.threads

        with ThreadPoolExecutor(min(THREADS, len(groups))) as threads:
            for _ in threads.map(search.look, groups):
                """Raises what the thread has raised."""
    else:
        for group in groups:
            search.look(group)
    return {path: one.previous() for path, one in search.found.items()}


def remove_previous(storage: Storage, previous: Mapping[str, Previous]) -> None:
    """Remove it. The status codes go first: what has none is not finished.

    They go again with what else lies there. If such a request is held up for so long that somebody else has done the
    run meanwhile, the run is not taken for finished when some of its outputs are gone.
    """
    storage.delete(
        paths.join(path, paths.STATUS_CODE) for path, one in previous.items() if one.has_code
    )
    storage.delete(_others(storage, previous))


def _others(storage: Storage, previous: Mapping[str, Previous]) -> Iterator[str]:
    for path, one in previous.items():
        if one.names or one.has_more:
            yield paths.join(path, paths.STATUS_CODE)
        for name in one.names:
            yield paths.join(path, name)
        for folder in _FOLDERS if one.has_more else ():
            yield from (entry.place for entry in storage.list(paths.join(path, folder)))


def _by_place(runs: Iterable[str], below: str) -> dict[str, list[str]]:
    """The runs by the place that is to be listed for them: `below`, the folder that they are in, or their own."""
    place = below.rstrip("/")
    groups: dict[str, list[str]] = {}
    for path in runs:
        folder = path.rpartition("/")[0]
        if path == place or not _is_plain(path):
            listed = path
        elif place and path.startswith(place + "/"):
            listed = place
        else:  # a bucket is not listed as a whole: who works in it may not have the right to
            listed = folder if folder.count("/") > 2 else path
        groups.setdefault(listed, []).append(path)
    return groups


def _is_plain(path: str) -> bool:
    """False where a listing of the folder above may name the run's objects in another way than its path does."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return not path.endswith("/") and "//" not in path.partition("://")[2]


class _Zone(NamedTuple):
    """A range of keys, relative to the listed place, in which objects of one run lie.

    By bytes as by tree (see `Storage.list`) all of them lie between the two, and none of another run.
    """

    first: str
    end: str


class _Group:
    """Runs whose outputs are found by listing one place."""

    def __init__(self, place: str, runs: Sequence[str]) -> None:
        self.place = place
        self.skip = len(place.rstrip("/")) + 1
        self.runs = {path[self.skip :] + "/" if path != place else "": path for path in runs}
        """By what the keys of their objects begin with."""

    def zones(self) -> list[_Zone]:
        zones = []
        for prefix in self.runs:
            zones += [_Zone(f"{prefix}{name}/", f"{prefix}{name}{BEHIND}") for name in _FOLDERS]
            zones.append(_Zone(f"{prefix}s", f"{prefix}{paths.STDOUT}/"))  # all of _FILES
        return zones

    def whose(self, key: str) -> Optional[tuple[str, str]]:
        """What a run's keys begin with, and the object's name below it; None for what `sc` has not made there."""
        end = -1
        while (prefix := key[: end + 1]) not in self.runs:
            end = key.find("/", end + 1)
            if end < 0:
                return None
        name = key[len(prefix) :]
        folder, slash, _ = name.partition("/")
        return (prefix, name) if name in _FILES or (slash and folder in _FOLDERS) else None


class _Found:
    """What was found of one run so far."""

    def __init__(self) -> None:
        self.has_code = False
        self.has_more = False
        self.names: set[str] = set()

    def previous(self) -> Previous:
        return Previous(self.has_code, tuple(sorted(self.names)), self.has_more)


class _Search:
    """All that was found. Groups have no run in common, so that several threads can look, each for one group."""

    def __init__(self, storage: Storage, page: int) -> None:
        self.storage = storage
        self.page = page
        self.found: dict[str, _Found] = {}
        self._kept = 0

    def look(self, group: _Group) -> None:
        """List what can hold objects of the group's runs."""
        todo = [group.zones()]
        while todo:
            zones = todo.pop()
            doubtful = _Listing(self, group, zones).read()
            if doubtful and len(doubtful) == len(zones):
                middle = len(doubtful) // 2
                todo += [doubtful[:middle], doubtful[middle:]]
            elif doubtful:
                todo.append(doubtful)

    def add(self, path: str, name: str) -> bool:
        """Note an object of a run. False if it is not among the names, being too many."""
        one = self.found.setdefault(path, _Found())
        if name == paths.STATUS_CODE:
            one.has_code = True
        elif name in _FILES:
            one.names.add(name)
        elif one.has_more or len(one.names) >= MOST_OF_A_RUN or self._kept >= MOST_OF_ALL:
            one.has_more = True
            one.names.intersection_update(_FILES)
            return False
        else:
            one.names.add(name)
            self._kept += 1
        return True


class _Listing:
    """One way through the keys, from the first zone to the last."""

    def __init__(self, search: _Search, group: _Group, zones: list[_Zone]) -> None:
        self._search = search
        self._group = group
        self._zones = zones
        """What is not passed yet, as far as pages' ends have told."""
        self._doubtful: list[_Zone] = []

    def read(self) -> list[_Zone]:
        """To its end. Returns zones that may have been left out, as the server has not told by which order it lists."""
        start: Optional[str] = _start(self._zones)
        end = _end(self._zones)
        while start is not None:
            before, listing = start, self._search.storage.list(self._group.place, start, end)
            start, may_leap = None, True
            for number, entry in enumerate(listing, 1):
                key = self._key(entry)
                is_ours, leap = self._add(key)
                may_leap = may_leap and (key > before or _tree(key) > _tree(before))
                if number % self._search.page == 0 and may_leap:
                    # At a page's end a leap costs no request more than to go on. A server that does not know
                    # `start-after` begins anew each time: there it goes on.
                    start = leap if is_ours else self._next_zone(key)
                    if start is not None or not self._zones:
                        break
        return self._doubtful

    def _key(self, entry: Entry) -> str:
        return entry.place[self._group.skip :]

    def _add(self, key: str) -> tuple[bool, Optional[str]]:
        """Note an object if it is a run's. Says whether it is, and behind what the run has too many of."""
        whose = self._group.whose(key)
        if whose is None:
            return False, None
        prefix, name = whose
        if self._search.add(self._group.runs[prefix], name):
            return True, None
        return True, f"{prefix}{name.partition('/')[0]}{BEHIND}"

    def _next_zone(self, key: str) -> Optional[str]:
        """Where to go on behind this key, which is no run's. None to read on, or to end if no zone is left."""
        here = _tree(key)
        ahead: list[_Zone] = []
        doubtful: list[_Zone] = []
        for zone in self._zones:  # 1: it is ahead of the key; -1: behind it; 0: the key is inside
            by_bytes = (zone.first > key) - (zone.end <= key)
            by_tree = (_tree(zone.first) > here) - (_tree(zone.end) <= here)
            if by_bytes == by_tree == 0 or (by_bytes != by_tree and len(self._zones) == 1):
                return None
            if by_bytes != by_tree:
                doubtful.append(zone)
            elif by_bytes > 0:
                ahead.append(zone)
        self._zones = ahead
        self._doubtful += doubtful
        # By either order the key lies before what the first zones by both have in common.
        return _start(ahead) if ahead else None


def _tree(key: str) -> list[str]:
    """Sorts as a server does that lists folder by folder."""
    return key.split("/")


def _start(zones: Sequence[_Zone]) -> str:
    """A bound before all of the zones, by bytes as by tree."""
    firsts = [zone.first for zone in zones]
    by_bytes, by_tree = min(firsts), min(firsts, key=_tree)
    return by_bytes if by_bytes == by_tree else _common(by_bytes, by_tree)


def _end(zones: Sequence[_Zone]) -> str:
    """A bound behind all of the zones, by bytes as by tree; "" is none."""
    ends = [zone.end for zone in zones]
    by_bytes, by_tree = max(ends), max(ends, key=_tree)
    if by_bytes == by_tree:
        return by_bytes
    end = _common(by_bytes, by_tree) + BEHIND[1:]
    return end if end > by_bytes and _tree(end) > _tree(by_tree) else ""


def _common(one: str, other: str) -> str:
    """What both begin with."""
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]
