"""Removing many objects with few requests."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping

from sc.errors import StorageError
from sc.storage import s3_errors
from sc.storage.s3_answers import (
    NOT_IN_XML,
    checksum_headers,
    delete_body,
    delete_failures,
    sha256_header,
)
from sc.storage.s3_client import Ask, Client
from sc.storage.s3_errors import Purpose
from sc.storage.s3_files import Target

MOST_KEYS = 1000
"""What DeleteObjects takes at once."""
_ACTION = "s3:DeleteObject"
_GONE = frozenset([404])


def delete_keys(client: Client, bucket: str, targets: Iterable[Target]) -> None:
    """Remove them all. What was not there is no error."""
    targets = iter(targets)
    while some := list(itertools.islice(targets, MOST_KEYS)):
        alone = [target for target in some if len(some) == 1 or _may_change_in_xml(target.key)]
        for target in alone:
            _delete_one(client, target)
        left = {target.key: target.place for target in some if target not in alone}
        if left:
            _delete_many(client, bucket, left)


def _may_change_in_xml(key: str) -> bool:
    """Also some servers' parsers leave out the white space at the ends of a text."""
    return bool(NOT_IN_XML.search(key)) or key != key.strip()


def _delete_one(client: Client, target: Target) -> None:
    purpose = Purpose(target.place, "removed", _ACTION)
    client.ask(Ask(purpose, "DELETE", target.bucket, target.key, expected=_GONE))


def _delete_many(client: Client, bucket: str, places: Mapping[str, str]) -> None:
    body = delete_body(list(places))
    purpose = Purpose(next(iter(places.values())), "removed", _ACTION)
    sha256 = hashlib.sha256(body).hexdigest()
    checksum = checksum_headers(body) if client.has_md5 else sha256_header(sha256)
    headers = {
        **checksum,
        "content-type": "application/xml",
    }  # this request demands a checksum everywhere
    answer = client.ask(Ask(purpose, "POST", bucket, "", {"delete": ""}, headers, body))
    if answer.body.strip() and b"DeleteResult" not in answer.body:
        raise StorageError(
            f"{purpose.place} cannot be removed, the answer is not one of S3: check AWS_ENDPOINT_URL."
        )
    for key, code, message in delete_failures(answer.body):
        if code in ("NoSuchKey", "NoSuchVersion"):
            continue
        purpose = Purpose(places.get(key, purpose.place), "removed", _ACTION)
        if code in ("AccessDenied", "MethodNotAllowed", "NotImplemented"):
            raise s3_errors.refusal(purpose, bucket, 403, code, message)
        # InternalError or SlowDown of one key: alone it is tried again with all patience
        _delete_one(client, Target(purpose.place, bucket, key))
