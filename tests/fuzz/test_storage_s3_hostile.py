"""Whatever a server says, sc ends with data or with a sentence."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from sc.errors import ScError
from sc.storage.places import resolve
from sc.storage.s3_answers import delete_failures, error_code, page, server_time, whole_number
from sc.storage.s3_receiver import Response
from tests.fakes.scripted_s3 import Script, World, listing, storage

PAGE = listing("x/a", "x/%00b", "x/../c", "x/+%zz", next_token="t&amp;").body
WORDS = st.sampled_from(
    [
        b"<Key>",
        b"</Key>",
        b"<Size>",
        b"9" * 30,
        b"-1",
        b"&#0;",
        b"%",
        b"\xff",
        b"2027",
        b"<Contents>",
    ]
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A page with some pieces replaced."""
    body = PAGE
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        body = body[:start] + draw(st.one_of(WORDS, st.binary(max_size=8))) + body[end:]
    return body


@given(mangled())
@settings(max_examples=500)
def test_a_page_is_read_or_is_none(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        for found in page(body).objects:
            assert isinstance(found.key, str)
            assert isinstance(found.size, int)


@given(st.binary(), st.dictionaries(st.sampled_from(["date", "retry-after"]), st.text()))
def test_any_body_and_header_is_survived(body: bytes, headers: dict[str, str]) -> None:
    response = Response(200, headers, body)
    assert isinstance(error_code(response), str)
    assert isinstance(list(delete_failures(body)), list)
    server_time(headers)


@given(
    st.sampled_from([200, 204, 206, 301, 304, 400, 403, 404, 409, 412, 416, 418, 503]),
    st.dictionaries(
        st.sampled_from(
            ["etag", "content-length", "content-range", "last-modified", "retry-after", "server"]
        ),
        st.text(st.characters(codec="latin-1"), max_size=12),
    ),
    st.one_of(
        mangled(), st.binary(max_size=50), st.just(b"<Error><Code>ExpiredToken</Code></Error>")
    ),
)
def test_every_question_ends(status: int, headers: dict[str, str], body: bytes) -> None:
    world = World()
    s3 = storage(Script(world, Response(status, headers, body)), world)
    for question in (s3.get, s3.stat, s3.check, lambda place: list(s3.list(place))):
        with contextlib.suppress(ScError):
            question("s3://bucket/x/y")
    with contextlib.suppress(ScError):
        s3.create("s3://bucket/x", b"content")
    with contextlib.suppress(ScError):
        s3.replace("s3://bucket/x", b"content", "tag")
    with contextlib.suppress(ScError):
        s3.delete(["s3://bucket/x", "s3://bucket/y"])


@given(st.text())
def test_any_text_is_a_place_or_is_told(text: str) -> None:
    for place in (text, "s3://" + text, "s3://bucket/" + text, "sfs://" + text, "file://" + text):
        with contextlib.suppress(ScError):
            resolve(place, {"SC_SFS_ROOT": "/root"})


def test_strange_digits_are_no_number() -> None:
    assert [whole_number(text) for text in ("12", "²", "٣", "-1", "", "1e3")] == [12] + [None] * 5
