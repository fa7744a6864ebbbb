"""When a run's processes are asked to end, when they are forced, and what code that gives."""

from __future__ import annotations

import signal
from typing import Optional

import pytest

from sc.executor.growth import Growth
from sc.executor.slot import judge
from sc.executor.watch import Watch

TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)


def watch(timeout: Optional[float] = None) -> Watch:
    return Watch(leader=7, now=100.0, timeout=timeout, grace=10.0)


def test_nothing_happens_while_it_runs() -> None:
    assert watch().step(200.0) == (None, None)
    assert watch(timeout=5).step(101.0) == (None, 4.0)


def test_a_time_out_asks_and_then_forces() -> None:
    one = watch(timeout=5)
    assert one.step(105.0) == (TERM, 0.05)
    assert one.step(105.05) == (TERM, 0.1)
    assert one.ended_by == "timeout"
    one.reaped(7, 0)
    signal_number, _ = one.step(114.9)
    assert signal_number == TERM
    assert one.step(115.0) == (KILL, 0.02)
    assert one.step(115.1) == (KILL, 0.04)


def test_what_the_leader_leaves_is_asked_too_and_the_code_stays() -> None:
    one = watch(timeout=5)
    one.reaped(8, 256)
    one.reaped(7, 512)
    assert one.step(101.0) == (TERM, 0.05)
    assert (one.status, one.ended_by) == (512, None)
    one.stop(102.0, at_once=False)
    assert one.ended_by is None
    assert one.step(111.0)[0] == KILL


def test_a_stop_at_once_forces() -> None:
    one = watch()
    one.stop(101.0, at_once=False)
    assert one.step(101.0)[0] == TERM
    one.stop(102.0, at_once=True)
    assert one.step(102.0)[0] == KILL
    assert one.ended_by == "interrupted"


@pytest.mark.parametrize(
    ("status", "ended_by", "verdict"),
    [
        (0, None, (0, "exit")),
        (3 << 8, None, (3, "exit")),
        (255 << 8, None, (255, "exit")),
        (126 << 8, None, (126, "not-started")),
        (127 << 8, None, (127, "not-started")),
        (signal.SIGSEGV | 0x80, None, (139, "signal")),
        (signal.SIGKILL, None, (137, "signal")),
        (137 << 8, None, (137, "exit")),
        (signal.SIGTERM, None, (143, "signal")),
        (0, "timeout", (124, "timeout")),
        (signal.SIGKILL, "timeout", (124, "timeout")),
        (0, "interrupted", (None, "interrupted")),
    ],
)
def test_codes_and_causes(
    status: int, ended_by: Optional[str], verdict: tuple[Optional[int], str]
) -> None:
    assert judge(status, ended_by) == verdict


def test_a_growing_output_is_stored_ever_more_rarely() -> None:
    growth, stored, size = Growth(since=0.0, due=5.0), 0, 0
    for second in range(0, 36_000, 5):
        size += 100
        grown = growth.grown(float(second), size)
        stored += grown is not growth
        growth = grown
    assert 100 < stored < 160


def test_a_large_or_silent_output_is_stored_less() -> None:
    growth = Growth(since=0.0).grown(10.0, 400 << 20)
    assert growth.due == 10.0 + 10.0 + 100.0
    assert growth.grown(1e6, 400 << 20) is growth
