"""An S3 endpoint that answers what a test has written down, in a world whose time is the test's."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from typing import Callable, NamedTuple, Optional, Union

from sc.storage.places import resolve
from sc.storage.s3 import S3Storage
from sc.storage.s3_account import Endpoint
from sc.storage.s3_client import Client, Timekeeping
from sc.storage.s3_http import Request, Trouble
from sc.storage.s3_receiver import Response
from sc.storage.s3_signing import Keys

START = 1_800_000_000.0
Said = Union[Response, Trouble, Callable[[Request], Response]]


class World:
    """A clock that only moves when somebody waits; `pauses` are all waits, in seconds."""

    def __init__(self, clock_error: float = 0.0) -> None:
        self.now = 0.0
        self.clock_error = clock_error
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def timekeeping(self) -> Timekeeping:
        return Timekeeping(
            wall=lambda: START + self.now + self.clock_error,
            monotonic=lambda: self.now,
            pause=self.pause,
            chance=lambda: 0.5,
        )


class FakeAccount:
    """Credentials that are numbered: each `forget_keys` leads to the next ones."""

    def __init__(self, trouble: Optional[Exception] = None) -> None:
        self.generation = 1
        self.trouble = trouble

    def endpoint(self, bucket: str, region: Optional[str] = None) -> Endpoint:
        region = region or "us-east-1"
        return Endpoint(f"https://{bucket}.s3.{region}.example", "", region)

    def keys(self) -> Keys:
        if self.trouble is not None:
            raise self.trouble
        return Keys(f"key-{self.generation}", "secret")

    def forget_keys(self) -> None:
        self.generation += 1


class Heard(NamedTuple):
    """A request, and how long its asker would have waited."""

    request: Request
    connect_seconds: float
    read_seconds: float


class Script:
    """A transport that says each thing in turn, the last one for ever.

    `costs` are the seconds that a Trouble takes to show itself.
    """

    def __init__(self, world: World, *said: Said, costs: float = 0.0) -> None:
        self._world, self._said, self._costs = world, list(said), costs
        self.heard: list[Heard] = []

    def moved(self) -> int:
        return 0

    def __call__(self, request: Request, connect_seconds: float, read_seconds: float) -> Response:
        self.heard.append(Heard(request, connect_seconds, read_seconds))
        answer = self._said.pop(0) if len(self._said) > 1 else self._said[0]
        if isinstance(answer, Trouble):
            self._world.now += self._costs
            raise answer
        if callable(answer):
            answer = answer(request)
        date = formatdate(START + self._world.now, usegmt=True)
        return answer._replace(headers={"date": date, **answer.headers})

    @property
    def methods(self) -> list[str]:
        return [heard.request.method for heard in self.heard]


def storage(script: Script, world: World, account: Optional[FakeAccount] = None) -> S3Storage:
    """An S3Storage that speaks with the script."""
    account = account or FakeAccount()
    client = Client(account, script, world.timekeeping())
    return S3Storage(lambda place: resolve(place, {}), lambda: client)


def ok(
    body: bytes = b"", headers: Optional[Mapping[str, str]] = None, status: int = 200
) -> Response:
    return Response(
        status, {"etag": '"tag"', "content-length": str(len(body)), **(headers or {})}, body
    )


def no(
    status: int,
    code: str = "",
    message: str = "no",
    headers: Optional[Mapping[str, str]] = None,
    more: str = "",
) -> Response:
    """A refusal; without a code it has no body."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>" if code else ""
    return Response(status, headers or {}, body.encode())


REFUSED = Trouble("connection refused", reached=False)
RESET = Trouble("connection reset by peer", reached=True)
STALL = Trouble("no answer in time", reached=True)


def listing(*keys: str, next_token: str = "") -> Response:
    """A page of objects of one byte."""
    objects = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2027-01-15T08:00:00.000Z</LastModified>"
        f"<ETag>&quot;tag&quot;</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{next_token}"
    more += "</NextContinuationToken>"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="…"><Name>b</Name>'
    head += "<EncodingType>url</EncodingType>"
    body = head + (more if next_token else "<IsTruncated>false</IsTruncated>") + objects
    return ok((body + "</ListBucketResult>").encode())
