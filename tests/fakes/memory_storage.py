"""A storage in this process's memory, with a clock that the test turns. Behaves as S3 does, counts requests."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Optional

from sc.errors import MissingError, StorageError
from sc.storage import Entry
from sc.storage.local_errors import told
from sc.widths import OPEN, Width

PAGE = 1000
"""Objects that one LIST request tells of, as S3 has it."""


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class MemoryStorage:
    """All objects in one dictionary; several "machines" may share it, there is no real time in it."""

    def __init__(self, clock: Clock, by_tree: bool = False) -> None:
        """`by_tree`: lists folder by folder, as SeaweedFS does."""
        self.clock = clock
        self.by_tree = by_tree
        self.objects: dict[str, bytes] = {}
        self._keys: list[tuple[str, ...]] = []
        self.times: dict[str, float] = {}
        self.tags: dict[str, str] = {}
        self.requests: Counter[str] = Counter()
        self._lock = Lock()
        self.is_down = False
        self.loses_answers_of: set[str] = set()
        """Calls (`create`, `replace`) whose next use takes effect and then looks as if somebody else had been first."""

    def moved(self) -> int:
        return 0

    def local_path(self, place: str) -> Optional[str]:
        return None

    def check(self, place: str) -> None:
        self._count("check")

    def check_conditions(self, place: str) -> None:
        """They hold."""

    def put(self, place: str, data: bytes, width: Width = OPEN) -> str:
        self._count("put", place)
        return self._store(place, data)

    def put_file(self, place: str, path: str) -> None:
        self.put(place, Path(path).read_bytes())

    def get(self, place: str, start: int = 0) -> bytes:
        self._count("get", place)
        if place not in self.objects:
            raise MissingError(f"There is nothing at {place}.")
        return self.objects[place][start:]

    def get_file(self, place: str, path: str, size: Optional[int] = None) -> None:
        data = self.get(place)
        with told(path, "written"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(data)

    def stat(self, place: str) -> Optional[Entry]:
        self._count("stat", place)
        return self._entry(place) if place in self.objects else None

    def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Entry]:
        below = place.rstrip("/") + "/"
        first = bisect_right(self._keys, self._key(below + start_after))
        behind = below[:-1] + ("\0" if self.by_tree else "0")  # "0" comes after "/"
        end = self._key(below + end_before if end_before else behind)
        keys = self._keys[first : bisect_left(self._keys, end)]
        for number, key in enumerate(map("/".join, keys)):
            if number % PAGE == 0:
                self._count("list", below)
            if key in self.objects:
                yield self._entry(key)
        if not keys:
            self._count("list", below)

    def list_folders(self, place: str) -> Iterator[str]:
        below = place.rstrip("/") + "/"
        self._count("list", below)
        rests = [key[len(below) :] for key in self.objects if key.startswith(below)]
        yield from sorted({rest.split("/", 1)[0] for rest in rests if "/" in rest})

    def delete(self, places: Iterable[str]) -> None:
        places = list(places)
        for _ in range(0, len(places), PAGE):
            self._count("delete", places[0])
        for place in places:
            if self.objects.pop(place, None) is not None:
                self._keys.remove(self._key(place))

    def create(self, place: str, data: bytes) -> Optional[str]:
        self._count("create", place)
        if place in self.objects:
            return tag_of(data) if self.objects[place] == data else None
        return self._stored_perhaps_unheard("create", place, data)

    def replace(self, place: str, data: bytes, tag: str) -> Optional[str]:
        self._count("replace", place)
        if place not in self.objects or self.tags[place] != tag:
            return None
        return self._stored_perhaps_unheard("replace", place, data)

    def _stored_perhaps_unheard(self, kind: str, place: str, data: bytes) -> Optional[str]:
        tag = self._store(place, data)
        if kind not in self.loses_answers_of:
            return tag
        self.loses_answers_of.remove(kind)
        return None

    def _store(self, place: str, data: bytes) -> str:
        if place not in self.objects:
            insort(self._keys, self._key(place))
        return self._keep(place, data)

    def _keep(self, place: str, data: bytes) -> str:
        self.objects[place], self.times[place] = data, self.clock()
        self.tags[place] = tag_of(data)
        return self.tags[place]

    def _key(self, place: str) -> tuple[str, ...]:
        return tuple(place.split("/")) if self.by_tree else (place,)

    def _entry(self, place: str) -> Entry:
        age = self.clock() - self.times[place]
        return Entry(place, len(self.objects[place]), self.tags[place], age)

    def _count(self, kind: str, place: str = "") -> None:
        if self.is_down:
            raise StorageError("The storage does not answer.")
        with self._lock:
            self.requests[kind] += 1


def tag_of(data: bytes) -> str:
    """S3's ETag of a plain object."""
    return hashlib.md5(data).hexdigest()
