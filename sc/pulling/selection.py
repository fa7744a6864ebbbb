"""Which objects are wanted, and where each goes. Pure.

What lies at `<batch's place>/a/b/stdout` goes to `DEST/a/b/stdout`. A run outside of the batch's place goes below
`DEST/elsewhere/`, by its whole place without the scheme.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable
from typing import Optional

from sc import paths
from sc.codes import Sample
from sc.pulling.memory import FILE, Item
from sc.run_index import path_key
from sc.storage import Entry

KINDS = (paths.RESULTS, paths.STDOUT, paths.STDERR, paths.STATUS_CODE, paths.ATTEMPTS)
ELSEWHERE = "elsewhere"
_LONGEST_NAME = 255
"""Bytes, of a name in nearly all file systems."""
SINGLES_PER_LISTING = 20
"""Of a batch of so many times as many runs as are wanted, each is listed by itself: a page tells of 300 runs."""


class Selection:
    """The runs that are wanted, 8 bytes each, and what of them."""

    def __init__(
        self, place: str, runs: Iterable[str], total: int, only: Collection[str] = ()
    ) -> None:
        """`runs` are output paths, of a batch of `total` runs at `place`. `only` are some of KINDS; none means all."""
        self._prefix = place.rstrip("/") + "/"
        self._only = frozenset(only)
        keys = array("Q")
        self.singles: list[str] = []
        """Runs that are to be listed by themselves."""
        self.sample = Sample()
        inside: list[str] = []
        few = max(1, total // SINGLES_PER_LISTING)
        for path in runs:
            keys.append(path_key(path))
            if not path.startswith(self._prefix):
                self.singles.append(path)
                continue
            self.sample.add(path[len(self._prefix) :])
            if len(inside) < few:
                inside.append(path)
        is_few = self.sample.count < few
        self.inside = None if is_few or not self.sample.count else place
        """Where all is to be listed, or None."""
        self.singles += inside if is_few else []
        self.runs = len(keys)
        self._keys = array("Q", sorted(keys))

    def item(self, entry: Entry) -> Optional[Item]:
        """What a listing tells of, if it is wanted."""
        run = self.run_of(entry.place)
        if run is None:
            return None
        kind = entry.place[len(run) + 1 :].partition("/")[0]
        if not self.is_kind(kind):
            return None
        return Item(entry.place, entry.size, entry.tag, self.path(entry.place))

    def is_kind(self, name: str) -> bool:
        """Whether this is wanted of what lies at a run's output path."""
        return not self._only or name in self._only

    def problem(self, item: Item) -> str:
        """Why the object can have no place below DEST, to be read after its name; empty if it can."""
        names = item.path.split("/")
        if names[0] == FILE or any(not _is_name(name) for name in names):
            return "has a name that cannot be kept in a folder"
        return ""

    def run_of(self, place: str) -> Optional[str]:
        """The output path of the wanted run that the object belongs to, or None."""
        run = place.rpartition("/")[0]
        while run and not self._is_wanted(run):
            run = run.rpartition("/")[0]
        return run or None

    def _is_wanted(self, run: str) -> bool:
        key = path_key(run)
        place = bisect_left(self._keys, key)
        return place < len(self._keys) and self._keys[place] == key

    def path(self, place: str) -> str:
        """Where below DEST a place goes."""
        if place.startswith(self._prefix):
            return place[len(self._prefix) :]
        scheme, found, rest = place.partition("://")
        return "/".join([ELSEWHERE, *([scheme, rest] if found else [place.lstrip("/")])])


def _is_name(name: str) -> bool:
    """False for what would lead elsewhere, and for what no file system keeps."""
    if name in ("", ".", "..") or "\0" in name:
        return False
    try:
        data = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    # Who makes keys by hand can name an "é" by its bytes: that is the file of another key.
    return len(data) <= _LONGEST_NAME and data.decode("utf-8", "surrogateescape") == name
