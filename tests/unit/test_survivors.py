"""Which of the processes that a command has left only drain what it printed."""

from __future__ import annotations

import pytest

from sc.executor.survivors import Pipe, Process, classify, sentence

A, B, C = (0, 1), (0, 2), (0, 3)


def process(
    pid: int,
    name: str = "x",
    parent: int = 1,
    reads: tuple[Pipe, ...] = (),
    writes: tuple[Pipe, ...] = (),
) -> Process:
    return Process(pid, parent, name, frozenset(reads), frozenset(writes))


@pytest.mark.parametrize(
    ("processes", "drains", "sources", "fed"),
    [
        pytest.param([process(8, reads=(A,))], {8}, set(), set(), id="tee whose command is gone"),
        pytest.param([process(8)], set(), {8}, set(), id="sleep 300 &"),
        pytest.param(
            [process(8, reads=(A,), writes=(B,)), process(9, reads=(B,))],
            *({8, 9}, set(), set()),
            id="sort | uniq, fed by the command",
        ),
        pytest.param(
            [process(8, writes=(A,)), process(9, reads=(A,))], set(), {8}, {9}, id="loop | tee &"
        ),
        pytest.param(
            [process(8, reads=(A,), writes=(B,)), process(9, reads=(B,), writes=(A,))],
            *(set(), {8, 9}, set()),
            id="two that wait for each other",
        ),
        pytest.param(
            [process(8, reads=(A,), writes=(A,))], set(), {8}, set(), id="a daemon's own pipe"
        ),
        pytest.param(
            [process(8, reads=(A, B), writes=(A,))],
            {8},
            set(),
            set(),
            id="own pipe, and a drained one",
        ),
        pytest.param(
            [process(8, "sh"), process(9, "cat", parent=8, reads=(A,))],
            *({8, 9}, set(), set()),
            id="a shell that waits for a drain",
        ),
        pytest.param(
            [process(8, "sh"), process(9, parent=8, reads=(A,)), process(10, parent=8)],
            *({9}, {8, 10}, set()),
            id="a shell that waits for more than a drain",
        ),
        pytest.param(
            [
                process(8, reads=(A,), writes=(B,)),
                process(9, reads=(C,)),
                process(10, writes=(C, A)),
            ],
            *(set(), {10}, {8, 9}),
            id="a source and all that it feeds",
        ),
    ],
)
def test_classify(
    processes: list[Process], drains: set[int], sources: set[int], fed: set[int]
) -> None:
    found = classify(processes)
    assert {one.pid for one in found.drains} == drains
    assert {one.pid for one in found.sources} == sources
    assert {one.pid for one in found.fed} == fed


def test_classify_drain_that_has_closed_its_pipe_stays_one() -> None:
    """As `sort` may, when it has read all, and has yet to write."""
    found = classify([process(8, "sort"), process(9, "sleep")], frozenset([8]))
    assert [one.name for one in found.drains] == ["sort"]


@pytest.mark.parametrize(
    ("processes", "count", "text"),
    [
        (
            [process(8, "sleep")],
            1,
            "1 process was still running when the command exited and was ended: sleep",
        ),
        (
            [process(pid, "sh") for pid in (8, 9)]
            + [process(pid, "sleep", pid - 4) for pid in (12, 13)],
            2,
            "2 processes were still running when the command exited and were ended: sleep",
        ),
        (
            [process(pid, name) for pid, name in enumerate("abcdefg", 8)],
            7,
            "7 processes were still running when the command exited and were ended: a, b, c, d, e, …",
        ),
    ],
)
def test_sentence(processes: list[Process], count: int, text: str) -> None:
    assert sentence(processes) == (count, text)
