"""The keys of a large job in the middle of its work, as its workers would have written them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sc import paths
from sc.claims import done_note
from sc.glances import Glance
from sc.grouping import Group
from sc.heartbeats import Heartbeat
from sc.staging import Job
from sc.storage import Storage

PER_PART, SLOTS = 12, 4


def large_job(runs: int, workers: int, place: str = "s3://b/out") -> tuple[str, Job]:
    """Its URL, and what its recipe.json says."""
    parts = -(-runs // PER_PART)
    job = Job("big", place, parts, runs, written=parts, nprocs=SLOTS, scale=workers)
    return paths.job(place, "big"), job


def worker_keys(
    url: str, number: int, ended: int, state: str = "working"
) -> Iterator[tuple[str, bytes]]:
    """Heartbeat and glance of one worker of so many ended runs, of which every 33rd failed, in one of four ways."""
    worker, failed = f"i-{number:04}", ended // 33
    kinds = [Group(failed // 4, f"error {kind}", f"out/{kind}") for kind in "abcd"]
    running = 0 if state == "left" else SLOTS
    heartbeat = Heartbeat(
        worker,
        machine=worker,
        fleet="local",
        kind="r6a.xlarge",
        nprocs=SLOTS,
        state=state,
        started=1.0,
        completed=ended - failed,
        failed=failed,
        errors=tuple(kinds),
        load=3.5,
        vcpus=4,
    )
    glance = Glance(
        worker, state, ended - failed, failed, 0, running, 8, SLOTS, ended * 2500, running
    )
    yield paths.heartbeat(url, worker), heartbeat.to_bytes()
    yield paths.join(paths.glances(url), glance.to_name()), b"-"


def done_keys(url: str, numbers: range) -> Iterator[tuple[str, bytes]]:
    """Parts that are done; in every third of them one run has failed."""
    for number in numbers:
        failed = int(number % 3 == 0)
        yield paths.done(url, number), done_note(PER_PART - failed, failed, (), "i-0000")


def put_all(storage: Storage, keys: Iterable[tuple[str, bytes]]) -> None:
    """Store them, in their order."""
    for place, data in keys:
        storage.put(place, data)
