"""Which runs a split takes, and how large its parts are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sc.model import Batch, Run
from sc.splitting import NOT_ENDED, Standing, part_documents, part_sizes, select

RUNS = [Run(cmd=f"echo {n}", remote_output_path=f"/out/{n}") for n in range(6)]
STANDINGS = {
    "/out/0": Standing(0),
    "/out/1": Standing(1),
    "/out/2": NOT_ENDED,
    "/out/3": Standing(0, changed=True),
    "/out/4": Standing(137, changed=True),
    "/out/5": Standing(0),
}


def standing(run: Run) -> Standing:
    return STANDINGS[run.remote_output_path]


def never_asked(run: Run) -> Standing:
    raise AssertionError(f"the storage was asked about {run.remote_output_path}")


def numbers(runs: Iterable[Run]) -> list[int]:
    return [int(run.remote_output_path[5:]) for run in runs]


def test_everything_is_taken_by_default_and_nobody_is_asked() -> None:
    selection = select(RUNS, never_asked)
    assert selection[:5] == (6, 0, 0, 0, 0)
    assert numbers(selection.runs) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("skips", "max_jobs", "taken", "counts"),
    [
        ({"skip_completed": True}, None, [1, 2, 3, 4], (4, 2, 0, 0, 1)),
        ({"skip_failures": True}, None, [0, 2, 3, 4, 5], (5, 0, 1, 0, 1)),
        ({"skip_completed": True, "skip_failures": True}, None, [2, 3, 4], (3, 2, 1, 0, 2)),
        ({"skip_completed": True}, 2, [1, 2], (2, 2, 0, 2, 0)),
        ({"skip_completed": True}, 4, [1, 2, 3, 4], (4, 2, 0, 0, 1)),
        ({"skip_completed": True}, -1, [1, 2, 3, 4], (4, 2, 0, 0, 1)),
        ({}, 2, [0, 1], (2, 0, 0, 4, 0)),
        ({}, 99, [0, 1, 2, 3, 4, 5], (6, 0, 0, 0, 0)),
    ],
)
def test_what_is_skipped(
    skips: dict[str, bool], max_jobs: Optional[int], taken: list[int], counts: tuple[int, ...]
) -> None:
    selection = select(RUNS, standing, max_jobs=max_jobs, **skips)
    assert numbers(selection.runs) == taken
    assert numbers(selection.runs) == taken  # and again
    assert selection[:5] == counts
    assert sum(selection[:4]) == len(RUNS)


@pytest.mark.parametrize(
    ("total", "nprocs", "scale", "batch_size", "sizes"),
    [
        (0, 4, 1, None, []),
        (1, 4, 1, None, [1]),
        (12, 4, 1, None, [12]),
        (30, 4, 1, None, [12, 12, 6]),
        (30, 4, 8, 10, [10, 10, 10]),
        (7, 4, 8, 3, [3, 3, 1]),
        (9, 4, 2, None, [3, 2, 1, 1, 1, 1]),
    ],
)
def test_sizes(
    total: int, nprocs: int, scale: int, batch_size: Optional[int], sizes: list[int]
) -> None:
    assert list(part_sizes(total, nprocs, scale, batch_size)) == sizes


@given(st.integers(0, 5000), st.integers(1, 64), st.integers(1, 200))
def test_sizes_add_up_and_never_grow(total: int, nprocs: int, scale: int) -> None:
    sizes = list(part_sizes(total, nprocs, scale))
    assert sum(sizes) == total
    assert all(1 <= size <= 3 * nprocs for size in sizes)
    assert sizes == sorted(sizes, reverse=True)
    if scale > 1 and total >= scale * max(1, nprocs // 4):
        assert len(sizes) >= scale  # a part for every machine


def test_most_parts_are_three_times_nprocs_on_many_machines_too() -> None:
    sizes = list(part_sizes(10_000, 8, 20))
    assert sizes.count(24) / len(sizes) > 0.7
    assert sizes[-1] <= 2


def test_a_part_has_at_least_one_run() -> None:
    with pytest.raises(ValueError, match="at least one"):
        list(part_sizes(5, 4, 1, 0))


def test_parts_are_batch_files_and_the_first_does_not_wait_for_the_last() -> None:
    batch = Batch("/out", RUNS, nprocs=2)
    read: list[int] = []

    def reading() -> Iterator[Run]:
        for number, run in enumerate(RUNS):
            read.append(number)
            yield run

    parts = part_documents(batch, reading(), part_sizes(len(RUNS), 2, 1, 4))
    first = json.loads(next(parts))
    assert read == [0, 1, 2, 3]
    assert first == {
        "nprocs": 2,
        "remote_output_path": "/out",
        "runs": [{"cmd": f"echo {n}", "remote_output_path": f"/out/{n}"} for n in range(4)],
    }
    assert [len(json.loads(part)["runs"]) for part in parts] == [2]


def test_unknown_nprocs_is_left_to_the_machine() -> None:
    (part,) = part_documents(Batch("/out", RUNS), RUNS, [6])
    assert "nprocs" not in json.loads(part)
