"""Our signature is the one that botocore makes of the same request at the same second."""

from __future__ import annotations

import calendar
import time
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sc.storage.s3_signing import (
    EMPTY_SHA256,
    Keys,
    encoded_path,
    encoded_query,
    signed_headers,
)

CASES = [
    ("GET", "/bucket/key", {}, {}, b""),
    (
        "PUT",
        "/bucket/a b/c+d%/é😀~'()*!\n",
        {},
        {"content-md5": "abc==", "if-match": '"x"'},
        b"body",
    ),
    (
        "GET",
        "/",
        {"list-type": "2", "prefix": "a/ b+&=?é", "delimiter": "/", "start-after": ""},
        {"range": "bytes=0-9"},
        b"",
    ),
    (
        "POST",
        "/bucket//key//",
        {"uploads": "", "a": "~"},
        {"x-amz-meta-a": "  two   spaces "},
        b"x",
    ),
]


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize(("method", "path", "query", "headers", "body"), CASES)
def test_the_signature_is_botocores(
    method: str,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    token: str | None,
) -> None:
    encoded, text = encoded_path(path), encoded_query(query)
    url = f"https://bucket.example:9000{encoded}" + (f"?{text}" if text else "")
    theirs = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
    theirs.context["payload_signing_enabled"] = True
    S3SigV4Auth(Credentials("AKID", "secret", token), "s3", "eu-west-1").add_auth(theirs)
    then = calendar.timegm(time.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
    ours = signed_headers(
        method,
        urlsplit(url).netloc,
        encoded,
        text,
        headers,
        theirs.headers["X-Amz-Content-SHA256"],
        Keys("AKID", "secret", token),
        "eu-west-1",
        then,
    )
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert (ours["x-amz-content-sha256"] == EMPTY_SHA256) == (not body)
