"""Pages of a listing: of servers that sort by bytes and of those that keep a tree, met by many threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from urllib.parse import parse_qs, urlsplit

import pytest

from sc.codes import each_code, read_codes
from sc.errors import StorageError
from sc.model import Run
from sc.storage.places import resolve
from sc.storage.s3 import S3Storage
from sc.storage.s3_client import Client
from sc.storage.s3_http import Request
from sc.storage.s3_receiver import Response
from tests.fakes.scripted_s3 import (
    REFUSED,
    RESET,
    FakeAccount,
    Script,
    World,
    listing,
    no,
    ok,
    storage,
)

OUT = "s3://bucket/out"
MD5 = {"0": "cfcd208495d565ef66e7dff9f98764da", "7": "8f14e45fceea167a5a36dedd4bea2543"}
TREE = {"server": "SeaweedFS 8000GB 4.48"}


def query(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}


def of_tree(response: Response) -> Response:
    return response._replace(headers={**response.headers, **TREE})


def with_codes(response: Response, code: str) -> Response:
    return response._replace(body=response.body.replace(b"tag", MD5[code].encode()))


def test_threads_that_begin_together_meet_the_server_with_one_request() -> None:
    world = World()
    script = Script(world, of_tree(listing("out/5/x")))
    far = storage(script, world)
    starts = [str(number) for number in range(1, 9)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda start: list(far.list(OUT, start)), starts))
    asked = [query(heard.request) for heard in script.heard]
    assert asked[0]["max-keys"] == "1"
    assert len(asked) == 9
    # After folder `5` a tree's server would leave out the folder itself.
    assert sorted(one["start-after"] for one in asked[1:]) == [f"out/{one}/" for one in starts]


def test_who_waited_in_vain_for_the_meeting_goes_its_own_way() -> None:
    """One after the other they would wait for minutes before an error is told."""
    world = World()
    together = Barrier(7, timeout=60)

    def answer(request: Request) -> Response:
        if query(request)["max-keys"] == "1":
            raise REFUSED
        if query(request)["start-after"].endswith("/"):
            return of_tree(listing("out/9/x"))
        together.wait()
        return of_tree(listing("out/9/x"))

    far = storage(Script(world, answer), world)

    def attempt(start: int) -> int:
        try:
            return len(list(far.list(OUT, str(start))))
        except StorageError:
            return -1

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(attempt, range(8))) == [-1, *[1] * 7]


def test_a_listing_from_the_beginning_needs_no_meeting() -> None:
    world = World()
    script = Script(world, listing("out/a"))
    assert len(list(storage(script, world).list(OUT))) == 1
    assert len(script.heard) == 1


def test_a_balancer_that_refuses_does_not_change_what_the_server_is() -> None:
    """Another thread may be in the middle of a page just then, and would take its order for another."""
    world = World()
    seen: list[str] = []
    refusal = no(503, "SlowDown", headers={"server": "balancer"})

    def look(request: Request) -> Response:
        seen.append(client.server)
        return of_tree(listing("out/a/x"))

    client = Client(
        FakeAccount(), Script(world, of_tree(listing()), refusal, look), world.timekeeping()
    )
    far = S3Storage(lambda place: resolve(place, {}), lambda: client)
    assert [len(list(far.list(OUT))) for _ in range(2)] == [0, 1]
    assert seen == [TREE["server"]]


@pytest.mark.parametrize(
    ("is_tree", "expected"), [(True, ["a/1", "a/2", "a!"]), (False, ["a!", "a/1", "a/2"])]
)
def test_a_page_is_cut_where_the_range_ends(is_tree: bool, expected: list[str]) -> None:
    keys = [*expected, "b/1", "b/2"]
    for end, found in (("b/1", expected), ("b", expected), ("c", keys), ("", keys)):
        world = World()
        page = listing(*(f"out/{key}" for key in keys))
        script = Script(world, of_tree(page) if is_tree else page)
        entries = storage(script, world).list(OUT, "", end)
        assert [entry.place for entry in entries] == [f"{OUT}/{key}" for key in found]


def test_refusals_in_the_middle_are_asked_again() -> None:
    world = World()
    script = Script(
        world,
        with_codes(listing("out/a/status_code", next_token="1"), "0"),
        no(503, "SlowDown"),
        no(409, "OperationAborted"),
        ok(b"<ListBucketResult>"),  # cut off
        RESET,
        with_codes(listing("out/b/stdout", "out/b/status_code", next_token="2"), "7"),
        no(500, "InternalError"),
        listing("out/c/stdout"),
    )
    runs = [Run("true", f"{OUT}/{name}") for name in "abc"]
    codes = read_codes(storage(script, world), OUT, runs)
    assert [code for _, code in each_code(codes, runs)] == [0, 7, None]
    asked = [query(heard.request).get("continuation-token") for heard in script.heard]
    assert asked == [None, *["1"] * 5, *["2"] * 2]
