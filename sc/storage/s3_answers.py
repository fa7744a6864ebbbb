"""What an answer of S3 says: bodies and headers into data, and what to do about it. Pure."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from calendar import timegm
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, Optional
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from sc.storage.s3_receiver import Response


class Verdict(Enum):
    """What to do about an answer."""

    ANSWERED = "it is what was asked for, or a plain no to it"
    AGAIN = "trouble that passes: ask again later"
    SLOWER = "ask again later, and everything else more slowly"
    SKEWED = "our clock is wrong: sign with the server's time"
    EXPIRED = "the credentials are no longer good: get new ones"
    MOVED = "the bucket is in another region: ask there"
    MUTE = "a HEAD's refusal has no body: ask in another way why"
    REFUSED = "no"


_SLOWER = frozenset(
    [
        "SlowDown",
        "TooManyRequests",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "RequestThrottled",
        "BandwidthLimitExceeded",
    ]
)
_EXPIRED = frozenset(
    [
        "ExpiredToken",
        "ExpiredTokenException",
        "TokenRefreshRequired",
    ]
)
_MOVED = frozenset(
    [
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "TemporaryRedirect",
    ]
)
_AGAIN = frozenset(
    [
        "RequestTimeout",
        "RequestTimeoutException",
        "InternalError",
        "InternalServerError",
        "IncompleteBody",
        "ConditionalRequestConflict",
        "OperationAborted",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
        "ServiceUnavailable",
        "Busy",
    ]
)
_PASSING = frozenset([408, 409, 500, 502, 503, 504])
_MUTE = frozenset([301, 307, 400, 401, 403])


def verdict(method: str, response: Response, expected: frozenset[int]) -> Verdict:
    """What to do about the answer; `expected` are statuses above 299 that the asker understands."""
    status, code = response.status, error_code(response)
    if status < 300 and not code:
        return Verdict.ANSWERED
    if method == "HEAD" and status in _MUTE:
        return Verdict.MUTE
    by_code = _by_code(code)
    if by_code is not None:
        return by_code
    if status in expected:
        return Verdict.ANSWERED
    if status == 429:
        return Verdict.SLOWER
    if status in _PASSING:
        return Verdict.AGAIN
    return Verdict.MOVED if status in (301, 307) else Verdict.REFUSED


def _by_code(code: str) -> Optional[Verdict]:
    if code in _SLOWER:
        return Verdict.SLOWER
    if code in _AGAIN:
        return Verdict.AGAIN
    if code in _EXPIRED:
        return Verdict.EXPIRED
    if code in _MOVED:
        return Verdict.MOVED
    if code == "NoSuchBucket":  # not the 404 of a missing object, which many expect
        return Verdict.REFUSED
    return Verdict.SKEWED if code == "RequestTimeTooSkewed" else None


_ERROR_BODY = re.compile(rb"\s*(?:<\?xml[^>]*\?>)?\s*<Error[\s>]")


def error_code(response: Response) -> str:
    """The code of an error, also of one that comes with status 200 (CompleteMultipartUpload)."""
    if response.status < 300 and not _ERROR_BODY.match(response.body[:200]):
        return ""
    return element(response.body, "Code")


def element(body: bytes, name: str) -> str:
    """The text of the first element of that name, or an empty text."""
    found = re.search(f"<{name}>([^<]*)</{name}>".encode(), body)
    return _unescaped(found.group(1).decode("utf-8", "replace")) if found else ""


_REFERENCE = re.compile("&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def _unescaped(text: str) -> str:
    """The text of an element. `html.unescape` would make other characters of some, and drop the control characters."""
    return _REFERENCE.sub(_character, text) if "&" in text else text


def _character(found: re.Match[str]) -> str:
    hexadecimal, decimal, name = found.groups()
    if name:
        return _NAMED[name]
    code = int(hexadecimal, 16) if hexadecimal else int(decimal)
    is_one = code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_one else found.group()


def told_region(response: Response) -> Optional[str]:
    """The region that a refusal names as the bucket's own."""
    return response.headers.get("x-amz-bucket-region") or element(response.body, "Region") or None


def server_time(headers: Mapping[str, str]) -> Optional[float]:
    """Unix seconds by the server's clock."""
    return _http_time(headers.get("date", ""))


@lru_cache(maxsize=64)
def _http_time(text: str) -> Optional[float]:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def tag_of(headers: Mapping[str, str]) -> str:
    """The ETag without its quotes."""
    return headers.get("etag", "").strip('"')


_MOST_DIGITS = 18


def whole_number(text: str) -> Optional[int]:
    """A number that a header tells, or None: what a server says may be anything."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_number else None


def modified(headers: Mapping[str, str]) -> Optional[float]:
    return _http_time(headers.get("last-modified", ""))


class Listed(NamedTuple):
    """One object of a page."""

    key: str
    size: int
    tag: str
    modified: float
    """Unix seconds by the server's clock."""


class Page(NamedTuple):
    """A page of a listing."""

    objects: Sequence[Listed]
    folders: Sequence[str]
    """Common prefixes, with the delimiter at their ends."""
    truncated: bool
    """Whether there are more pages."""
    next_token: str
    """What to ask for the next page with."""


_FIELDS = re.compile(rb"<(Key|LastModified|ETag|Size)>([^<]*)<")
_TIME = re.compile(rb"(\d+)-(\d+)-(\d+)[T ](\d+):(\d+):(\d+(?:\.\d*)?)", re.ASCII)
_LISTING = b"<ListBucketResult"
_LISTING_HEAD = 200
"""By so many bytes a listing has said that it is one."""
_PREFIXES = re.compile(rb"<CommonPrefixes>\s*<Prefix>([^<]*)<")


def is_whole_page(body: bytes) -> bool:
    """Whether a listing's body came to its end; a cut one may be cut between two objects.

    What is no listing at all counts as whole: asking again would not make it one.
    """
    head = body[:_LISTING_HEAD].lstrip()
    if head.startswith(b"<?xml"):
        head = head.partition(b"?>")[2].lstrip()
    may_be_one = head.startswith(_LISTING) or (
        (_LISTING + b" ").startswith(head) or b"<?xml".startswith(head)
    )
    return not may_be_one or body.rstrip().endswith(b"</ListBucketResult>")


def page(body: bytes) -> Page:
    """Read a page of ListObjectsV2, asked for with `encoding-type=url`; a server that cannot encode does not say that
    it did, and its keys are as they are.

    Regular expressions take a quarter of a parser's time. They are enough, because the escaped
    text of an element cannot contain `<`, and because each object has these four exactly once.
    Raises ValueError on anything else.
    """
    fields = _FIELDS.findall(body)
    if len(fields) % 4 or b"<ListBucketResult" not in body[:_LISTING_HEAD]:
        raise ValueError("not a page of a listing")
    text = _decoded if element(body, "EncodingType") == "url" else _plain
    objects = tuple(_listed(dict(fields[n : n + 4]), text) for n in range(0, len(fields), 4))
    folders = tuple(text(found) for found in _PREFIXES.findall(body))
    token = element(body, "NextContinuationToken")
    truncated = element(body, "IsTruncated") == "true"
    if truncated and not token:
        raise ValueError("it is cut off and does not tell how to go on")
    return Page(objects, folders, truncated, token)


def _listed(fields: Mapping[bytes, bytes], text: Callable[[bytes], str]) -> Listed:
    try:
        size = whole_number(fields[b"Size"].decode())
        if size is None:
            raise ValueError("the size of an object is no number")
        return Listed(
            text(fields[b"Key"]),
            size,
            fields[b"ETag"].decode().replace("&quot;", "").replace("&#34;", "").strip('"'),
            _iso_time(fields[b"LastModified"]),
        )
    except (KeyError, OverflowError) as error:
        raise ValueError("not a page of a listing") from error


def _plain(element_text: bytes) -> str:
    return _unescaped(element_text.decode())


def _decoded(element_text: bytes) -> str:
    text = _plain(element_text)
    return unquote_plus(text) if "%" in text or "+" in text else text


@lru_cache(maxsize=1024)
def _iso_time(text: bytes) -> float:
    found = _TIME.match(text)
    if found is None:
        raise ValueError("not a time")
    *numbers, seconds = found.groups()
    return timegm((*map(int, numbers), 0, 0, 0, 0)) + float(seconds)


def _has_md5() -> bool:
    try:
        hashlib.md5(b"", usedforsecurity=False)
    except (ValueError, AttributeError):
        return False
    return True


HAS_MD5 = _has_md5()
"""False for a Python without its own MD5, whose OpenSSL has the FIPS provider and no other."""
SHA256_PARTS = {"x-amz-checksum-algorithm": "SHA256"}
"""What CreateMultipartUpload has to say where parts carry that checksum."""


def is_aws(host: str) -> bool:
    """Whether that is S3 itself, and none of the servers that speak its protocol."""
    return host.partition(":")[0].endswith((".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"))


def checksum_headers(body: bytes) -> dict[str, str]:
    """Content-MD5."""
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"content-md5": b64encode(digest).decode()}


def sha256_header(sha256: str) -> dict[str, str]:
    return {"x-amz-checksum-sha256": sha256_text(sha256)}


def sha256_text(sha256: str) -> str:
    """From hexadecimal digits to what S3 writes."""
    return b64encode(bytes.fromhex(sha256)).decode()


NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold in any form, although S3's keys can."""


def delete_body(keys: Sequence[str]) -> bytes:
    """The body of DeleteObjects for at most 1,000 keys."""
    ends = {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
    objects = (f"<Object><Key>{escape(key, ends)}</Key></Object>" for key in keys)
    head = '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>'
    return (head + "".join(objects) + "</Delete>").encode()


def delete_failures(body: bytes) -> Iterator[tuple[str, str, str]]:
    """Key, code and message of each object that DeleteObjects could not remove."""
    for found in re.findall(rb"<Error>(.*?)</Error>", body, re.DOTALL):
        yield element(found, "Key"), element(found, "Code"), element(found, "Message")


def completion_body(parts_: Sequence[tuple[str, str]]) -> bytes:
    """The body of CompleteMultipartUpload, of the parts' ETags in their order, each with its SHA-256 or nothing."""
    parts = (
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(tag)}&quot;</ETag>"
        + (f"<ChecksumSHA256>{sha256}</ChecksumSHA256>" if sha256 else "")
        + "</Part>"
        for number, (tag, sha256) in enumerate(parts_, 1)
    )
    head = '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return (head + "".join(parts) + "</CompleteMultipartUpload>").encode()


def begun_uploads(body: bytes, key: str) -> list[str]:
    """The ids in an answer of ListMultipartUploads that belong to this very key, not to longer ones."""
    found = re.findall(rb"<Upload>(.*?)</Upload>", body, re.DOTALL)
    return [element(one, "UploadId") for one in found if element(one, "Key") == key]
