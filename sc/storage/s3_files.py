"""Files of any size to S3 and back, in parts, a few at a time, with bounded memory.

Memory: three parts of 16 MiB are held at once on the way up, or one where parts must be larger
because 10,000 of them have to suffice (beyond 160 GB); three of 8 MiB on the way down, where
Python's reader holds each of them twice.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Callable, NamedTuple, TypeVar

from sc.errors import StorageError
from sc.storage.s3_answers import (
    begun_uploads,
    completion_body,
    element,
    error_code,
    sha256_text,
    tag_of,
    whole_number,
)
from sc.storage.s3_client import Answer, Ask, Client
from sc.storage.s3_errors import Purpose
from sc.storage.s3_receiver import Response

MIB = 1 << 20
PART_BYTES = 16 * MIB
MOST_PARTS = 10_000
RANGE_BYTES = 8 * MIB
_AT_ONCE = 3
_COMPLETION_SECONDS = 300.0
_CHANGED_TRIES = 5

T = TypeVar("T")
U = TypeVar("U")


class Target(NamedTuple):
    """An object and how it is told."""

    place: str
    bucket: str
    key: str


def part_bytes(size: int) -> int:
    """How large the parts of a file of that size are: whole MiB, at least 16."""
    least = -(-size // MOST_PARTS)
    return max(PART_BYTES, -(-least // MIB) * MIB)


def upload(
    client: Client, target: Target, source: int, size: int, headers: Mapping[str, str]
) -> None:
    """Store the first `size` bytes of an open file that is larger than one part."""
    purpose = Purpose(target.place, "written", "s3:PutObject")
    ask = Ask(purpose, "POST", target.bucket, target.key, {"uploads": ""})
    upload_id = element(client.ask(ask._replace(headers=headers)).body, "UploadId")
    try:
        parts = list(_sent_parts(client, ask, upload_id, source, size))
        _complete(client, ask, upload_id, parts, size)
    except BaseException:
        with suppress(StorageError):
            _abort(client, ask, upload_id)
        raise
    with suppress(StorageError):  # those rights may be lacking, and the object is there
        _abort_forsaken(client, ask)


def _abort_forsaken(client: Client, ask: Ask) -> None:
    """End what was begun for this object and will never be completed: parts without an object cost money until
    somebody removes them. They are of a machine that has died, of an outage in which nothing could be ended, or of
    a beginning whose answer was lost.
    """
    query = {"uploads": "", "prefix": ask.key}
    listed = client.ask(ask._replace(method="GET", key="", query=query))
    for upload_id in begun_uploads(listed.body, ask.key):
        _abort(client, ask, upload_id)


def _abort(client: Client, ask: Ask, upload_id: str) -> None:
    gone = frozenset([404])
    client.ask(ask._replace(method="DELETE", query={"uploadId": upload_id}, expected=gone))


def _sent_parts(
    client: Client, ask: Ask, upload_id: str, source: int, size: int
) -> Iterator[tuple[str, str]]:
    step = part_bytes(size)

    def send(number: int) -> tuple[str, str]:
        start = (number - 1) * step
        body = read_at(source, start, min(step, size - start))
        if len(body) < min(step, size - start):
            raise StorageError(
                f"{ask.purpose.place} cannot be written, its file became shorter meanwhile: "
                "try again when nothing writes to it any more."
            )
        query = {"partNumber": str(number), "uploadId": upload_id}
        sha256 = hashlib.sha256(body).hexdigest()
        part = ask._replace(method="PUT", query=query, body=body, sha256=sha256)
        tag = tag_of(client.ask(part).headers)
        return tag, "" if client.sends_md5(ask.bucket) else sha256_text(sha256)

    at_once = max(1, _AT_ONCE * PART_BYTES // step)
    return _in_order(send, range(1, -(-size // step) + 1), at_once)


def _complete(
    client: Client, ask: Ask, upload_id: str, parts: list[tuple[str, str]], size: int
) -> None:
    answer = client.ask(
        ask._replace(
            query={"uploadId": upload_id},
            body=completion_body(parts),
            expected=frozenset([404]),
            read_seconds=_COMPLETION_SECONDS,
        )
    )
    if answer.status == 404 and not (answer.tries > 1 and _is_there(client, ask, len(parts), size)):
        code = error_code(Response(answer.status, answer.headers, answer.body))
        raise StorageError(
            f"{ask.purpose.place} cannot be written, the storage lost the parts of it that it "
            f"had taken ({code or 'status 404'}): try again."
        )


def _is_there(client: Client, ask: Ask, parts: int, size: int) -> bool:
    """Whether a completion whose answer was lost took effect: the same number of parts and bytes."""
    found = client.ask(ask._replace(method="HEAD", query={}, expected=frozenset([404])))
    same_size = found.headers.get("content-length") == str(size)
    return found.status == 200 and same_size and tag_of(found.headers).endswith(f"-{parts}")


def read_at(source: int, start: int, size: int) -> bytes:
    """That part of a file; less only if the file ends before. `pread` may give less at any time."""
    chunks = []
    while size > 0:
        chunk = os.pread(source, size, start)
        if not chunk:
            break
        chunks.append(chunk)
        start, size = start + len(chunk), size - len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _Changed(Exception):
    """Another version of the object was stored between two of our requests."""


def download(client: Client, target: Target, file: int) -> Answer:
    """Write the object into an open, empty file; all parts are of one version of it. Returns the first answer."""
    for _ in range(_CHANGED_TRIES):
        try:
            return _fetch(client, target, file)
        except _Changed:
            os.ftruncate(file, 0)
    raise StorageError(
        f"{target.place} cannot be read, it is being replaced all the time: try again later."
    )


def _fetch(client: Client, target: Target, file: int) -> Answer:
    purpose = Purpose(target.place, "read", "s3:GetObject")
    ask = Ask(purpose, "GET", target.bucket, target.key)
    empty = frozenset([416])
    first = client.ask(ask._replace(headers=_range(0, RANGE_BYTES), expected=empty))
    if first.status == 416:
        return first
    size = len(first.body) if first.status == 200 else _whole_size(first, target.place)
    tag = first.headers.get("etag", "")

    def receive(start: int) -> None:
        want = min(RANGE_BYTES, size - start)
        headers = {**_range(start, want), **({"if-match": tag} if tag else {})}
        answer = client.ask(ask._replace(headers=headers, expected=frozenset([404, 412, 416])))
        if answer.status != 206 or len(answer.body) != want:
            raise _Changed
        _write_at(file, answer.body, start)

    _write_at(file, first.body, 0)
    for _ in _in_order(receive, range(len(first.body), size, RANGE_BYTES), _AT_ONCE):
        pass
    return first


def _range(start: int, size: int) -> dict[str, str]:
    return {"range": f"bytes={start}-{start + size - 1}"}


def _whole_size(answer: Answer, place: str) -> int:
    size = whole_number(answer.headers.get("content-range", "").rpartition("/")[2])
    if size is None:
        raise StorageError(
            f"{place} cannot be read, the storage does not tell its size: use one that does."
        )
    return size


def _write_at(file: int, data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, start)
        view, start = view[written:], start + written


def _in_order(work: Callable[[T], U], items: Iterable[T], at_once: int) -> Iterator[U]:
    """The results in order, `at_once` of them in work; the first failure ends it, after all rest."""
    waiting: deque[Future[U]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        for item in items:
            if len(waiting) == at_once:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
