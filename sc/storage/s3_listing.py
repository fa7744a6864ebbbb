"""Pages of ListObjectsV2 as a stream, from one key to another."""

from __future__ import annotations

from collections.abc import Iterator

from sc.errors import StorageError
from sc.storage.places import escaped_key
from sc.storage.s3_answers import Listed, Page, is_whole_page, page, server_time
from sc.storage.s3_client import Ask, Client
from sc.storage.s3_errors import Purpose

PAGE_SIZE = 1000
"""The most that S3 gives at once."""


def objects(
    client: Client,
    purpose: Purpose,
    bucket: str,
    prefix: str,
    start_after: str = "",
    end_before: str = "",
    page_size: int = PAGE_SIZE,
) -> Iterator[tuple[float, Listed]]:
    """Each object whose key begins with `prefix`, and what the server's clock said when asked.

    The bounds are relative to the prefix, both exclusive. Keys that end with a slash are left
    out: they are how some tools paint folders, and no tool can store them as a file.
    """
    first = prefix + escaped_key(start_after) if start_after else ""
    end = prefix + escaped_key(end_before) if end_before else ""
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(page_size)}
    for now, found in _pages(client, purpose, bucket, {**query, "prefix": prefix}, first):
        for one in found.objects:
            if end and one.key >= end:
                return
            if not one.key.endswith("/"):
                yield now, one
        if end and found.objects and _successor(found.objects[-1].key) >= end:
            return


def folders(client: Client, purpose: Purpose, bucket: str, prefix: str) -> Iterator[str]:
    """The names between `prefix` and the next slash."""
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "delimiter": "/"}
    for _, found in _pages(client, purpose, bucket, query, ""):
        for one in found.folders:
            yield one[len(prefix) : -1]


def _pages(
    client: Client, purpose: Purpose, bucket: str, query: dict[str, str], start_after: str
) -> Iterator[tuple[float, Page]]:
    ask = Ask(purpose, "GET", bucket, "", is_whole=is_whole_page)
    where = {"start-after": start_after} if start_after else {}
    while True:
        answer = client.ask(ask._replace(query={**query, **where}))
        try:
            found = page(answer.body)
        except ValueError as error:
            raise StorageError(
                f"{purpose.place} cannot be listed, the answer is not one of S3 ({error}): "
                "check AWS_ENDPOINT_URL."
            ) from error
        yield server_time(answer.headers) or 0.0, found
        if not found.truncated:
            return
        where = _next(found)


def _next(found: Page) -> dict[str, str]:
    if found.next_token:
        return {"continuation-token": found.next_token}
    last = [one.key for one in found.objects[-1:]] + list(found.folders[-1:])
    return {"start-after": max(last)}


def _successor(key: str) -> str:
    """The least key that may come after this one."""
    return key + "\0"
