"""Two starts of one job, on one machine or two, that come at any moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

import pytest

from sc import paths
from sc.errors import BusyError, StorageError
from sc.holder import Holder
from sc.leases import TIMES
from sc.start_lease import StartLease
from tests.fakes.memory_storage import Clock, MemoryStorage

URL = "s3://bucket/out/.sc/job"
PLACE = paths.starting(URL)


@dataclass
class World:
    """A storage, its clock, and what is known of processes, by their host."""

    clock: Clock = field(default_factory=Clock)
    known: dict[str, bool] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.storage = MemoryStorage(self.clock)

    def start(self, host: str, storage: Optional[MemoryStorage] = None) -> StartLease:
        return StartLease(
            storage or self.storage,
            URL,
            f"nonce-{host}",
            Holder(host, "ann", 7, 1000.0),
            self.clock,
            self._pause,
            is_alive=lambda holder: self.known.get(holder.host),
        )

    def _pause(self, seconds: float) -> None:
        self.clock.now += seconds
        self.meanwhile()

    def acquired(self, host: str) -> StartLease:
        lease = self.start(host)
        lease.acquire(self.said.append)
        return lease


def test_lease_says_who_is_starting_and_is_gone_at_the_end() -> None:
    world = World()
    lease = world.acquired("here")
    told = json.loads(world.storage.objects[PLACE])
    assert {**told, "renewals": 0} == {
        "nonce": "nonce-here",
        "state": "running",
        "renewals": 0,
        **Holder("here", "ann", 7, 1000.0)._asdict(),
    }
    lease.release()
    assert world.storage.objects == {}
    world.acquired("here").release()


@pytest.mark.parametrize("step", ["look", "acquire"])
def test_second_start_on_one_machine_is_refused_at_once_and_changes_nothing(step: str) -> None:
    world = World(known={"here": True})
    first = world.acquired("here")
    before = dict(world.storage.objects)
    with pytest.raises(
        BusyError, match=r"under way, by ann@here \(process 7\) since .*nothing was"
    ):
        getattr(world.start("too"), step)(world.said.append)
    assert (world.storage.objects, world.clock.now) == (before, 1000.0)
    first.check()


def test_second_start_elsewhere_is_refused_when_the_first_has_renewed() -> None:
    world = World()
    first = world.acquired("there")
    world.meanwhile = first.check
    with pytest.raises(BusyError, match="by ann@there"):
        world.start("here").acquire(world.said.append)
    assert world.clock.now < 1000 + TIMES.lease_seconds
    assert len(world.said) == 1
    assert "which may have died: waiting until that is known, at most 60 s" in world.said[0]
    first.check()


def test_start_whose_process_has_died_here_is_taken_over_at_once() -> None:
    world = World(known={"here": False})
    world.acquired("here")
    second = world.acquired("too")
    assert world.clock.now == 1000.0
    assert json.loads(world.storage.objects[PLACE])["nonce"] == "nonce-too"
    second.check()


def test_start_that_has_died_elsewhere_is_taken_over_when_its_lease_is_over() -> None:
    world = World()
    world.acquired("there")
    world.acquired("here")
    assert TIMES.lease_seconds <= world.clock.now - 1000 <= TIMES.lease_seconds + 5
    world.clock.now += TIMES.lease_seconds + 1
    before = world.clock.now
    world.acquired("elsewhere")
    assert world.clock.now == before


def test_start_that_was_away_finds_out_and_takes_nothing_away() -> None:
    world = World()
    first = world.acquired("there")
    world.clock.now += TIMES.lease_seconds + 1
    second = world.acquired("here")
    with pytest.raises(BusyError, match="was away for longer than its lease"):
        first.check()
    assert first.is_lost
    first.release()
    second.check()
    assert json.loads(world.storage.objects[PLACE])["nonce"] == "nonce-here"
    second.release()
    with pytest.raises(BusyError):
        first.check()


def test_start_that_was_away_goes_on_if_nobody_came() -> None:
    world = World()
    first = world.acquired("there")
    world.clock.now += 10 * TIMES.lease_seconds
    first.check()
    world.known["there"] = True
    with pytest.raises(BusyError):
        world.start("here").look(world.said.append)


@pytest.mark.parametrize("call", ["create", "replace"])
def test_write_whose_answer_was_lost_is_known_as_ones_own(call: str) -> None:
    world = World()
    world.storage.loses_answers_of.add(call)
    lease = world.acquired("here")
    world.clock.now += TIMES.renew_seconds + 1
    lease.check()
    world.clock.now += TIMES.renew_seconds + 1
    lease.check()


def test_outage_is_no_loss_and_the_end_of_a_start_never_raises() -> None:
    world = World()
    lease = world.acquired("here")
    world.clock.now += TIMES.renew_seconds + 1
    world.storage.is_down = True
    with pytest.raises(StorageError):
        lease.check()
    assert not lease.is_lost
    lease.release()
    world.storage.is_down = False
    world.clock.now += TIMES.lease_seconds + 1
    world.acquired("there")


def test_of_many_that_take_over_one_succeeds() -> None:
    """Each looks, and between its look and its write another one takes the place."""
    world = World(known={"here": False})
    world.acquired("here")
    real = world.storage.replace
    others: list[StartLease] = []

    def late(place: str, data: bytes, tag: str) -> Optional[str]:
        world.storage.replace = real  # type: ignore[method-assign]
        world.known["other"] = True
        others.append(world.acquired("other"))
        return real(place, data, tag)

    world.storage.replace = late  # type: ignore[method-assign]
    with pytest.raises(BusyError, match="by ann@other"):
        world.start("third").acquire(world.said.append)
    others[0].check()


def test_what_stands_there_and_cannot_be_read_is_somebody_until_it_is_old() -> None:
    world = World()
    world.storage.put(PLACE, b"\xff{not json")
    world.acquired("here")
    assert world.clock.now - 1000 >= TIMES.lease_seconds
