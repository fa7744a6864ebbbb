"""Hands each call to the kind of storage that the place belongs to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import Optional

from sc.storage import Entry, Storage
from sc.storage.local import LocalStorage
from sc.storage.places import Folder, Location, resolve
from sc.widths import OPEN, Width


class AnyStorage:
    """A Storage for every place; each kind is made when its first place is used."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._local = LocalStorage(self._resolve)
        self._s3: Optional[Storage] = None
        self._lock = Lock()

    def check(self, place: str) -> None:
        self._kind(place).check(place)

    def check_conditions(self, place: str) -> None:
        self._kind(place).check_conditions(place)

    def local_path(self, place: str) -> Optional[str]:
        location = self._resolve(place)
        return location.path if isinstance(location, Folder) else None

    def put(self, place: str, data: bytes, width: Width = OPEN) -> str:
        return self._kind(place).put(place, data, width)

    def put_file(self, place: str, path: str) -> None:
        self._kind(place).put_file(place, path)

    def moved(self) -> int:
        return 0 if self._s3 is None else self._s3.moved()

    def get(self, place: str, start: int = 0) -> bytes:
        return self._kind(place).get(place, start)

    def get_file(self, place: str, path: str, size: Optional[int] = None) -> None:
        self._kind(place).get_file(place, path, size)

    def stat(self, place: str) -> Optional[Entry]:
        return self._kind(place).stat(place)

    def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Entry]:
        return self._kind(place).list(place, start_after, end_before)

    def list_folders(self, place: str) -> Iterator[str]:
        return self._kind(place).list_folders(place)

    def delete(self, places: Iterable[str]) -> None:
        for kind, some in itertools.groupby(places, self._kind):
            kind.delete(some)

    def create(self, place: str, data: bytes) -> Optional[str]:
        return self._kind(place).create(place, data)

    def replace(self, place: str, data: bytes, tag: str) -> Optional[str]:
        return self._kind(place).replace(place, data, tag)

    def _resolve(self, place: str) -> Location:
        return resolve(place, self._environ)

    def _kind(self, place: str) -> Storage:
        if isinstance(self._resolve(place), Folder):
            return self._local
        with self._lock:
            if self._s3 is None:
                from sc.storage.s3 import S3Storage  # botocore is slow to import

                self._s3 = S3Storage(self._resolve)
            return self._s3
