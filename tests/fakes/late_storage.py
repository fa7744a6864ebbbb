"""A storage for a crowd: its answers come late, every request is counted by kind, folder and moment, and a listing of
a hundred thousand parts is fast."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Optional, TypeVar

from sc.claims import LEASE_SECONDS, RENEWALS_PER_LEASE
from sc.storage import Entry
from sc.widths import OPEN, Width
from tests.fakes.memory_storage import PAGE, MemoryStorage
from tests.fakes.timeline import Timeline

LIST_SECONDS, OTHER_SECONDS = 0.12, 0.03
"""From the moment at which a request takes effect to that at which its answer is there, on average: what is acted
upon is so old."""
TENTHS = 10
"""Requests are counted for each tenth of a second."""
Answer = TypeVar("Answer")
Row = tuple[str, int, str, float]
"""Of one object: its place, size, tag and time."""


class LateStorage(MemoryStorage):
    """To be used by what a timeline drives."""

    def __init__(self, timeline: Timeline, job_url: str, parts: int, random: Random) -> None:
        super().__init__(timeline)
        self.by_folder: Counter[tuple[str, str]] = Counter()
        """Requests by kind and folder of the job."""
        self.by_tenth: Counter[int] = Counter()
        self.renewed: set[str] = set()
        """Claims that somebody renews: without requests, which depend on time only and would hide the others."""
        self.renew_seconds = LEASE_SECONDS / RENEWALS_PER_LEASE
        self._timeline = timeline
        self._random = random
        self._job_url = job_url
        self._names = sorted(map(str, range(parts)))
        self._indexes = {name: index for index, name in enumerate(self._names)}
        self._rows: dict[str, list[Optional[Row]]] = {
            f"{job_url}/{folder}": [None] * parts for folder in ("claims", "done")
        }
        """What a listing tells, in its order."""

    def lay(self, place: str, data: bytes) -> None:
        """This is there before anybody comes."""
        self._store(place, data)

    def renews(self, place: str) -> None:
        """From now on its claim is renewed."""
        self.renewed.add(place)

    def is_renewed_no_more(self, place: str) -> None:
        """The last renewal was the last."""
        self.renewed.discard(place)
        age = self._timeline.now - self.times[place]
        self.times[place] += age - age % self.renew_seconds
        self._show(place)

    def put(self, place: str, data: bytes, width: Width = OPEN) -> str:
        return self._late(super().put(place, data))

    def get(self, place: str, start: int = 0) -> bytes:
        return self._late(super().get(place, start))

    def stat(self, place: str) -> Optional[Entry]:
        return self._late(super().stat(place))

    def create(self, place: str, data: bytes) -> Optional[str]:
        return self._late(super().create(place, data))

    def replace(self, place: str, data: bytes, tag: str) -> Optional[str]:
        return self._late(super().replace(place, data, tag))

    def delete(self, places: Iterable[str]) -> None:
        self._late(super().delete(places))

    def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Entry]:
        if self._is_of_parts(place + "/"):
            entries = self._list_parts(place, start_after, end_before)
        else:
            entries = [*super().list(place, start_after, end_before)]
        self._late(None, LIST_SECONDS)
        return iter(entries)

    def _list_parts(self, place: str, start_after: str, end_before: str) -> Sequence[Entry]:
        first = bisect_right(self._names, start_after)
        last = bisect_left(self._names, end_before) if end_before else len(self._names)
        now, renewed, every = self._timeline.now, self.renewed, self.renew_seconds
        make = (
            tuple.__new__
        )  # for an Entry in half the time: hundreds of millions of them are listed
        entries = [
            make(Entry, (key, size, tag, (now - at) % every if key in renewed else now - at, True))
            for key, size, tag, at in filter(None, self._rows[place][first:last])
        ]
        for _ in range(0, len(entries) or 1, PAGE):
            self._count("list", place + "/")
        return entries

    def _store(self, place: str, data: bytes) -> str:
        if self._is_of_parts(place):
            return self._keep(place, data)
        return super()._store(place, data)

    def _is_of_parts(self, place: str) -> bool:
        return place.startswith((f"{self._job_url}/claims/", f"{self._job_url}/done/"))

    def _keep(self, place: str, data: bytes) -> str:
        tag = super()._keep(place, data)
        self._show(place)
        return tag

    def _show(self, place: str) -> None:
        folder, name = place.rsplit("/", 1)
        if folder in self._rows:
            row = (place, len(self.objects[place]), self.tags[place], self.times[place])
            self._rows[folder][self._indexes[name]] = row

    def _entry(self, place: str) -> Entry:
        entry = super()._entry(place)
        if place not in self.renewed:
            return entry
        return entry._replace(age_seconds=entry.age_seconds % self.renew_seconds)

    def _count(self, kind: str, place: str = "") -> None:
        super()._count(kind, place)
        folder = place[len(self._job_url) + 1 :].split("/")[0]
        self.by_folder[kind, folder] += 1
        self.by_tenth[int(self.clock() * TENTHS)] += 1

    def _late(self, answer: Answer, seconds: float = OTHER_SECONDS) -> Answer:
        self._timeline.sleep(seconds * self._random.uniform(0.5, 1.5))
        return answer
