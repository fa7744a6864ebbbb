"""Whatever stands below a job's place ends in data, or in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest

from sc import claims, paths
from sc.claims import read_done_note
from sc.errors import ScError
from sc.heartbeats import Heartbeat, heartbeat_of
from sc.model import Outcome
from sc.staging import Job, read_job, read_part
from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.fakes.office import JOB, OUT, outcome_of, part_bytes, runs_of_part
from tests.fuzz.mutating import mutated

HEARTBEAT = Heartbeat(
    "w", "m", "ec2", "r6a.xlarge", 4, "working", 1.0, running=((0, f"{OUT}/0", 2.0),)
)
GOOD: dict[str, bytes] = {
    "heartbeat": HEARTBEAT.to_bytes(),
    "claim": claims.Claim(3, "w", "n", 1, 2, ("a",)).to_bytes(),
    "done": claims.done_note(1, 2, ["p"], "w", "t"),
    "job": Job("j", OUT, parts=2, runs=4, environment_variables={"A": "b"}).to_bytes(),
    "part": part_bytes(runs_of_part(0, 3)),
    "record": outcome_of(runs_of_part(0, 1)[0], 3).to_line().encode(),
}


def _claim(data: bytes) -> None:
    storage = MemoryStorage(Clock())
    storage.put(paths.claim(JOB, 0), data)
    entry = storage.stat(paths.claim(JOB, 0))
    assert entry is not None
    taken = claims.take_over(storage, JOB, 0, entry.tag, "w", "n")
    assert taken is not None
    assert taken.losses >= 0


def _job(data: bytes) -> None:
    storage = MemoryStorage(Clock())
    storage.put(paths.recipe(JOB), data)
    with suppress(ScError):
        read_job(storage, JOB)


def _part(data: bytes) -> None:
    storage = MemoryStorage(Clock())
    storage.put(paths.part(JOB, 0), data)
    with suppress(ScError):
        read_part(storage, JOB, 0)


def _record(data: bytes) -> None:
    with suppress(ValueError):
        Outcome.from_line(data.decode("utf-8", "replace"))


READERS: dict[str, Callable[[bytes], object]] = {
    "heartbeat": heartbeat_of,
    "claim": _claim,
    "done": read_done_note,
    "job": _job,
    "part": _part,
    "record": _record,
}


@pytest.mark.parametrize("kind", READERS)
def test_a_thousand_mutations_of_what_is_good(kind: str) -> None:
    random = Random(f"sc {kind}")
    for _ in range(1000):
        document = mutated(json.loads(GOOD[kind]), random)
        READERS[kind](json.dumps(document).encode())


@pytest.mark.parametrize("kind", READERS)
def test_bytes_that_are_cut_off_or_torn(kind: str) -> None:
    random = Random(f"bytes of {kind}")
    for _ in range(500):
        data = bytearray(GOOD[kind])
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        READERS[kind](bytes(data[: random.randrange(len(data) + 1)]))


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "data",
    [b"", b"[" * 200_000, b"1" * 10_000, b"\xff" * 10, b"{}", b"null"],
    ids=["nothing", "deep", "long", "no text", "empty", "null"],
)
def test_extremes(kind: str, data: bytes) -> None:
    READERS[kind](data)


def test_a_good_heartbeat_is_read_as_it_was_written() -> None:
    assert heartbeat_of(GOOD["heartbeat"]) == HEARTBEAT
