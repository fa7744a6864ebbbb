"""Outputs and jobs in S3, or in any server that speaks its protocol."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Lock
from typing import Callable, Optional

from sc.errors import InputError, StorageError
from sc.storage import Entry
from sc.storage.atomic_files import draft, write_all
from sc.storage.local_errors import opened, told
from sc.storage.places import Bucket, Location, child, unescaped_key
from sc.storage.s3_answers import modified, server_time, tag_of, whole_number
from sc.storage.s3_client import Answer, Ask, Client
from sc.storage.s3_deleting import delete_keys
from sc.storage.s3_errors import Purpose
from sc.storage.s3_files import PART_BYTES, RANGE_BYTES, Target, download, read_at, upload
from sc.storage.s3_listing import folders, objects
from sc.storage.s3_modes import headers_of, set_mode
from sc.widths import OPEN, Width

_MISSING = frozenset([404])
_CREATED_MEANWHILE = frozenset([412])
_CHANGED = frozenset([404, 412])
_NO_SUCH_RANGE = frozenset([416])


_NO_TAG = "0" * 32
"""Of no object."""


def _ignores(place: str, header: str) -> StorageError:
    return StorageError(
        f"{place} cannot hold a job, that storage does not keep the condition {header}, by which workers share one: "
        "use a storage that does (S3 does), or run the batch with `sc batch`, which needs none."
    )


def configured_client() -> Client:
    """A client with the credentials, the region and the endpoint that this machine tells."""
    from sc.storage.s3_account import ConfiguredAccount
    from sc.storage.s3_configured import ConfiguredSettings
    from sc.storage.s3_http import Connections

    account, settings = ConfiguredAccount(), ConfiguredSettings()
    return Client(account, Connections(account.ca_file, account.proxies), settings=settings)


class S3Storage:
    """A Storage whose objects are S3's. `resolve` tells which bucket and key a place is."""

    def __init__(
        self,
        resolve: Callable[[str], Location],
        new_client: Callable[[], Client] = configured_client,
    ) -> None:
        self._resolve = resolve
        self._new_client = new_client
        self._made: Optional[Client] = None
        self._lock = Lock()

    def check(self, place: str) -> None:
        at = self._below(place)
        purpose = Purpose(place, "written", "s3:ListBucket")
        next(iter(objects(self._client(), purpose, at.bucket, at.key, page_size=1)), None)

    def local_path(self, place: str) -> Optional[str]:
        self._resolve(place)
        return None

    def check_conditions(self, place: str) -> None:
        """A server that ignores a condition would give one claim to two workers: find out."""
        probe = child(place, f"conditions-{secrets.token_hex(8)}")
        try:
            tag = self.create(probe, b"1") or ""
            if self.create(probe, b"2") is not None:
                raise _ignores(place, "If-None-Match")
            if self.replace(probe, b"3", _NO_TAG) is not None:
                raise _ignores(place, "If-Match")
            if self.replace(probe, b"4", tag) is None:
                raise _ignores(place, "If-Match")
        finally:
            with suppress(StorageError):
                self.delete([probe])

    def put(self, place: str, data: bytes, width: Width = OPEN) -> str:
        return self._tag(self._written(self._object(place), data), place)

    def put_file(self, place: str, path: str) -> None:
        target = self._object(place)
        with opened(path) as source, told(path, "read"):
            status = os.fstat(source)
            size, headers = status.st_size, headers_of(status.st_mode)
            if size > PART_BYTES:
                upload(self._client(), target, source, size, headers)
            else:
                self._written(target, read_at(source, 0, size), headers)

    def moved(self) -> int:
        return 0 if self._made is None else self._made.moved()

    def get(self, place: str, start: int = 0) -> bytes:
        ask = self._reading(self._object(place))
        if start:
            wanted = f"bytes={start}-" if start > 0 else f"bytes={start}"
            ask = ask._replace(headers={"range": wanted}, expected=_NO_SUCH_RANGE)
        answer = self._client().ask(ask)
        if answer.status == 416:
            return b""
        if start and answer.status == 200:  # a server that leaves ranges out, as it may
            return answer.body[start:] if start > -len(answer.body) else answer.body
        return answer.body

    def get_file(self, place: str, path: str, size: Optional[int] = None) -> None:
        target = self._object(place)
        with told(path, "written"), draft(path) as new:
            if size is not None and size <= RANGE_BYTES:
                answer = self._client().ask(self._reading(target))
                write_all(new.fd, answer.body)
            else:
                answer = download(self._client(), target, new.fd)
            set_mode(new.fd, answer.headers)
            new.publish(path)

    def stat(self, place: str) -> Optional[Entry]:
        target = self._object(place)
        client = self._client()
        ask = self._reading(target)._replace(method="HEAD", expected=_MISSING)
        answer = client.ask(ask)
        if answer.status == 404:
            if not client.knows(target.bucket):  # no body tells whether there is a bucket at all
                client.ask(ask._replace(method="GET", headers={"range": "bytes=0-0"}))
            return None
        now, then = server_time(answer.headers), modified(answer.headers)
        age = max(0.0, now - then) if now is not None and then is not None else 0.0
        size = whole_number(answer.headers.get("content-length", ""))
        if size is None:
            raise StorageError(
                f"{place} cannot be read, the storage does not tell its size: use one that does."
            )
        return Entry(place, size, tag_of(answer.headers), age)

    def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Entry]:
        at = self._below(place)
        purpose = Purpose(place, "listed", "s3:ListBucket")
        skip = len(at.key)
        for now, found in objects(
            self._client(), purpose, at.bucket, at.key, start_after, end_before
        ):
            age = max(0.0, now - found.modified)
            name = unescaped_key(found.key[skip:])
            yield Entry(child(place, name), found.size, found.tag, age)

    def list_folders(self, place: str) -> Iterator[str]:
        at = self._below(place)
        purpose = Purpose(place, "listed", "s3:ListBucket")
        return map(unescaped_key, folders(self._client(), purpose, at.bucket, at.key))

    def delete(self, places: Iterable[str]) -> None:
        targets = map(self._object, places)
        for bucket, some in itertools.groupby(targets, lambda target: target.bucket):
            delete_keys(self._client(), bucket, some)

    def create(self, place: str, data: bytes) -> Optional[str]:
        target = self._object(place)
        condition = {"if-none-match": "*"}
        answer = self._written(target, data, condition, _CREATED_MEANWHILE)
        if answer.status == 412:
            return self._own_tag(target, data) if answer.tries > 1 else None
        return self._tag(answer, place)

    def replace(self, place: str, data: bytes, tag: str) -> Optional[str]:
        target = self._object(place)
        condition = {"if-match": f'"{tag}"'}
        answer = self._written(target, data, condition, _CHANGED)
        if answer.status in _CHANGED:
            return self._own_tag(target, data) if answer.tries > 1 else None
        return self._tag(answer, place)

    def _written(
        self,
        target: Target,
        data: bytes,
        condition: Optional[dict[str, str]] = None,
        expected: frozenset[int] = frozenset(),
    ) -> Answer:
        purpose = Purpose(target.place, "written", "s3:PutObject")
        ask = Ask(purpose, "PUT", target.bucket, target.key, headers=condition or {}, body=data)
        return self._client().ask(ask._replace(expected=expected))

    def _own_tag(self, target: Target, data: bytes) -> Optional[str]:
        """The tag, if what is there now is what an earlier try of ours may have stored."""
        answer = self._client().ask(self._reading(target)._replace(expected=_MISSING))
        return tag_of(answer.headers) if answer.status == 200 and answer.body == data else None

    def _tag(self, answer: Answer, place: str) -> str:
        tag = tag_of(answer.headers)
        if not tag:
            entry = self.stat(place)
            tag = "" if entry is None else entry.tag
        return tag

    def _reading(self, target: Target) -> Ask:
        purpose = Purpose(target.place, "read", "s3:GetObject")
        return Ask(purpose, "GET", target.bucket, target.key)

    def _client(self) -> Client:
        with self._lock:
            if self._made is None:
                self._made = self._new_client()
            return self._made

    def _object(self, place: str) -> Target:
        location = self._resolve(place)
        assert isinstance(location, Bucket), "the router gives buckets to this kind"
        if not location.key:
            raise InputError(f"The place '{place}' is a bucket: name something below it.")
        return Target(place, location.name, location.key)

    def _below(self, place: str) -> Target:
        """The place as a folder: its key ends with a slash, or is empty for the whole bucket."""
        location = self._resolve(place)
        assert isinstance(location, Bucket), "the router gives buckets to this kind"
        return Target(place, location.name, location.key + "/" if location.key else "")
