"""What S3's answers mean for who asked: conditions, parts, and refusals as sentences."""

from __future__ import annotations

import os
from pathlib import Path
from xml.sax.saxutils import escape

import botocore.exceptions as boto
import pytest

from sc.errors import MissingError, StorageError
from sc.storage.s3_account import UnusableKeysError
from sc.storage.s3_answers import element
from sc.storage.s3_files import PART_BYTES, RANGE_BYTES, part_bytes
from sc.storage.s3_http import Request
from sc.storage.s3_receiver import Response
from tests.fakes.scripted_s3 import (
    RESET,
    FakeAccount,
    Said,
    Script,
    World,
    listing,
    no,
    ok,
    storage,
)

PLACE = "s3://bucket/a"
LOST = no(412, "PreconditionFailed")


def test_conditions_that_are_kept_are_proved_by_five_requests() -> None:
    world = World()
    script = Script(world, ok(), LOST, LOST, ok(), ok())
    storage(script, world).check_conditions(PLACE)
    assert script.methods == ["PUT", "PUT", "PUT", "PUT", "DELETE"]
    assert len({heard.request.target for heard in script.heard}) == 1
    conditions = [
        (heard.request.headers.get("if-none-match"), heard.request.headers.get("if-match"))
        for heard in script.heard[:4]
    ]
    assert conditions == [("*", None), ("*", None), (None, f'"{"0" * 32}"'), (None, '"tag"')]


@pytest.mark.parametrize(
    ("answers", "header"),
    [
        ([ok(), ok(), ok()], "If-None-Match"),
        ([ok(), LOST, ok(), ok()], "If-Match"),
        ([ok(), LOST, LOST, LOST, ok()], "If-Match"),
    ],
    ids=["makes it again", "replaces whatever is there", "replaces nothing"],
)
def test_a_server_that_ignores_a_condition_is_found_out(answers: list[Said], header: str) -> None:
    world = World()
    script = Script(world, *answers)
    with pytest.raises(StorageError, match=f"does not keep the condition {header}"):
        storage(script, world).check_conditions(PLACE)
    assert script.methods[-1] == "DELETE"


def test_a_condition_that_a_lost_answer_seems_to_break_is_kept() -> None:
    """The first object was made, and its answer lost; the same happens when it is replaced."""
    world = World()
    script = Script(world, RESET, LOST, ok(b"1"), LOST, LOST, RESET, LOST, ok(b"4"), ok())
    storage(script, world).check_conditions(PLACE)


@pytest.mark.parametrize("refusal", [no(501, "NotImplemented"), no(400, "NotImplemented")])
def test_a_server_without_conditions_is_told(refusal: Response) -> None:
    world = World()
    with pytest.raises(StorageError, match=r"does not implement .*if-none-match"):
        storage(Script(world, refusal, ok()), world).check_conditions(PLACE)


def test_who_comes_second_has_lost_without_another_look() -> None:
    world = World()
    script = Script(world, LOST)
    assert storage(script, world).create(PLACE, b"me") is None
    assert script.methods == ["PUT"]


@pytest.mark.parametrize(
    ("content", "expected"), [(b"me", "tag"), (b"somebody else", None)], ids=["mine", "theirs"]
)
def test_a_lost_answer_is_made_up_for_by_a_look(content: bytes, expected: str | None) -> None:
    """The first try took effect, its answer was lost, and the second one meets its own object."""
    world = World()
    script = Script(world, RESET, LOST, ok(content))
    assert storage(script, world).create(PLACE, b"me") == expected
    assert script.methods == ["PUT", "PUT", "GET"]
    world = World()
    script = Script(world, no(500, "InternalError"), LOST, ok(content))
    assert storage(script, world).replace(PLACE, b"me", "old") == expected
    assert script.heard[0].request.headers["if-match"] == '"old"'


def test_a_replaced_object_that_is_gone_is_no_error() -> None:
    world = World()
    assert storage(Script(world, no(404, "NoSuchKey")), world).replace(PLACE, b"", "old") is None
    with pytest.raises(StorageError, match="no bucket bucket"):
        storage(Script(world, no(404, "NoSuchBucket")), world).replace(PLACE, b"", "old")


def test_a_missing_object_in_a_missing_bucket_is_told() -> None:
    world = World()
    script = Script(world, no(404), no(404, "NoSuchBucket"))
    with pytest.raises(StorageError, match="there is no bucket bucket: make it"):
        storage(script, world).stat(PLACE)
    assert script.methods == ["HEAD", "GET"]


def test_a_missing_object_in_a_known_bucket_costs_one_request() -> None:
    world = World()
    script = Script(world, ok(), no(404))
    s3 = storage(script, world)
    s3.put(PLACE, b"")
    assert s3.stat(PLACE) is None
    assert script.methods == ["PUT", "HEAD"]


def test_a_head_that_is_forbidden_says_why() -> None:
    world = World()
    script = Script(world, no(403), no(403, "AccessDenied"))
    with pytest.raises(StorageError, match="may not be read: these credentials lack s3:GetObject"):
        storage(script, world).stat(PLACE)


def test_a_server_without_ranges_is_no_trouble() -> None:
    world = World()
    s3 = storage(Script(world, ok(b"0123456789")), world)
    assert [s3.get(PLACE, start) for start in (3, -3, -99, 99)] == [
        b"3456789",
        b"789",
        b"0123456789",
        b"",
    ]


def test_parts_are_few_enough_and_whole_mebibytes() -> None:
    mib = 1 << 20
    for size in (1, 17 * mib, 160 << 30, (160 << 30) + 1, 5 << 40):
        step = part_bytes(size)
        assert step % mib == 0
        assert step >= 16 * mib
        assert -(-size // step) <= 10_000
    assert part_bytes(5 << 40) == 525 * mib


class Parts:
    """Takes a multipart upload; answers its completion as told."""

    def __init__(self, *completions: Said) -> None:
        self._completions = list(completions)
        self.begun = b""
        """What ListMultipartUploads says."""
        self.parts: dict[str, bytes] = {}
        self.seen: list[str] = []

    def __call__(self, request: Request) -> Response:
        self.seen.append(f"{request.method} {request.target.replace('&uploadId=7', '')}")
        if request.method == "PUT":
            number = request.target.partition("partNumber=")[2].partition("&")[0]
            self.parts[number] = bytes(request.body)
            return ok(headers={"etag": f'"etag-{number}"'})
        if request.method == "POST" and request.target == "/a?uploads=":
            return ok(b"<InitiateMultipartUploadResult><UploadId>7</UploadId>")
        if request.method == "POST":
            said = self._completions.pop(0)
            if isinstance(said, Exception):
                raise said
            assert isinstance(said, Response)
            return said
        if request.method == "HEAD":
            size = str(sum(map(len, self.parts.values())))
            return ok(headers={"etag": f'"x-{len(self.parts)}"', "content-length": size})
        return ok(self.begun) if request.method == "GET" else ok(status=204)


LOOK = "GET /?prefix=a&uploads="
"""For uploads that nobody will complete, after each one that is complete."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Two parts, the first of them a hole."""
    return made(tmp_path / "large", PART_BYTES)


def made(path: Path, hole: int) -> Path:
    with path.open("wb") as file:
        file.seek(hole)
        file.write(b"end")
    return path


def put_large(parts: Parts, large: Path) -> None:
    world = World()
    storage(Script(world, parts), world).put_file(PLACE, str(large))


def test_a_large_file_goes_in_parts(tmp_path: Path) -> None:
    large = made(tmp_path / "large", 2 * PART_BYTES)
    parts = Parts(ok(b"<CompleteMultipartUploadResult/>"))
    put_large(parts, large)
    assert sorted(parts.parts) == ["1", "2", "3"]
    assert b"".join(parts.parts[number] for number in "123") == large.read_bytes()
    assert parts.seen[-2:] == ["POST /a?uploadId=7", LOOK]


def test_an_error_in_a_good_answer_is_tried_again(large: Path) -> None:
    """CompleteMultipartUpload says 200 before it knows, and its error comes in the body."""
    late = Response(200, {}, b'<?xml version="1.0"?>\n<Error><Code>InternalError</Code></Error>')
    parts = Parts(late, ok(b"<CompleteMultipartUploadResult/>"))
    put_large(parts, large)
    assert parts.seen[-3:] == ["POST /a?uploadId=7"] * 2 + [LOOK]


def test_a_completion_whose_answer_was_lost_is_found_out(large: Path) -> None:
    parts = Parts(RESET, no(404, "NoSuchUpload"))
    put_large(parts, large)
    assert parts.seen[-2:] == ["HEAD /a", LOOK]


def test_what_an_earlier_try_has_begun_is_ended(large: Path) -> None:
    """A beginning whose answer was lost, a machine that died: their parts would cost money for ever."""
    parts = Parts(ok(b"<CompleteMultipartUploadResult/>"))
    uploads = (("a", "5"), ("a/b", "6"), ("a&amp;b", "8"), ("a", "9"))
    parts.begun = b"<ListMultipartUploadsResult>" + b"".join(
        f"<Upload><Key>{key}</Key><UploadId>{name}</UploadId></Upload>".encode()
        for key, name in uploads
    )
    put_large(parts, large)
    assert parts.seen[-3:] == [LOOK, "DELETE /a?uploadId=5", "DELETE /a?uploadId=9"]


def test_who_may_not_look_for_them_has_stored_its_file(large: Path) -> None:
    class Closed(Parts):
        def __call__(self, request: Request) -> Response:
            answer = super().__call__(request)
            return no(403, "AccessDenied") if request.method == "GET" else answer

    parts = Closed(ok(b"<CompleteMultipartUploadResult/>"))
    put_large(parts, large)
    assert parts.seen[-1] == LOOK


def test_an_upload_that_fails_leaves_no_parts_behind(large: Path) -> None:
    parts = Parts(no(403, "AccessDenied"))
    with pytest.raises(StorageError, match="lack s3:PutObject"):
        put_large(parts, large)
    assert parts.seen[-1] == "DELETE /a?uploadId=7"
    parts = Parts(no(404, "NoSuchUpload"))
    with pytest.raises(StorageError, match="lost the parts"):
        put_large(parts, large)
    assert parts.seen[-1] == "DELETE /a?uploadId=7"


def test_a_file_that_becomes_shorter_is_told(large: Path) -> None:
    class Shortening(Parts):
        def __call__(self, request: Request) -> Response:
            if request.target == "/a?uploads=":
                os.truncate(large, 5)
            return super().__call__(request)

    parts = Shortening()
    with pytest.raises(StorageError, match="became shorter meanwhile"):
        put_large(parts, large)
    assert parts.seen[-1] == "DELETE /a?uploadId=7"


class Versions:
    """An object that is replaced after the first range was read, so many times."""

    def __init__(self, size: int, changes: int) -> None:
        self._size, self._changes, self._version = size, changes, 0

    def __call__(self, request: Request) -> Response:
        first, last = map(int, request.headers["range"][6:].split("-"))
        tag = f'"v{self._version}"'
        if first == 0 and self._version < self._changes:
            self._version += 1
        elif request.headers.get("if-match", tag) != tag:
            return no(412, "PreconditionFailed")
        data = bytes([65 + int(tag[2:-1])]) * (min(last + 1, self._size) - first)
        total = {"content-range": f"bytes {first}-{last}/{self._size}", "etag": tag}
        return ok(data, total, 206)


def test_a_file_is_of_one_version(tmp_path: Path) -> None:
    world, size = World(), 3 * RANGE_BYTES + 5
    s3 = storage(Script(world, Versions(size, 2)), world)
    s3.get_file(PLACE, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"C" * size


def test_a_file_that_never_stays_the_same_is_told(tmp_path: Path) -> None:
    world = World()
    s3 = storage(Script(world, Versions(2 * RANGE_BYTES, 99)), world)
    with pytest.raises(StorageError, match="being replaced all the time"):
        s3.get_file(PLACE, str(tmp_path / "copy"))
    assert list(tmp_path.iterdir()) == []


def test_one_object_that_cannot_be_removed_is_told() -> None:
    world = World()
    body = (
        b"<DeleteResult><Error><Key>gone</Key><Code>NoSuchKey</Code></Error>"
        b"<Error><Key>busy &amp; slow</Key><Code>InternalError</Code></Error>"
        b"<Error><Key>mine</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    )
    script = Script(world, ok(body), ok(status=204))
    with pytest.raises(StorageError, match=r"s3://bucket/mine may not be removed.*DeleteObject"):
        storage(script, world).delete(
            f"s3://bucket/{key}" for key in ["gone", "busy & slow", "mine"]
        )
    assert [heard.request.target for heard in script.heard] == ["/?delete=", "/busy%20%26%20slow"]


def test_removing_goes_a_thousand_at_a_time_and_one_alone() -> None:
    world = World()
    script = Script(world, ok(b"<DeleteResult/>"))
    storage(script, world).delete(f"s3://bucket/{n}" for n in range(2001))
    assert script.methods == ["POST", "POST", "DELETE"]
    assert [heard.request.body.count(b"<Key>") for heard in script.heard] == [1000, 1000, 0]
    assert all("content-md5" in heard.request.headers for heard in script.heard[:2])


SENTENCES = [
    (no(404, "NoSuchBucket"), "there is no bucket bucket: make it, or correct the name"),
    (no(403, "AccessDenied"), "may not be written: these credentials lack s3:PutObject"),
    (no(404), "its endpoint knows no such bucket, or is no S3: .*AWS_ENDPOINT_URL"),
    (no(403), "may not be written: these credentials lack s3:PutObject"),
    (no(403, "InvalidAccessKeyId"), "access key is not known there: check AWS_ACCESS_KEY_ID"),
    (no(403, "SignatureDoesNotMatch"), "check AWS_SECRET_ACCESS_KEY"),
    (no(400, "InvalidToken"), "session token is not valid"),
    (no(400, "KeyTooLongError"), "choose a shorter one"),
    (no(400, "EntityTooLarge"), "larger than that storage allows"),
    (no(507, "XMinioStorageFull"), "quota of the bucket bucket is used up"),
    (no(418, "Teapot", "short and stout."), r"refused s3:PutObject \(Teapot: short and stout\)"),
    (no(418), r"refused s3:PutObject \(status 418\)"),
    (no(418, "Brace", "{place} {0}"), "{place} {0}"),
]


@pytest.mark.parametrize(("answer", "sentence"), SENTENCES, ids=str)
def test_refusals_are_sentences(answer: Response, sentence: str) -> None:
    world = World()
    script = Script(world, answer)
    with pytest.raises(StorageError, match=sentence) as caught:
        storage(script, world).put(PLACE, b"")
    assert str(caught.value).startswith("s3://bucket/a ")
    assert len(script.heard) == 1


NATURES = [
    (no(403, "AccessDenied"), True),
    (no(400, "KeyTooLongError"), True),
    (no(400, "EntityTooLarge"), True),
    (no(400, "XMinioInvalidObjectName"), True),
    (no(405, "MethodNotAllowed"), True),
    (no(501), True),
    (no(414), True),
    (no(403), False),
    (no(404), False),
    (no(404, "NoSuchBucket"), False),
    (no(403, "InvalidAccessKeyId"), False),
    (no(403, "SignatureDoesNotMatch"), False),
    (no(403, "AccountProblem"), False),
    (no(400, "InvalidToken"), False),
    (no(400, "ExpiredToken"), False),
    (no(507, "XMinioStorageFull"), False),
]


@pytest.mark.parametrize(("answer", "is_final"), NATURES, ids=str)
def test_refusals_tell_whether_they_may_pass(answer: Response, is_final: bool) -> None:
    with pytest.raises(StorageError) as caught:
        storage(Script(World(), *[answer] * 2), World()).put(PLACE, b"")
    assert caught.value.is_final == is_final


def test_a_key_that_is_too_long_is_not_told_to_its_end() -> None:
    with pytest.raises(
        StorageError, match=r"s3://bucket/a/k*… cannot be written, the key is longer"
    ):
        storage(Script(World(), no(400, "KeyTooLongError")), World()).put(
            f"{PLACE}/{'k' * 1100}", b""
        )


def test_a_web_page_in_answer_to_a_removal_is_told() -> None:
    script = Script(World(), ok(b"<html>Welcome</html>"))
    with pytest.raises(StorageError, match="cannot be removed, the answer is not one of S3"):
        storage(script, World()).delete([PLACE, "s3://bucket/b"])


def test_keys_that_xml_may_change_are_removed_alone() -> None:
    script = Script(World(), ok(status=204), ok(status=204), ok(b"<DeleteResult/>"))
    storage(script, World()).delete(f"s3://bucket/{key}" for key in ("a", "b ", "c\x01", "d"))
    assert script.methods == ["DELETE", "DELETE", "POST"]


ACCOUNTS = [
    (UnusableKeysError("character 5 of the access key is '\\n'"), "correct AWS_ACCESS_KEY_ID"),
    (boto.NoCredentialsError(), "there are no AWS credentials: run `aws configure`"),
    (
        boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        "not complete .*set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (boto.ProfileNotFound(profile="nope"), r"the config profile \(nope\) .*AWS_PROFILE"),
    (boto.UnauthorizedSSOTokenError(), "login has ended .*aws sso login"),
    (boto.SSOTokenLoadError(error_msg="x"), "login has ended .*aws sso login"),
    (boto.InvalidRegionError(region_name="no where"), "no where.*set AWS_DEFAULT_REGION"),
    (boto.ConfigParseError(path="/x"), "/x.*repair that file"),
    (ValueError("Invalid endpoint: minio"), "Invalid endpoint: minio: correct AWS_ENDPOINT_URL"),
    (
        boto.CredentialRetrievalError(provider="custom-process", error_msg="it failed"),
        "credentials cannot be had .*custom-process.*it failed",
    ),
]


@pytest.mark.parametrize(("trouble", "sentence"), ACCOUNTS, ids=lambda value: type(value).__name__)
def test_account_troubles_are_sentences(trouble: Exception, sentence: str) -> None:
    world = World()
    with pytest.raises(StorageError, match=sentence) as caught:
        storage(Script(world, ok()), world, FakeAccount(trouble)).put(PLACE, b"")
    assert "\n" not in str(caught.value)


def test_a_metadata_service_that_stumbles_in_the_middle_of_work_is_waited_out() -> None:
    world, account = World(), FakeAccount()
    s3 = storage(Script(world, ok()), world, account)
    s3.put(PLACE, b"")
    account.trouble = boto.NoCredentialsError()
    with pytest.raises(StorageError, match="gave no answer in 6"):
        s3.put(PLACE, b"")


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html><body>" + b"hello " * 100 + b"</body></html>",
        b"<html><h1>It works!</h1></html>",
        b'{"ok": true}',
        b"Not Found",
        b'<?xml version="1.0"?><ListAllMyBucketsResult></ListAllMyBucketsResult>',
    ],
    ids=lambda body: body[:20],
)
def test_what_is_no_listing_is_told_at_once(body: bytes) -> None:
    world = World()
    script = Script(world, ok(body))
    with pytest.raises(StorageError, match=r"is not one of S3.*AWS_ENDPOINT_URL"):
        list(storage(script, world).list("s3://bucket/x"))
    assert len(script.heard) == 1


@pytest.mark.parametrize("size", [1, 3, 6, 30, 45, 60, 100, 250])
def test_listing_that_was_cut_is_asked_for_again(size: int) -> None:
    world = World()
    whole = listing("x/a", "x/b")
    script = Script(world, ok(whole.body[:size]), whole)
    assert len(list(storage(script, world).list("s3://bucket/x"))) == 2


def test_a_listing_leaves_out_painted_folders_and_decodes_names() -> None:
    world = World()
    script = Script(
        world,
        listing("x/", "x/a%20b", "x/a+b", "x/c%2Bd", "x/e&amp;f", next_token="one &amp; two"),
        listing("x/g/", "x/%F0%9F%98%80"),
    )
    places = [entry.place for entry in storage(script, world).list("s3://bucket/x")]
    assert places == [f"s3://bucket/x/{name}" for name in ("a b", "a b", "c+d", "e&f", "😀")]
    assert "continuation-token=one%20%26%20two" in script.heard[1].request.target


@pytest.mark.parametrize(
    "key", ["a b/k=1+x%41", "a%20b", "two\nlines", "cr\r", "\x01", "&amp;", "é"]
)
def test_a_listing_that_was_not_encoded_is_not_decoded(key: str) -> None:
    """s3rver has not heard of encoding-type, and so does not say that it did as it was asked."""
    written = listing(f"x/{escape(key)}")
    plain = written._replace(body=written.body.replace(b"<EncodingType>url</EncodingType>", b""))
    (entry,) = storage(Script(World(), plain), World()).list("s3://bucket/x")
    assert entry.place == f"s3://bucket/x/{key}"


def test_characters_that_are_written_as_numbers_are_read() -> None:
    text = "&#x27;&#39;&#x1;&#128;&quot;&apos;&#xD;&#xD800;&copy;"
    assert element(f"<Key>{text}</Key>".encode(), "Key") == "''\x01\x80\"'\r&#xD800;&copy;"


def test_the_same_page_again_and_again_is_told() -> None:
    """Of s3rver, where the last key of a page has a newline in it. Its tokens differ all the same."""
    pages = [listing("x/a", "x/b", next_token=f"token {number}") for number in range(2)]
    with pytest.raises(StorageError, match="the same page again"):
        list(storage(Script(World(), *pages), World()).list("s3://bucket/x"))


def test_a_check_asks_for_one_key_only() -> None:
    world = World()
    script = Script(world, listing())
    storage(script, world).check("s3://bucket/x")
    (heard,) = script.heard
    assert heard.request.method == "GET"
    assert "max-keys=1&prefix=x%2F" in heard.request.target


def test_a_missing_object_is_missing() -> None:
    world = World()
    with pytest.raises(MissingError, match="There is nothing at s3://bucket/a"):
        storage(Script(world, no(404, "NoSuchKey")), world).get(PLACE)
