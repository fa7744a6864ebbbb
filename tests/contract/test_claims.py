"""Claims over every kind of storage, with its real clock."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from sc import claims, paths
from sc.board import Board
from sc.storage import Storage, open_storage


@pytest.fixture(params=["folder", "s3"])
def job_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "out" / ".sc" / "job")
        return
    request.getfixturevalue("s3_environment")
    yield f"s3://{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}/.sc/job"


@pytest.fixture
def storage(job_url: str) -> Storage:
    return open_storage()


def test_a_part_goes_from_hand_to_hand(storage: Storage, job_url: str) -> None:
    claim = claims.take(storage, job_url, 0, "a", "1")
    assert claim is not None
    assert claims.take(storage, job_url, 0, "b", "2") is None
    renewed = claims.renew(storage, job_url, claim)
    assert renewed is not None
    entry = storage.stat(paths.claim(job_url, 0))
    assert entry is not None
    assert entry.tag == renewed.tag
    assert 0 <= entry.age_seconds < 10
    over = claims.take_over(storage, job_url, 0, entry.tag, "b", "2")
    assert over is not None
    assert over.losses == 1
    assert claims.renew(storage, job_url, renewed) is None
    assert claims.give_back(storage, job_url, over)
    (listed,) = storage.list(paths.join(job_url, "claims"))
    assert claims.is_free(listed)
    again = claims.take_over(storage, job_url, 0, listed.tag, "c", "3")
    assert again is not None
    assert again.losses == 1


def test_eight_workers_at_once_take_each_part_once(storage: Storage, job_url: str) -> None:
    taken: list[int] = []

    def work(number: int) -> None:
        board = Board(
            storage, job_url, 40, f"w{number}", lease_seconds=120, crowd=8, random=Random(number)
        )
        while True:
            claim = board.take()
            if claim is None:
                return
            taken.append(claim.part)
            storage.put(paths.done(job_url, claim.part), claims.done_note(1, 0, (), "w"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(40))
    board = Board(storage, job_url, 40, "last", lease_seconds=120, crowd=8, random=Random(9))
    assert board.take() is None
    assert board.rest().is_nothing


def test_of_many_who_take_over_at_once_one_succeeds(storage: Storage, job_url: str) -> None:
    first = claims.take(storage, job_url, 0, "lost", "0")
    assert first is not None
    won: list[str] = []

    def take_over(number: int) -> None:
        claim = claims.take_over(storage, job_url, 0, first.tag, f"w{number}", f"n{number}")
        if claim is not None:
            won.append(claim.worker)

    threads = [threading.Thread(target=take_over, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert claims.recall(storage, job_url, 0, won[0]) is not None
