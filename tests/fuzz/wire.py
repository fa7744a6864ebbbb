"""What comes over the network: answers of S3, of AWS, of the machine's metadata service."""

from __future__ import annotations

import http.client
import math
import socket
from typing import Optional

from sc.errors import CloudError
from sc.fleets.ec2_instance import InstanceSide
from sc.fleets.ec2_prices import read_price
from sc.storage import s3_answers
from sc.storage.s3_http import Connections, Request, Trouble
from sc.storage.s3_receiver import Response
from tests.fuzz.documents import text_of

_MOST_SENT = 60_000
"""What a socket takes without a reader."""


def listing(data: bytes) -> None:
    """A page of a listing, or ValueError."""
    s3_answers.is_whole_page(data)
    body = b'<?xml version="1.0"?><ListBucketResult>' + data + b"</ListBucketResult>"
    for one in (data, body):
        try:
            found = s3_answers.page(one)
        except ValueError:
            continue
        for listed in found.objects:
            assert math.isfinite(listed.modified)
            assert listed.size >= 0
            listed.key.encode()


def error(data: bytes) -> None:
    """Every answer has a verdict."""
    for status in (200, 301, 400, 403, 404, 503):
        response = Response(status, {"date": text_of(data[:60])}, data)
        for method in ("GET", "HEAD", "PUT"):
            assert s3_answers.verdict(method, response, frozenset([404])) in s3_answers.Verdict
        s3_answers.told_region(response)
    for key, code, message in s3_answers.delete_failures(data):
        assert isinstance(key + code + message, str)


def headers(data: bytes) -> None:
    """What a header says is a number, a time, or nothing."""
    word = data.decode("latin-1")
    found = {"date": word, "last-modified": word, "etag": word}
    for moment in (s3_answers.server_time(found), s3_answers.modified(found)):
        assert moment is None or math.isfinite(moment)
    number = s3_answers.whole_number(word)
    assert number is None or number >= 0
    assert isinstance(s3_answers.tag_of(found), str)


class _Scripted(Connections):
    """A connection on whose other side an answer lies already."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(lambda: "", lambda url: {})
        self._answer = answer

    def _connected(self, url: str, seconds: float) -> http.client.HTTPConnection:
        here, there = socket.socketpair()
        there.sendall(self._answer[:_MOST_SENT])
        there.shutdown(socket.SHUT_WR)
        self._there = there  # open, so that the request is taken
        connection = http.client.HTTPConnection("there")
        connection.sock = here
        return connection


def http_answer(data: bytes) -> None:
    """A whole answer, or Trouble."""
    method = ("GET", "HEAD", "PUT", "POST")[data[0] % 4 if data else 0]
    transport = _Scripted(data[1:])
    try:
        response = transport(Request(method, "http://there", "/x", {}), 1.0, 1.0)
    except Trouble as trouble:
        assert str(trouble)
        return
    finally:
        transport.close()
        transport._there.close()
    assert 100 <= response.status < 1000
    assert all(name == name.lower() for name in response.headers)
    error(response.body)


class _Facts:
    """A metadata service that says the same to every question."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get(self, path: str) -> Optional[str]:
        return self._text


def metadata(data: bytes) -> None:
    """A machine that is none of EC2, or one with an id; and a notice, or none."""
    facts, job = _Facts(text_of(data)), "s3://bucket/out/.sc/job"
    try:
        side = InstanceSide(job, facts)
    except (CloudError, ValueError):
        side = InstanceSide(job, _Facts('{"instanceId": "i-1", "region": "r"}'))
        side._metadata = facts
    assert isinstance(side.id, str)
    notice = side.notice()
    if notice is not None and notice.seconds_left is not None:
        assert math.isfinite(notice.seconds_left)


def price(data: bytes) -> None:
    """Dollars, or nothing."""
    found = read_price(text_of(data))
    assert found is None or 0 <= found < math.inf
