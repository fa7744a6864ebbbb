"""Asks S3, and keeps asking until there is an answer, or no more point in it.

ask ─▶ pace ─▶ sign (keys, region, server's time) ─▶ transport ─▶ verdict ─┬─▶ the answer
 ▲                                                                         ├─▶ a sentence
 └──── pause ◀── slower / new keys / other region / corrected clock ◀──────┘
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from threading import Lock
from typing import Callable, NamedTuple, Optional

from sc.errors import StorageError
from sc.s3_settings import NO_SETTINGS, Settings
from sc.storage import s3_errors
from sc.storage.s3_account import Account, Endpoint
from sc.storage.s3_answers import (
    HAS_MD5,
    SHA256_PARTS,
    Verdict,
    checksum_headers,
    element,
    error_code,
    is_aws,
    server_time,
    sha256_header,
    told_region,
    verdict,
)
from sc.storage.s3_errors import Purpose
from sc.storage.s3_http import Request, Transport, Trouble
from sc.storage.s3_patience import (
    CONNECT_SECONDS,
    FIRST_READ_SECONDS,
    READ_SECONDS,
    Pace,
    limit,
    pause_seconds,
)
from sc.storage.s3_receiver import Response
from sc.storage.s3_signing import EMPTY_SHA256, encoded_path, encoded_query, signed_headers

_MOVES = 3
_PASSING_ACCOUNT_TROUBLE = frozenset(
    [
        "CredentialRetrievalError",
        "MetadataRetrievalError",
        "NoCredentialsError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "EndpointConnectionError",
        "ConnectionClosedError",
        *("SSOTokenLoadError", "UnauthorizedSSOTokenError", "TokenRetrievalError"),
        s3_errors.CODE_ERROR,
    ]
)
"""In the middle of work: an instance's metadata service that does not answer for a moment, or somebody who has to log
in again, or to type a code."""
_NOTHING: Mapping[str, str] = {}
USER_AGENT = "sc"


class Ask(NamedTuple):
    """One request, as often as it has to be sent."""

    purpose: Purpose
    method: str
    bucket: str
    key: str
    query: Mapping[str, str] = _NOTHING
    headers: Mapping[str, str] = _NOTHING
    body: bytes = b""
    expected: frozenset[int] = frozenset()
    """Statuses above 299 that the asker understands."""
    is_whole: Optional[Callable[[bytes], bool]] = None
    """Whether the body of a good answer is complete, where the body tells."""
    read_seconds: float = READ_SECONDS
    sha256: str = ""
    """Of the body, in hexadecimal digits, where the asker knows it."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    tries: int
    """1: the first one. More: an earlier one may have taken effect without our hearing of it."""


class Timekeeping(NamedTuple):
    """The outside world of a client."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


REAL_TIME = Timekeeping()


class _Tries:
    """What became of one Ask so far."""

    def __init__(self, begun: float) -> None:
        self.begun, self.count = begun, 0
        self.moves = self.corrections = 0
        self.renewed = self.probed = False


class Client:
    """Thread-safe."""

    def __init__(
        self,
        account: Account,
        transport: Transport,
        timekeeping: Timekeeping = REAL_TIME,
        settings: Callable[[], Settings] = lambda: NO_SETTINGS,
        has_md5: bool = HAS_MD5,
    ) -> None:
        self._account, self._transport, self._time = account, transport, timekeeping
        self._settings = settings
        self.has_md5 = has_md5
        self._pace = Pace(timekeeping.monotonic)
        self._lock, self._meeting = Lock(), Lock()
        self._endpoints: dict[str, Endpoint] = {}
        self._skew_seconds = 0.0
        self._met = self._has_been_met = False
        self._answered = 0
        self._buckets_met: set[str] = set()
        self.server = ""
        """What the server calls itself; empty until it has given a good answer."""

    def knows(self, bucket: str) -> bool:
        """Whether this bucket has given a good answer already."""
        return bucket in self._buckets_met

    def moved(self) -> int:
        """A number that changes with each good answer, and while bodies move."""
        return self._answered + self._transport.moved()

    def meet(self, ask: Ask) -> None:
        """Have the server tell what it is: one thread asks, and those that would ask meanwhile wait for it.

        If it gets no answer they go their own way, since each after the other would wait for long.
        """
        with self._meeting:
            if not self._has_been_met:
                self._has_been_met = True
                self.ask(ask)

    def ask(self, ask: Ask) -> Answer:
        """The answer: good, or one of the expected statuses. Raises StorageError for any other."""
        tries = _Tries(self._time.monotonic())
        while True:
            tries.count += 1
            self._keep_pace()
            try:
                response = self._send(ask)
            except Trouble as trouble:
                self._after_trouble(ask, tries, trouble)
                continue
            self._met = True
            if self._after(ask, tries, response):
                self._answered += 1
                if response.status < 300:  # what refuses may be a balancer in front of it
                    self.server = response.headers.get("server", self.server)
                    self._has_been_met = True
                    self._buckets_met.add(ask.bucket)
                return Answer(response.status, response.headers, response.body, tries.count)

    def _keep_pace(self) -> None:
        with self._lock:
            seconds = self._pace.wait_seconds()
        if seconds > 0:
            self._time.pause(seconds)

    def _send(self, ask: Ask) -> Response:
        try:
            endpoint = self._endpoint(ask.bucket)
            keys = self._account.keys()
        except MemoryError:
            raise
        except Exception as error:  # botocore's errors have no common root
            if self._met and type(error).__name__ in _PASSING_ACCOUNT_TROUBLE:
                raise Trouble(str(error), reached=False) from error
            raise s3_errors.account_trouble(ask.purpose, error) from error
        path = encoded_path(f"{endpoint.path}/{ask.key}")
        query = encoded_query(ask.query)
        digest = ask.sha256 or (hashlib.sha256(ask.body).hexdigest() if ask.body else EMPTY_SHA256)
        headers = signed_headers(
            ask.method,
            endpoint.host,
            path,
            query,
            {**ask.headers, **self._demanded(ask, digest)},
            digest,
            keys,
            endpoint.region,
            self._time.wall() + self._skew_seconds,
        )
        headers["user-agent"] = USER_AGENT
        target = f"{path}?{query}" if query else path
        return self._transport(
            Request(ask.method, endpoint.url, target, headers, ask.body),
            CONNECT_SECONDS,
            ask.read_seconds if self._met else FIRST_READ_SECONDS,
        )

    def sends_md5(self, bucket: str) -> bool:
        """Whether what is stored there has Content-MD5 for its checksum: what Object Lock takes for objects and parts,
        and what every server knows. R2 and B2 have refused `x-amz-checksum-…`.

        To AWS itself goes the SHA-256 that is signed anyway, as a header of its own: MD5 takes 1.5 s per GB, more than
        all the rest. Never behind the body, which Object Lock refuses (Altinity/clickhouse-backup#1363).
        """
        endpoint = self._endpoints.get(bucket)
        return self.has_md5 and not (endpoint is not None and is_aws(endpoint.host))

    def _demanded(self, ask: Ask, sha256: str) -> dict[str, str]:
        """What a bucket may demand beside the signature: who pays, a checksum, encryption."""
        settings = self._settings()
        headers = settings.of_all()
        is_new = ask.method == "PUT" and "partNumber" not in ask.query
        if ask.method == "PUT":
            md5 = self.sends_md5(ask.bucket)
            headers.update(checksum_headers(ask.body) if md5 else sha256_header(sha256))
        elif ask.method == "POST" and "uploads" in ask.query:
            is_new = True
            headers.update({} if self.sends_md5(ask.bucket) else SHA256_PARTS)
        if is_new:
            headers.update(settings.of_new_objects())
        return headers

    def _endpoint(self, bucket: str) -> Endpoint:
        endpoint = self._endpoints.get(bucket)
        if endpoint is None:
            endpoint = self._endpoints[bucket] = self._account.endpoint(bucket)
        return endpoint

    def _after_trouble(self, ask: Ask, tries: _Tries, trouble: Trouble) -> None:
        """Pause before the next try, or raise."""
        url = self._endpoint(ask.bucket).url
        if trouble.distrusted:
            raise s3_errors.distrusted(ask.purpose, url, trouble.reason) from trouble
        spent = self._time.monotonic() - tries.begun
        if limit(self._met, trouble.reached).is_over(spent, tries.count):
            error = s3_errors.no_answer(ask.purpose, url, trouble.reason, spent, self._met)
            raise error from trouble
        self._time.pause(pause_seconds(tries.count, self._time.chance()))

    def _after(self, ask: Ask, tries: _Tries, response: Response) -> bool:
        """Whether this is the answer. If not, do what the next try needs, or raise."""
        what = verdict(ask.method, response, ask.expected)
        if what is Verdict.ANSWERED:
            with self._lock:
                self._pace.answered()
            cut = ask.is_whole is not None and not ask.is_whole(response.body)
            if not cut or response.status >= 300:
                return True
            what = Verdict.AGAIN
        if what in (Verdict.AGAIN, Verdict.SLOWER):
            self._wait(ask, tries, response, slower=what is Verdict.SLOWER)
        elif not self._mended(ask, tries, response, what):
            raise self._refusal(ask, response)
        return False

    def _wait(self, ask: Ask, tries: _Tries, response: Response, slower: bool) -> None:
        if slower:
            with self._lock:
                self._pace.slow_down()
        spent = self._time.monotonic() - tries.begun
        if limit(met=True, reached=True).is_over(spent, tries.count):
            reason = error_code(response) or f"status {response.status}"
            url = self._endpoint(ask.bucket).url
            raise s3_errors.kept_failing(ask.purpose, url, reason, spent)
        wish = response.headers.get("retry-after")
        self._time.pause(pause_seconds(tries.count, self._time.chance(), wish))

    def _mended(self, ask: Ask, tries: _Tries, response: Response, what: Verdict) -> bool:
        """Whether something was changed that makes another try worth while."""
        if what is Verdict.MUTE and not tries.probed:
            tries.probed = True
            self._hear_why(ask)
            return True
        if what is Verdict.SKEWED and tries.corrections < _MOVES:
            tries.corrections += 1
            return self._correct_clock(response)
        if what is Verdict.EXPIRED and not tries.renewed:
            tries.renewed = True
            self._account.forget_keys()
            return True
        region = told_region(response)
        if region and region != self._endpoint(ask.bucket).region and tries.moves < _MOVES:
            tries.moves += 1
            self._endpoints[ask.bucket] = self._account.endpoint(ask.bucket, region)
            return True
        return False

    def _hear_why(self, ask: Ask) -> None:
        """Ask for the first byte in place of a HEAD: its refusal has a body, and is dealt with."""
        first = {**ask.headers, "range": "bytes=0-0"}
        self.ask(ask._replace(method="GET", headers=first, expected=frozenset([404, 416])))

    def _correct_clock(self, response: Response) -> bool:
        told = server_time(response.headers)
        if told is None:
            return False
        self._skew_seconds = told - self._time.wall()
        return True

    def _refusal(self, ask: Ask, response: Response) -> StorageError:
        conditions = [name for name in ("if-match", "if-none-match") if name in ask.headers] or [""]
        return s3_errors.refusal(
            ask.purpose,
            ask.bucket,
            response.status,
            error_code(response),
            element(response.body, "Message"),
            conditions[0],
        )
