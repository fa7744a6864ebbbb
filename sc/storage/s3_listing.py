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
_BY_TREE = "SeaweedFS"
"""How servers call themselves that list folder by folder, `a/b` before `a!`, not byte by byte."""


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
    start = prefix + escaped_key(start_after) if start_after else ""
    end = prefix + escaped_key(end_before) if end_before else ""
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(page_size)}
    for now, found in _pages(client, purpose, bucket, {**query, "prefix": prefix}, start):
        by_tree = client.server.startswith(_BY_TREE)
        is_inside = not (end and found.objects) or _comes_before(
            found.objects[-1].key, end, by_tree
        )
        for one in found.objects:
            if not is_inside and not _comes_before(one.key, end, by_tree):
                return
            if not one.key.endswith("/") and one.key != start:
                yield now, one


def _comes_before(one: str, other: str, by_tree: bool) -> bool:
    """In the server's own order, so that ranges with common bounds have every object once."""
    return one.split("/") < other.split("/") if by_tree else one < other


def folders(client: Client, purpose: Purpose, bucket: str, prefix: str) -> Iterator[str]:
    """The names between `prefix` and the next slash."""
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "delimiter": "/"}
    for _, found in _pages(client, purpose, bucket, query, ""):
        for one in found.folders:
            yield one[len(prefix) : -1]


def _pages(
    client: Client, purpose: Purpose, bucket: str, query: dict[str, str], start: str
) -> Iterator[tuple[float, Page]]:
    ask = Ask(purpose, "GET", bucket, "", is_whole=is_whole_page)
    if start and not start.endswith("/"):  # else it is the same text for every server
        client.meet(ask._replace(query={**query, "max-keys": "1"}))
    where, last = _first(start, client.server), ""
    while True:
        answer = client.ask(ask._replace(query={**query, **where}))
        if "start-after" in where and where != _first(start, client.server):
            where = _first(start, client.server)  # only its first answer told what it is
            continue
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
        is_again = bool(found.objects) and found.objects[-1].key == last
        if is_again or where.get("continuation-token") == found.next_token:
            raise StorageError(
                f"{purpose.place} cannot be listed, the storage gives the same page again and "
                "again: look that up in the storage's documentation."
            )
        where = {"continuation-token": found.next_token}
        last = found.objects[-1].key if found.objects else ""


def _first(start: str, server: str) -> dict[str, str]:
    """Where the first page begins. A tree's server leaves out folder `a` itself after `a`."""
    if not start:
        return {}
    in_folder = server.startswith(_BY_TREE) and not start.endswith("/")
    return {"start-after": start + "/" if in_folder else start}
