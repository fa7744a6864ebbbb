"""The desk between an executor and a clerk, both played by the test. The wire is a real one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from sc.executor import Gauge, Task
from sc.model import Run
from sc.worker import messages
from sc.worker.desk import CLERKS, Desk
from sc.worker.pace import Pace
from sc.worker.wire import Wire, WireClosedError
from tests.fakes.memory_storage import Clock
from tests.fakes.office import OUT, outcome_of

Said = TypeVar("Said")
IDLE = Gauge((), 0, 0, "")


class PlayedClerk:
    """The other end of the line."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.wire = Wire(theirs)
        self.side = Wire(ours)
        self.heard: list[Any] = []

    def end(self, seconds: float) -> None:
        self.wire.close()

    def die(self) -> None:
        self.side.close()

    def say(self, *all_: object) -> None:
        for message in all_:
            self.side.send(message)

    def hear(self, kind: type[Said]) -> list[Said]:
        self.heard += self.side.receive()
        return [message for message in self.heard if isinstance(message, kind)]


class Room:
    """A desk, its clerks, and what it has said aloud."""

    def __init__(self, lingers: bool = True) -> None:
        self.clock = Clock()
        self.clerks: list[PlayedClerk] = []
        self.said: list[str] = []
        self.desk = Desk(self._start, self.said.append, self.clock, lingers)
        self.desk.begin(2)

    def _start(self) -> PlayedClerk:
        self.clerks.append(PlayedClerk())
        return self.clerks[-1]

    @property
    def clerk(self) -> PlayedClerk:
        return self.clerks[-1]

    def say(self, *all_: object) -> None:
        self.clerk.say(*all_)
        self.desk.read_news()

    def part(self, origin: int, runs: int = 2, until: float = 5000.0) -> messages.Part:
        made = tuple(Run("true", f"{OUT}/{origin}-{number}") for number in range(runs))
        return messages.Part(origin, origin + 100, made, 0, 0, until)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    with suppress(WireClosedError):
        room.say(messages.Farewell(False, 0, 0, 0, 0, ""))
    room.desk.close("left")
    for clerk in room.clerks:
        clerk.side.close()


def test_a_part_is_asked_for_once_when_nothing_waits(room: Room) -> None:
    assert room.desk.take() is None
    assert room.desk.take() is None
    assert len(room.clerk.hear(messages.Hungry)) == 1
    room.say(room.part(1))
    tasks = [room.desk.take(), room.desk.take()]
    assert [task.origin for task in tasks if task] == [1, 1]
    assert len(room.clerk.hear(messages.Hungry)) == 1
    assert room.desk.take() is None
    assert len(room.clerk.hear(messages.Hungry)) == 2
    assert not room.desk.is_over()


def test_the_end_comes_when_all_was_taken(room: Room) -> None:
    room.desk.take()
    room.say(room.part(1), messages.Over("that was all"))
    assert not room.desk.is_over()
    room.desk.take()
    room.desk.take()
    assert room.desk.is_over()
    assert room.said == ["that was all"]


def test_an_end_that_drops_takes_back_what_was_not_started(room: Room) -> None:
    room.say(room.part(1), messages.Over("spot", drops=True))
    assert room.desk.is_over()
    assert room.desk.take() is None
    assert not room.desk.is_stopping()
    room.say(messages.Halt("spot"))
    assert room.desk.is_stopping()


def ended_in(room: Room, seconds: float, runs: int) -> None:
    for _ in range(runs):
        task = room.desk.take()
        assert task is not None
        outcome = outcome_of(task.run, 0)._replace(started=1000.0, ended=1000.0 + seconds)
        room.desk.ended(task, outcome)


def test_a_hint_lets_a_worker_of_unknown_runs_start_none_and_leave(room: Room) -> None:
    """Nor does it stop what goes on."""
    room.say(room.part(1, runs=3))
    assert room.desk.take() is not None
    room.say(messages.Hurry("soon", 120.0))
    assert room.desk.take() is None
    assert room.desk.is_over()
    assert not room.desk.is_stopping()
    assert room.said == ["soon"]


def test_a_hint_lets_short_runs_go_on_part_after_part(room: Room) -> None:
    room.say(room.part(1, runs=7))
    ended_in(room, 5.0, runs=5)
    room.say(messages.Hurry("soon", 120.0), messages.Hurry("soon", 120.0))
    ended_in(room, 50.0, runs=2)
    assert room.desk.take() is None
    assert not room.desk.is_over()
    room.say(room.part(2))
    ended_in(room, 70.0, runs=2)
    room.say(room.part(3))  # the last ones have taken long
    assert room.desk.take() is None
    assert room.desk.is_over()
    assert room.said == ["soon"]


@pytest.mark.parametrize(
    ("facts", "is_started"),
    [
        ({"expected_time": 100.0}, True),
        ({"expected_time": 121.0}, False),
        ({"timeout": 100.0}, True),
        ({"timeout": 100.0, "retries": 1}, False),
        ({"timeout": 3600.0, "expected_time": 1.0}, True),
        ({}, False),
    ],
)
def test_a_hint_lets_runs_begin_that_are_said_to_be_short(
    room: Room, facts: dict[str, Any], is_started: bool
) -> None:
    room.say(messages.Hurry("soon", 120.0))
    part = room.part(1)
    room.say(part._replace(runs=tuple(run._replace(**facts) for run in part.runs)))
    assert (room.desk.take() is not None) == is_started
    assert room.desk.is_over() != is_started


def test_what_is_revoked_is_not_started_and_its_end_is_told(room: Room) -> None:
    room.say(room.part(1), room.part(2))
    first = room.desk.take()
    assert first is not None
    room.say(messages.Revoked(1))
    assert room.desk.revoked() == frozenset([1])
    second = room.desk.take()
    assert second is not None
    assert second.origin == 2
    room.desk.tick(Gauge(((0, first.run.remote_output_path, 1.0),), 0, 0, ""))
    assert room.clerk.hear(messages.Gone) == []
    room.desk.tick(IDLE)
    assert room.clerk.hear(messages.Gone) == [messages.Gone(1)]


def test_what_is_revoked_is_not_gone_while_it_is_stored(room: Room) -> None:
    room.say(room.part(1, until=room.clock.now + 10), room.part(2))
    room.clock.now += 11
    room.desk.tick(Gauge((), 2, 0, "no answer", (1, 2)))
    assert room.desk.revoked() == frozenset([1])
    assert room.clerk.hear(messages.Dropped) == [messages.Dropped(1)]
    assert room.clerk.hear(messages.Gone) == []
    room.desk.tick(Gauge((), 1, 0, "no answer", (2,)))
    assert room.clerk.hear(messages.Gone) == [messages.Gone(1)]


def test_what_nobody_has_renewed_is_stopped(room: Room) -> None:
    room.say(room.part(1, until=room.clock.now + 100))
    room.clock.now += 99
    room.desk.tick(IDLE)
    assert not room.desk.revoked()
    room.say(messages.Held(1, room.clock.now + 50))
    room.clock.now += 49
    room.desk.tick(IDLE)
    assert not room.desk.revoked()
    room.clock.now += 2
    room.desk.tick(IDLE)
    assert room.desk.revoked() == frozenset([1])
    assert room.clerk.hear(messages.Dropped) == [messages.Dropped(1)]
    assert not room.desk.is_stopping()


def test_an_outage_longer_than_the_lease_ends_a_worker_that_costs_money() -> None:
    room = Room(lingers=False)
    room.say(room.part(1, until=room.clock.now + 100))
    room.clock.now += 101
    room.desk.tick(IDLE)
    assert room.desk.is_stopping()
    assert "did not answer" in room.desk.why_stopping
    room.say(messages.Farewell(False, 0, 0, 0, 0, ""))
    room.desk.close("failed")
    room.clerk.side.close()


def test_a_new_clerk_is_told_everything(room: Room) -> None:
    room.say(room.part(1, runs=3), messages.RecordsKept(0, 4))
    for code in (0, 1):
        task = room.desk.take()
        assert task is not None
        room.desk.ended(task, outcome_of(task.run, code))
    assert len(room.clerk.hear(messages.RunEnded)) == 2
    room.say(messages.RecordsKept(1, 5))
    room.clerk.die()
    room.desk.read_news()
    assert len(room.clerks) == 2
    (prepared,) = room.clerk.hear(messages.Prepared)
    assert prepared.in_hand == (messages.InHand(1, 101, 1, 1, 1, ()),)
    assert [outcome.code for outcome in prepared.unsaved] == [1]
    assert (prepared.sequence, prepared.origins, prepared.tally[:3]) == (5, 1, (1, 1, 0))
    room.say(messages.RecordsKept(1, 6))
    room.clerk.die()
    room.desk.read_news()
    assert room.clerk.hear(messages.Prepared)[0].unsaved == ()


def test_a_clerk_that_dies_while_it_was_asked_is_asked_again(room: Room) -> None:
    room.desk.take()
    room.clerk.die()
    room.desk.read_news()
    assert len(room.clerk.hear(messages.Hungry)) == 1


def test_too_many_clerks_that_die_end_the_worker(room: Room) -> None:
    for _ in range(CLERKS):
        assert not room.desk.is_stopping()
        room.clerk.die()
        room.desk.read_news()
    assert room.desk.is_stopping()
    assert "has died" in room.desk.why_stopping
    assert len(room.clerks) == CLERKS


def test_a_clerk_that_does_not_read_holds_nobody_up(room: Room) -> None:
    task = Task(Run("true", f"{OUT}/x"), 1)
    for _ in range(5000):
        room.desk.ended(task, outcome_of(task.run, 0))
    heard = 0
    while heard < 5000:
        room.clerk.heard.clear()
        heard += len(room.clerk.hear(messages.RunEnded))
        room.desk.read_news()
    assert heard == 5000


def test_a_tick_reads_no_news(room: Room) -> None:
    room.clerk.say(room.part(1))
    room.desk.tick(IDLE)
    assert room.desk.take() is None
    room.desk.read_news()
    assert room.desk.take() is not None


def test_messages_of_any_size_come_whole() -> None:
    left, right = (Wire(end) for end in socket.socketpair())
    big = "x" * 3_000_000
    left.send(big)
    left.send("small")
    got: list[Any] = []
    while len(got) < 2:
        got += right.receive()
        left.flush()
    assert got == [big, "small"]
    left.close()
    with pytest.raises(WireClosedError):
        right.receive()
    right.close()


def test_long_runs_are_not_asked_for_early_and_short_ones_are() -> None:
    pace = Pace()
    assert pace.runs_while_asking(0.0) == 0
    for burst in range(6):
        for _ in range(8):
            pace.ended(10.0 * burst)
    assert pace.runs_while_asking(50.1) == 0
    pace = Pace()
    for number in range(200):
        pace.ended(number * 0.01)
    pace.came(0.1)
    assert 10 <= pace.runs_while_asking(2.0) <= 20
