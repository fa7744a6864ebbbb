"""What is stored next, in which order, and what happens to what cannot be."""

from __future__ import annotations

import os
import threading
from multiprocessing import Pipe
from pathlib import Path
from typing import Optional

import pytest

from sc.executor.fullness import Fullness
from sc.executor.messages import ALL, ATTEMPT, GROWING, Channel, Left, Save, Saved
from sc.executor.saver import Saver
from sc.executor.saving import MOST_REFUSED, SaveQueue
from tests.fakes.memory_storage import Clock, MemoryStorage


def queue(*saves: Save) -> SaveQueue:
    one = SaveQueue(lambda: 0.5)
    for save in saves:
        one.add(save)
    return one


def save(number: int, kind: str = ALL, path: str = "/a", origin: int = 0) -> Save:
    return Save(number, kind, path, Left(f"/tmp/{number}", None), 0, origin=origin)


def number(one: Optional[Save]) -> Optional[int]:
    return one and one.number


def test_one_path_one_after_the_other_and_many_paths_beside() -> None:
    one = queue(save(1, GROWING), save(2, ATTEMPT), save(3), save(4, path="/b"))
    assert [number(one.next(0)) for _ in range(3)] == [1, 4, None]
    assert number(one.answered(Saved(1), 0)) == 1
    assert [number(one.next(0)) for _ in range(2)] == [2, None]
    assert number(one.answered(Saved(2), 0)) == 2
    assert number(one.next(0)) == 3
    assert number(one.answered(Saved(3), 0)) == 3
    assert number(one.answered(Saved(4), 0)) == 4
    assert len(one) == 0


def test_a_failure_is_tried_again_with_growing_pauses() -> None:
    one = queue(save(1))
    now, pauses = 0.0, []
    for _ in range(9):
        assert number(one.next(now)) == 1
        assert one.answered(Saved(1, "503"), now) is None
        due = one.next_time()
        assert due is not None
        assert one.next(due - 0.01) is None
        pauses.append(due - now)
        now = due
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert one.trouble() == "503"
    assert number(one.next(now)) == 1
    assert number(one.answered(Saved(1), now)) == 1
    assert one.trouble() == ""


def test_output_of_a_run_that_goes_on_is_not_tried_again() -> None:
    one = queue(save(1, GROWING), save(2))
    one.next(0)
    assert one.answered(Saved(1, "503"), 0) is None
    assert number(one.next(0)) == 2


def test_patience_ends_with_all_that_stands_behind() -> None:
    one = queue(save(1, ATTEMPT), save(2), save(3, path="/b"))
    one.next(0)
    one.next(0)
    one.answered(Saved(1, "no"), 10.0)
    assert one.give_up(19.0, 10.0) == []
    assert [effort.save.number for effort in one.give_up(20.0, 10.0)] == [1, 2]
    assert len(one) == 1
    assert number(one.answered(Saved(3), 21.0)) == 3


def test_one_place_that_cannot_be_written_is_given_up_alone() -> None:
    one = queue(save(1), save(2, path="/b"), save(3, path="/c"))
    assert [number(one.next(0)) for _ in range(2)] == [1, 2]
    one.answered(Saved(1, "no"), 10.0)
    one.answered(Saved(2), 15.0)
    assert [effort.save.number for effort in one.give_up(20.0, 10.0)] == [1]
    assert not one.is_cut_off
    assert number(one.next(20.0)) == 3


def test_where_nothing_could_be_stored_the_storage_is_gone() -> None:
    one = queue(save(1), save(2, path="/b"), save(3, path="/c"))
    one.next(0)
    one.answered(Saved(1), 5.0)
    one.add(save(4))
    assert [number(one.next(6)) for _ in range(2)] == [2, 3]
    one.answered(Saved(2, "no"), 10.0)
    assert not one.is_cut_off
    assert [effort.save.number for effort in one.give_up(20.0, 10.0)] == [2]
    assert one.is_cut_off
    assert number(one.next(20.0)) == 4
    one.answered(Saved(4, "no"), 21.0)
    assert [effort.save.number for effort in one.give_up(21.0, 10.0)] == [4]


def test_what_is_refused_for_good_is_given_up_at_once_with_all_behind_it() -> None:
    one = queue(save(1, ATTEMPT), save(2), save(3, path="/b"))
    assert [number(one.next(0)) for _ in range(2)] == [1, 3]
    assert one.answered(Saved(1, "too long", is_final=True), 1.0) is None
    assert one.has_failed()
    assert [effort.save.number for effort in one.give_up(1.0, 86400.0)] == [1, 2]
    assert not one.is_cut_off
    assert not one.has_failed()
    assert number(one.answered(Saved(3), 2.0)) == 3
    assert len(one) == 0


def test_output_of_a_run_that_goes_on_is_not_given_up_where_it_is_refused() -> None:
    one = queue(save(1, GROWING))
    one.next(0)
    one.answered(Saved(1, "too long", is_final=True), 0)
    assert not one.has_failed()
    assert len(one) == 0


@pytest.mark.parametrize("stored_at", [None, MOST_REFUSED // 2])
def test_where_all_is_refused_for_good_the_storage_is_gone(stored_at: Optional[int]) -> None:
    one = queue(*(save(n, path=f"/{n}") for n in range(MOST_REFUSED + 1)))
    for n in range(MOST_REFUSED + 1):
        one.next(0)
        one.answered(Saved(n) if n == stored_at else Saved(n, "denied", is_final=True), 0)
        one.give_up(0, 86400.0)
    assert one.is_cut_off == (stored_at is None)


def test_what_is_refused_for_good_can_be_revoked() -> None:
    one = queue(save(1, origin=1), save(2, path="/b", origin=2))
    one.next(0)
    one.answered(Saved(1, "too long", is_final=True), 0)
    assert [save.number for save in one.revoke(frozenset([1]))] == [1]
    assert one.give_up(0, 86400.0) == []


def test_answers_after_the_end_are_nothing() -> None:
    one = queue(save(1), save(2))
    one.next(0)
    assert [effort.save.number for effort in one.abandon()] == [1, 2]
    assert one.answered(Saved(1), 0) is None
    assert len(one) == 0


def test_what_is_revoked_is_taken_out_and_all_else_is_stored() -> None:
    one = queue(
        *(save(1, ATTEMPT, origin=1), save(2, origin=1), save(3, path="/b", origin=1)),
        *(save(4, path="/b", origin=2), save(5, path="/c", origin=2), save(6, path="/d", origin=1)),
    )
    assert [number(one.next(0)) for _ in range(2)] == [1, 3]
    one.answered(Saved(1, "no"), 0)
    one.answered(Saved(3), 0)
    assert one.origins() == {1, 2}
    assert [save.number for save in one.revoke(frozenset([1]))] == [1, 2, 6]
    assert one.origins() == {2}
    assert one.next_time() is None
    assert [number(one.next(9)) for _ in range(3)] == [5, 4, None]


def test_what_stands_behind_what_is_revoked_is_next() -> None:
    one = queue(save(1, origin=1), save(2, origin=2))
    assert [save.number for save in one.revoke(frozenset([1]))] == [1]
    assert number(one.next(0)) == 2


@pytest.mark.parametrize("kind", [ALL, ATTEMPT, GROWING])
def test_what_a_run_has_made_of_its_output_holds_nobody_up(tmp_path: Path, kind: str) -> None:
    (tmp_path / "saver").mkdir()
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run/stdout")
    (tmp_path / "run/stderr").mkdir()
    storage = MemoryStorage(Clock())
    ours, theirs = Pipe()
    saver = Saver(Channel(theirs), str(tmp_path / "saver"), storage, Fullness())
    left = Save(1, kind, "s3://b/x", Left(str(tmp_path / "run"), None), 0, 1)
    storing = threading.Thread(target=saver.store, args=(left,), daemon=True)
    storing.start()
    storing.join(20)
    assert not storing.is_alive()
    below = "s3://b/x/attempts/1" if kind == ATTEMPT else "s3://b/x"
    outputs = {f"{below}/stdout": b"", f"{below}/stderr": b""}
    assert storage.objects == {**outputs, **({"s3://b/x/status_code": b"0"} if kind == ALL else {})}
    assert (tmp_path / "run").exists() == (kind == GROWING)
    ours.close()
    theirs.close()
