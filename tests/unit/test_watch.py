"""When a run's processes are asked to end, when they are forced, and what code that gives."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Optional

import pytest

from sc.executor.growth import Growth
from sc.executor.slot import judge
from sc.executor.survivors import Process, Survivors
from sc.executor.watch import Step, Watch

TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)


def watch(timeout: Optional[float] = None) -> Watch:
    return Watch(leader=7, now=100.0, timeout=timeout, grace=10.0)


def left(
    *, drains: Sequence[Process] = (), sources: Sequence[Process] = (), fed: Sequence[Process] = ()
) -> Survivors:
    return Survivors(drains, sources, fed)


TEE, LOOP, SLEEP = Process(8, 1, "tee"), Process(9, 1, "sh"), Process(10, 9, "sleep")


def test_watch_while_leader_runs_does_nothing() -> None:
    assert watch().step(200.0) == Step()
    assert watch(timeout=5).step(101.0) == Step(pause=4.0)


def test_watch_at_timeout_asks_then_forces() -> None:
    one = watch(timeout=5)
    assert one.step(105.0) == Step(TERM, 0.05)
    assert one.step(105.05) == Step(TERM, 0.1)
    assert one.ended_by == "timeout"
    one.reaped(7, 0)
    assert one.step(114.9).signal == TERM
    assert one.step(115.0) == Step(KILL, 0.02)
    assert one.step(115.1) == Step(KILL, 0.04)


def test_watch_daemon_left_behind_is_ended_after_two_seconds_and_code_stays() -> None:
    one = watch(timeout=5)
    one.reaped(8, 256)
    one.reaped(7, 512)
    daemon = left(sources=[LOOP, SLEEP])
    assert one.is_winding_up
    assert one.step(101.0, daemon).signal is None
    assert one.step(102.9, daemon).signal is None
    asked = one.step(103.0, daemon)
    assert (asked.signal, asked.pids) == (TERM, [9, 10])
    assert one.step(103.1, daemon).signal is None  # each is asked once
    started_anew = left(sources=[LOOP, Process(11, 9, "sleep")])
    assert one.step(103.2, started_anew).pids == [11]
    forced = one.step(113.0, started_anew)
    assert (forced.signal, forced.pids) == (KILL, [9, 11])
    assert (one.status, one.ended_by) == (512, None)
    assert one.ended == [LOOP, SLEEP]


def test_watch_stop_while_daemon_lingers_keeps_code() -> None:
    one = watch()
    one.reaped(7, 0)
    one.step(101.0, left(sources=[SLEEP]))
    one.stop(101.5, at_once=False, left=left(sources=[SLEEP]))
    assert (one.ended_by, one.ended) == (None, [SLEEP])
    assert one.step(101.5).signal == TERM
    assert one.step(111.5).signal == KILL


@pytest.mark.parametrize(
    ("status", "ended_by"),
    [
        (TERM, "interrupted"),
        (int(signal.SIGHUP), "interrupted"),
        ((128 + TERM) << 8, "interrupted"),
        ((128 + signal.SIGINT) << 8, "interrupted"),
        (KILL, None),
        (1 << 8, None),
        (0, None),
    ],
)
def test_watch_command_told_to_end_as_the_loop_is_has_not_failed(
    status: int, ended_by: Optional[str]
) -> None:
    one = watch()
    one.reaped(7, status)
    assert one.may_be_stopped == bool(ended_by)
    one.stop(100.5, at_once=False)
    assert one.ended_by == ended_by


def test_watch_command_that_we_have_told_to_end_has_its_reason() -> None:
    one = watch(timeout=5)
    one.step(105.0)
    one.reaped(7, TERM)
    assert not one.may_be_stopped
    one.stop(105.5, at_once=False)
    assert one.ended_by == "timeout"


@pytest.mark.parametrize("was_seen", [True, False])
def test_watch_stop_right_after_the_exit_is_an_interruption_of_what_may_be_a_drain(
    was_seen: bool,
) -> None:
    """A reader that was forked a moment ago still holds the end to write to as well."""
    one = watch()
    one.reaped(7, 0)
    if was_seen:
        one.step(101.0, left(sources=[TEE]))
    one.stop(101.1, at_once=False, left=left(sources=[TEE]))
    assert one.ended_by == "interrupted"


def test_watch_stop_while_output_drains_is_an_interruption() -> None:
    one = watch()
    one.reaped(7, 0)
    one.step(101.0, left(drains=[TEE]))
    one.stop(101.5, at_once=False, left=left(drains=[TEE]))
    assert one.ended_by == "interrupted"


def test_watch_drain_is_waited_for_while_it_makes_progress() -> None:
    one = watch()
    one.reaped(7, 0)
    for now in range(101, 1000, 50):
        assert one.step(now, left(drains=[TEE._replace(progress=now)])).signal is None
    assert one.step(1009.0, left(drains=[TEE._replace(progress=951)])).signal is None
    idle = one.step(1011.0, left(drains=[TEE._replace(progress=951)]))
    assert (idle.signal, idle.pids) == (TERM, [8])
    assert one.step(1021.0, left(drains=[TEE._replace(progress=951)])).signal == KILL
    assert (one.ended_by, [each.name for each in one.ended]) == (None, ["tee"])


def test_watch_drain_has_until_the_timeout() -> None:
    one = watch(timeout=300)
    one.reaped(7, 0)
    assert one.step(101.0, left(drains=[TEE])).signal is None
    assert one.step(399.0, left(drains=[TEE])).signal is None  # idle, and yet within the timeout
    assert one.step(400.0, left(drains=[TEE])) == Step(TERM, 0.05)
    assert one.ended_by == "timeout"


def test_watch_source_is_ended_before_what_it_feeds() -> None:
    one = watch()
    one.reaped(7, 0)
    one.step(101.0, left(sources=[SLEEP], fed=[TEE]))
    assert one.step(103.0, left(sources=[SLEEP], fed=[TEE])).pids == [10]
    assert one.step(103.1, left(drains=[TEE])).signal is None  # now it may come to its end
    assert one.ended == [SLEEP]


def test_watch_drain_that_closed_its_pipe_is_known() -> None:
    one = watch()
    one.reaped(7, 0)
    one.step(101.0, left(drains=[TEE]))
    assert one.drains == {8}


def test_a_stop_at_once_forces() -> None:
    one = watch()
    one.stop(101.0, at_once=False)
    assert one.step(101.0).signal == TERM
    one.stop(102.0, at_once=True)
    assert one.step(102.0).signal == KILL
    assert one.ended_by == "interrupted"


@pytest.mark.parametrize(
    ("status", "ended_by", "verdict"),
    [
        (0, None, (0, "exit")),
        (3 << 8, None, (3, "exit")),
        (255 << 8, None, (255, "exit")),
        (126 << 8, None, (126, "exit")),
        (127 << 8, None, (127, "exit")),
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
