"""Blocks of parts: what is listed for each, and what workers tell one another of them."""

from __future__ import annotations

import pytest

from sc import paths
from sc.blocks import BLOCK, Block, Blocks, Marks, part_number
from tests.fakes.memory_storage import Clock, MemoryStorage

JOB = "s3://bucket/out/.sc/job"
CLAIMS = paths.join(JOB, "claims")


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage(Clock())


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
    for block in Blocks(parts):
        before = storage.requests["list"]
        assert {part for part, _ in block.entries(storage, CLAIMS)} == parts_of(block)
        assert storage.requests["list"] == before + 1


def test_keys_of_no_part_are_passed_over(storage: MemoryStorage) -> None:
    for name in ("", "x", "07", "7x", "20", "700", "zzz"):
        storage.put(f"{CLAIMS}/{name}", b"")
    storage.put(paths.claim(JOB, 7), b"")
    (block,) = Blocks(20)
    assert [part for part, _ in block.entries(storage, CLAIMS)] == [7]


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
