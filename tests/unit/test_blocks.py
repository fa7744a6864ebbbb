"""Blocks of parts: what is listed for each, and what workers tell one another of them."""

from __future__ import annotations

import pytest

from sc import paths
from sc.blocks import BLOCK, Block, Blocks, Marks, part_number
from tests.fakes.memory_storage import MemoryStorage

JOB = "s3://bucket/out/.sc/job"
CLAIMS = paths.join(JOB, "claims")


@pytest.mark.parametrize("parts", [1, BLOCK - 1, BLOCK, BLOCK + 1, 12 * BLOCK + 7])
def test_each_part_is_in_one_block(parts: int) -> None:
    blocks = Blocks(parts)
    assert sorted(part for block in blocks for part in parts_of(block)) == list(range(parts))
    assert all(part in parts_of(block) for block in blocks for part in parts_of(block))
    assert all(blocks.of(part) is block for block in blocks for part in parts_of(block))
    assert [len(block) for block in blocks][:-1] == [BLOCK] * (len(blocks) - 1)
    assert all(blocks[block.number] is block for block in blocks)


def test_a_block_is_listed_with_one_request(storage: MemoryStorage) -> None:
    parts = 11 * BLOCK + 5
    for part in range(parts):
        storage.put(paths.claim(JOB, part), b"")
    blocks = Blocks(parts)
    for block in blocks:
        before = storage.requests["list"]
        assert {part for part, _ in blocks.entries(storage, CLAIMS, [block])} == parts_of(block)
        assert storage.requests["list"] == before + 1


def test_keys_of_no_part_are_passed_over(storage: MemoryStorage) -> None:
    for name in ("", "x", "07", "7x", "20", "700", "zzz"):
        storage.put(f"{CLAIMS}/{name}", b"")
    storage.put(paths.claim(JOB, 7), b"")
    blocks = Blocks(20)
    assert [part for part, _ in blocks.entries(storage, CLAIMS, list(blocks))] == [7]


@pytest.mark.parametrize("parts", [900, 5_000, 20_000, 83_417, 100_000])
@pytest.mark.parametrize("share", [0.002, 0.02, 0.06, 0.2, 0.5, 1.0])
def test_what_is_listed_together_are_few_claims_and_many_parts(parts: int, share: float) -> None:
    """Where the first parts have been begun, and others not, as it is in the middle of a job."""
    blocks, begun = Blocks(parts), int(parts * share)
    next_part = min(begun, parts - 1)
    some = blocks.around(next_part, begun)
    assert blocks.of(next_part) in some
    inside = [part for block in some for part in parts_of(block)]
    assert sum(part < begun for part in inside) <= 1.3 * BLOCK
    soon = range(next_part, min(10 * next_part, parts))
    assert sum(part in soon for part in inside) >= min(80, len(soon))


def test_a_part_that_was_given_back_late_is_listed_with_its_block_alone() -> None:
    blocks = Blocks(100_000)
    assert blocks.around(17, 60_000) == [blocks.of(17)]


@pytest.mark.parametrize("name", ["", "x", "-1", "01", "1.json", "٣", "9" * 30, "0 "])
def test_strange_names_are_no_parts(name: str) -> None:
    assert part_number(name) is None


def second_block() -> Block:
    return Blocks(3 * BLOCK)[1]


def parts_of(block: Block) -> set[int]:
    return {part for some in block.ranges for part in some}


def test_what_one_worker_marks_another_reads(storage: MemoryStorage) -> None:
    Marks(storage, JOB, "a").add(second_block())
    assert list(Marks(storage, JOB, "a").read()) == [1]


def test_marks_of_an_earlier_job_and_strange_keys_count_for_nothing(storage: MemoryStorage) -> None:
    Marks(storage, JOB, "b").add(second_block())
    for name in ("a", "a-", "a-07", "-1", "a-a-1", "1"):
        storage.put(f"{JOB}/ended/{name}", b"")
    assert list(Marks(storage, JOB, "a").read()) == []
