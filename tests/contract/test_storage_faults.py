"""A real server behind a line on which every fourth request goes wrong, in all known ways."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Optional

import pytest

from sc.storage.places import resolve
from sc.storage.s3 import S3Storage
from sc.storage.s3_account import ConfiguredAccount
from sc.storage.s3_client import Client, Timekeeping
from sc.storage.s3_http import Connections, Request, Transport, Trouble
from sc.storage.s3_receiver import Response
from tests.servers import S3Server

SEED = 20261123
FAULTS = (
    "refused",
    "reset before",
    "reset after",
    "stall after",
    "500 before",
    "500 after",
    "503",
    "429",
    "half a body",
)


class Line:
    """A transport that hurts a share of what goes over it, after it took effect or instead."""

    def __init__(self, inner: Transport, share: float) -> None:
        self._inner, self._share = inner, share
        self._random, self._lock = random.Random(SEED), threading.Lock()
        self.injected: Counter[str] = Counter()

    def moved(self) -> int:
        return self._inner.moved()

    def __call__(self, request: Request, connect_seconds: float, read_seconds: float) -> Response:
        with self._lock:
            hurt = self._random.random() < self._share
            fault = self._random.choice(FAULTS) if hurt else ""
            self.injected[fault] += 1
        if fault == "refused":
            raise Trouble("connection refused", reached=False)
        if fault == "reset before":
            raise Trouble("connection reset by peer", reached=True)
        early = {"500 before": (500, "InternalError"), "503": (503, "SlowDown"), "429": (429, "")}
        if fault in early:
            return refusal(*early[fault])
        response = self._inner(request, connect_seconds, read_seconds)
        if fault in ("reset after", "stall after"):
            raise Trouble("no answer in time", reached=True)
        if fault == "500 after":
            return refusal(500, "InternalError")
        if fault == "half a body" and response.body.endswith(b"</ListBucketResult>"):
            return response._replace(body=response.body[: len(response.body) // 2])
        return response


def refusal(status: int, code: str) -> Response:
    return Response(status, {}, f"<Error><Code>{code}</Code></Error>".encode() if code else b"")


@pytest.fixture
def line(s3_environment: S3Server) -> Line:
    account = ConfiguredAccount()
    return Line(Connections(account.ca_file, account.proxies), share=0.25)


@pytest.fixture
def storage(line: Line) -> S3Storage:
    quick = Timekeeping(pause=lambda seconds: time.sleep(min(seconds, 0.002)))
    client = Client(ConfiguredAccount(), line, quick)
    return S3Storage(lambda place: resolve(place, {}), lambda: client)


def test_one_claim_has_one_owner(storage: S3Storage, bucket: str) -> None:
    """Whatever was lost on the way: never two who believe they were first, and never nobody.

    Few at a time: SeaweedFS lets those who wait for one key look again only each second.
    """

    def create(key: int, owner: int) -> Optional[str]:
        return storage.create(f"s3://{bucket}/claims/{key}", b"owner %d" % owner)

    with ThreadPoolExecutor(2) as pool:
        for key in range(12):
            won = list(pool.map(lambda owner, key=key: create(key, owner), range(4)))
            owners = [owner for owner, tag in enumerate(won) if tag is not None]
            assert len(owners) == 1
            entry = storage.stat(f"s3://{bucket}/claims/{key}")
            assert entry is not None
            assert entry.tag == won[owners[0]]
            assert storage.get(entry.place) == b"owner %d" % owners[0]


def test_a_chain_of_renewals_does_not_break(storage: S3Storage, bucket: str) -> None:
    def renew(owner: int) -> int:
        place = f"s3://{bucket}/claims/{owner}"
        tag = storage.create(place, b"%d:0" % owner)
        for turn in range(1, 21):
            assert tag is not None
            tag = storage.replace(place, b"%d:%d" % (owner, turn), tag)
        return int(storage.get(place).partition(b":")[2])

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(renew, range(6))) == [20] * 6


def test_everything_arrives(storage: S3Storage, bucket: str, line: Line) -> None:
    keys = [f"{n:04}/{name}" for n in range(400) for name in ("stderr", "stdout", "status_code")]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: storage.put(f"s3://{bucket}/out/{key}", key.encode()), keys))
    places = sorted(f"s3://{bucket}/out/{key}" for key in keys)
    assert [entry.place for entry in storage.list(f"s3://{bucket}/out")] == places
    for place in random.Random(SEED).sample(places, 50):
        assert storage.get(place) == place.partition("/out/")[2].encode()
    storage.delete(places)
    assert list(storage.list(f"s3://{bucket}/out")) == []
    assert set(line.injected) == {"", *FAULTS}
    assert sum(line.injected.values()) - line.injected[""] > 200


def test_a_large_file_arrives_whole(storage: S3Storage, bucket: str, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(70_000_000))
    storage.put_file(f"s3://{bucket}/large", str(source))
    storage.get_file(f"s3://{bucket}/large", str(copy))
    assert source.read_bytes() == copy.read_bytes()
