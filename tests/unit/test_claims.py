"""Claims: of many who try, one succeeds; and nothing that a stranger writes there does harm."""

from __future__ import annotations

import json
from typing import Optional

import pytest

from sc import claims, paths
from sc.claims import MAX_LOSSES, Claim, DoneNote, done_note, is_free, read_done_note
from sc.storage import Entry
from tests.fakes.memory_storage import MemoryStorage

JOB = "s3://bucket/out/.sc/job"


def entry_of(storage: MemoryStorage, part: int = 0) -> Entry:
    entry = storage.stat(paths.claim(JOB, part))
    assert entry is not None
    return entry


def taken(storage: MemoryStorage, worker: str = "a", part: int = 0) -> Claim:
    claim = claims.take(storage, JOB, part, worker, f"nonce-of-{worker}")
    assert claim is not None
    return claim


def taken_over(storage: MemoryStorage, worker: str) -> Optional[Claim]:
    tag = entry_of(storage).tag
    return claims.take_over(storage, JOB, 0, tag, worker, f"nonce-of-{worker}")


def test_the_first_one_gets_it(storage: MemoryStorage) -> None:
    taken(storage)
    assert claims.take(storage, JOB, 0, "b", "other") is None


def test_a_renewal_makes_the_age_start_again(storage: MemoryStorage) -> None:
    claim = taken(storage)
    storage.clock.now += 100
    renewed = claims.renew(storage, JOB, claim)
    assert renewed is not None
    assert entry_of(storage).age_seconds == 0
    assert renewed.renewals == 1
    assert renewed.tag != claim.tag


def test_who_saw_the_claim_before_its_renewal_cannot_take_it_over(storage: MemoryStorage) -> None:
    claim = taken(storage)
    storage.clock.now += 500
    seen = entry_of(storage).tag
    assert claims.renew(storage, JOB, claim) is not None
    assert claims.take_over(storage, JOB, 0, seen, "b", "other") is None


def test_of_two_who_take_over_one_succeeds_and_the_holder_notices(storage: MemoryStorage) -> None:
    claim = taken(storage)
    seen = entry_of(storage).tag
    first = claims.take_over(storage, JOB, 0, seen, "b", "1")
    second = claims.take_over(storage, JOB, 0, seen, "c", "2")
    assert first is not None
    assert (first.worker, first.losses, first.holders, first.was_begun) == ("b", 1, ("a",), True)
    assert second is None
    assert claims.renew(storage, JOB, claim) is None
    assert not claims.give_back(storage, JOB, claim)


def test_after_three_losses_a_part_is_hopeless(storage: MemoryStorage) -> None:
    claim: Optional[Claim] = taken(storage, "w0")
    for number in range(1, MAX_LOSSES + 1):
        assert claim is not None
        assert not claim.is_hopeless
        claim = taken_over(storage, f"w{number}")
    assert claim is not None
    assert claim.is_hopeless
    assert claim.holders == ("w0", "w1", "w2")


def test_what_is_given_back_is_free_and_counts_no_loss(storage: MemoryStorage) -> None:
    taken(storage, "a")
    claim = taken_over(storage, "b")
    assert claim is not None
    assert not is_free(entry_of(storage))
    assert claims.give_back(storage, JOB, claim)
    assert is_free(entry_of(storage))
    again = taken_over(storage, "c")
    assert again is not None
    assert again.losses == 1
    assert claims.take(storage, JOB, 0, "d", "create must still fail") is None


def test_a_first_claim_that_met_itself_is_recognised(storage: MemoryStorage) -> None:
    """As behind a proxy that sends a request twice: nobody would have the part until the lease is over."""
    storage.loses_answers_of.add("create")
    claim = taken(storage)
    assert claims.renew(storage, JOB, claim) is not None


def test_a_renewal_whose_answer_was_lost_is_recognised(storage: MemoryStorage) -> None:
    claim = taken(storage)
    storage.loses_answers_of.add("replace")
    renewed = claims.renew(storage, JOB, claim)
    assert renewed is not None
    assert claims.renew(storage, JOB, renewed) is not None


def test_a_claim_is_recalled_by_its_holder_only(storage: MemoryStorage) -> None:
    taken(storage, "a")
    recalled = claims.recall(storage, JOB, 0, "a")
    assert recalled is not None
    assert claims.renew(storage, JOB, recalled) is not None
    assert claims.recall(storage, JOB, 0, "b") is None
    assert claims.recall(storage, JOB, 1, "a") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe" * 30,
        b"[" * 100_000,
        b'{"worker": 5, "losses": "many", "holders": {}, "renewals": -1, "x": 0}',
        b'{"worker": null, "losses": true, "holders": [1, 2], "nonce": {"a": 1}, "k": 1}',
    ],
)
def test_garbage_can_be_taken_over(storage: MemoryStorage, content: bytes) -> None:
    storage.put(paths.claim(JOB, 0), content)
    claim = taken_over(storage, "b")
    assert claim is not None
    assert claim.losses == 0
    assert claim.holders == ()


def test_a_claim_that_vanished_is_nobodys(storage: MemoryStorage) -> None:
    claim = taken(storage)
    storage.delete([paths.claim(JOB, 0)])
    assert claims.renew(storage, JOB, claim) is None
    assert claims.take_over(storage, JOB, 0, claim.tag, "b", "other") is None


def test_sizes_tell_free_from_held_and_good_from_bad() -> None:
    assert len(Claim(0, "", "").to_bytes()) > 24 >= len(json.dumps({"losses": 999}).encode())
    assert len(done_note(999_999_999, 0, (), "w")) <= claims.SHORT_NOTE
    assert len(done_note(0, 1, (), "")) > claims.SHORT_NOTE
    assert len(done_note(0, 0, ["p"], "")) > claims.SHORT_NOTE


def test_sizes_tell_how_many_have_failed_unless_something_else_went_wrong() -> None:
    for failed in (0, 1, 3, 999, 4000):
        note = done_note(24, failed, (), "w")
        assert claims.failed_by_size(len(note)) == failed
        assert read_done_note(note) == DoneNote(24, failed)
    for note in (
        done_note(24, 4001, (), "w"),
        done_note(24, 0, ["p"], "w"),
        done_note(24, 2, ["p" * 9000], "w"),
        done_note(0, 0, (), "w", "it cannot be read"),
        done_note(23, 0, (), "w", not_stored=1),
    ):
        assert claims.failed_by_size(len(note)) is None


def test_done_notes_are_read_back() -> None:
    note = read_done_note(done_note(3, 2, ["s3://b/x"], "w", "why", not_stored=5))
    assert note == DoneNote(3, 2, ("s3://b/x",), "why", 5)
    assert read_done_note(done_note(3, 0, (), "w")) == DoneNote(3)
    assert read_done_note(b"garbage").trouble
