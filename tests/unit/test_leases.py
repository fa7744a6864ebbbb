"""Who has which runs: every order in which those who want the same can come in, and what becomes of the dead."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, Optional

import pytest

from sc import paths
from sc.errors import BusyError, MissingError
from sc.glances import Glance
from sc.holder import Holder
from sc.leases import Claimant, Lease, Runs, lease_of, others, renew
from sc.staging import Job
from sc.widths import OPEN, Width
from tests.fakes.memory_storage import Clock, MemoryStorage

PLACE = "s3://bucket/out"
ME = Holder("laptop", "ada", 4711, 1.7e9, 7, "boot", 5)
LEASE = 60.0


def unheard(line: str) -> None:
    """What is said while somebody waits."""


@dataclass
class Actors:
    """Several threads of which one goes on at a time: after each step the next may be another's."""

    choose: Callable[[Sequence[int]], int]

    def run(self, actors: Sequence[Callable[[Callable[[], None]], None]]) -> None:
        done: list[bool] = [False] * len(actors)
        goes = [threading.Semaphore(0) for _ in actors]
        back = threading.Semaphore(0)

        def start(number: int) -> None:
            def step() -> None:
                back.release()
                goes[number].acquire()

            goes[number].acquire()
            try:
                actors[number](step)
            finally:
                done[number] = True
                back.release()

        threads = [threading.Thread(target=start, args=(n,), daemon=True) for n in range(len(done))]
        for thread in threads:
            thread.start()
        while not all(done):
            goes[self.choose([n for n, is_done in enumerate(done) if not is_done])].release()
            assert back.acquire(timeout=30)
        for thread in threads:
            thread.join()


class Stepping(MemoryStorage):
    """Others may do something before each request that can matter."""

    def __init__(self, shared: MemoryStorage, step: Callable[[], None]) -> None:
        self.__dict__.update(shared.__dict__)
        self._step = step

    def put(self, place: str, data: bytes, width: Width = OPEN) -> str:
        if not place.endswith(".runs"):
            self._step()
        return super().put(place, data)

    def get(self, place: str, start: int = 0) -> bytes:
        if not place.endswith(".runs"):
            self._step()
        return super().get(place, start)

    def list(self, place: str, start_after: str = "", end_before: str = "") -> Iterator[Any]:
        self._step()
        return iter([*super().list(place, start_after, end_before)])

    def list_folders(self, place: str) -> Iterator[str]:
        self._step()
        return iter([*super().list_folders(place)])

    def delete(self, places: Any) -> None:
        self._step()
        super().delete(places)


def claimant(
    storage: MemoryStorage,
    execution: str,
    runs: Sequence[str] = ("0", "1"),
    name: str = "batch",
    alive: Optional[bool] = True,
    **more: Any,
) -> Claimant:
    def pause(seconds: float) -> None:
        storage.clock.now += seconds

    return Claimant(
        storage,
        paths.job(PLACE, name),
        Lease(execution, replace_holder(execution)),
        Runs(PLACE, lambda: [f"{PLACE}/{run}" for run in runs]),
        storage.clock,
        pause,
        lambda holder: alive,
        **more,
    )


def replace_holder(user: str) -> Holder:
    return ME._replace(user=user)


def schedules(length: int, actors: int) -> Iterator[tuple[int, ...]]:
    return product(range(actors), repeat=length)


def in_order(schedule: Sequence[int]) -> Callable[[Sequence[int]], int]:
    """Whose turn it is; when the schedule is over, in turn."""
    rest, turn = iter(schedule), [0]

    def choose(left: Sequence[int]) -> int:
        turn[0] += 1
        return left[next(rest, turn[0]) % len(left)]

    return choose


def come_in(
    storage: MemoryStorage, names: Sequence[str], choose: Callable[[Sequence[int]], int]
) -> list[str]:
    """Who got in, of several that want the same runs; everyone else has to be refused."""
    inside: list[str] = []
    refused: list[str] = []

    def actor(name: str) -> Callable[[Callable[[], None]], None]:
        def act(step: Callable[[], None]) -> None:
            try:
                claimant(Stepping(storage, step), name, name=f"job-{name}").acquire(unheard)
                inside.append(name)
            except BusyError:
                refused.append(name)

        return act

    Actors(choose).run([actor(name) for name in names])
    assert sorted(inside + refused) == sorted(names)
    return inside


def test_of_two_that_want_the_same_exactly_one_comes_in_whatever_the_order() -> None:
    # Five steps are all that one needs for its way in. Those who still wait after these ten go on in turn.
    for schedule in schedules(10, 2):
        storage = MemoryStorage(Clock())
        assert len(come_in(storage, ("a", "b"), in_order(schedule))) == 1, schedule


@pytest.mark.parametrize("seed", range(60))
def test_of_many_that_want_the_same_exactly_one_comes_in(seed: int) -> None:
    storage, draw = MemoryStorage(Clock()), random.Random(seed)
    names = [f"{number}" for number in range(draw.randint(3, 6))]
    assert len(come_in(storage, names, draw.choice)) == 1


def test_who_was_away_and_who_came_meanwhile_never_both_go_on() -> None:
    for schedule in schedules(10, 2):
        storage = MemoryStorage(Clock())
        away = claimant(storage, "a", name="job-a")
        away.acquire(unheard)
        storage.clock.now += LEASE + 1
        assert len(both_come_in(storage, in_order(schedule))) == 1, schedule


def both_come_in(storage: MemoryStorage, choose: Callable[[Sequence[int]], int]) -> list[str]:
    """`a` comes back, `b` comes: who has the runs then."""
    inside: list[str] = []

    def act(name: str, going_in: Callable[[Claimant], object], step: Callable[[], None]) -> None:
        mine = claimant(Stepping(storage, step), name, name=f"job-{name}")
        mine.lease = replace(mine.lease, renewals=7)
        try:
            going_in(mine)
            inside.append(name)
        except BusyError:
            mine.release()

    back = partial(act, "a", lambda mine: mine.come_back())
    new = partial(act, "b", lambda mine: mine.acquire(unheard))
    Actors(choose).run([back, new])
    return inside


def test_different_runs_of_one_place_go_side_by_side(storage: MemoryStorage) -> None:
    claimant(storage, "a", ("0", "1")).acquire(unheard)
    claimant(storage, "b", ("2", "10")).acquire(unheard)
    claimant(storage, "c", ("3",), name="other").acquire(unheard)
    with pytest.raises(BusyError):
        claimant(storage, "d", ("4", "10")).acquire(unheard)


def test_the_refusal_says_which_run_who_since_when_and_what_to_do(storage: MemoryStorage) -> None:
    claimant(storage, "ada", ("0", "1", "2")).acquire(unheard)
    before = dict(storage.objects)
    with pytest.raises(BusyError) as refused:
        claimant(storage, "b", ("7", "2", "1")).acquire(unheard)
    text = str(refused.value)
    assert text.startswith(f"{PLACE}/2 and 1 more of these runs are being executed by ada@laptop")
    assert "(process 4711) since 20" in text
    assert "wait for its end, or stop it there; nothing was changed here" in text
    assert storage.objects == before


def test_one_that_has_been_given_up_is_in_nobodys_way(storage: MemoryStorage) -> None:
    first = claimant(storage, "a")
    first.acquire(unheard)
    first.release()
    assert storage.objects == {}
    claimant(storage, "b").acquire(unheard)


def test_one_that_is_dead_here_is_removed_at_once(storage: MemoryStorage) -> None:
    claimant(storage, "a").acquire(unheard)
    began = storage.clock.now
    claimant(storage, "b", alive=False).acquire(unheard)
    assert storage.clock.now == began
    assert [other.execution for other in others(storage, PLACE)] == ["b"]


def test_one_that_may_have_died_elsewhere_is_waited_for_until_its_lease_is_over(
    storage: MemoryStorage,
) -> None:
    claimant(storage, "a").acquire(unheard)
    began, told = storage.clock.now, list[str]()
    claimant(storage, "b", alive=None).acquire(told.append)
    assert LEASE < storage.clock.now - began < LEASE + 5
    assert len(told) == 1
    assert "a@laptop" in told[0]
    assert "may have died" in told[0]


def test_one_that_is_alive_elsewhere_is_known_by_its_next_renewal(storage: MemoryStorage) -> None:
    one = claimant(storage, "a")
    one.acquire(unheard)
    other, began = claimant(storage, "b", alive=None), storage.clock.now

    def pause(seconds: float) -> None:
        storage.clock.now += seconds
        if storage.clock.now - began > 15:
            lease = replace(one.lease, renewals=99)
            renew(storage, PLACE, one.url, lease, False, storage.clock, pause)

    other.pause = pause
    with pytest.raises(BusyError):
        other.acquire(unheard)
    assert storage.clock.now - began < 20


def test_a_storage_whose_clock_stands_still_is_not_waited_for_for_ever(clock: Clock) -> None:
    storage = MemoryStorage(clock)
    claimant(storage, "a").acquire(unheard)
    other, mine = claimant(storage, "b", alive=None), Clock()
    other.clock = mine

    def pause(seconds: float) -> None:
        mine.now += seconds

    other.pause = pause
    other.acquire(unheard)
    assert mine.now - 1000.0 < 2 * LEASE


def test_what_was_left_a_day_ago_is_removed(storage: MemoryStorage) -> None:
    claimant(storage, "a").acquire(unheard)
    storage.clock.now += 86400 + 1
    claimant(storage, "b", ("other",)).acquire(unheard)
    assert [other.execution for other in others(storage, PLACE)] == ["b"]


def test_a_run_is_the_same_whatever_its_place_is_called(storage: MemoryStorage) -> None:
    names = Runs("file:///mnt/out", lambda: ["/mnt/out/0", "/elsewhere/1"])
    same = Runs("/mnt/out/", lambda: ["/mnt/out/0", "/elsewhere/1"])
    mounted = Runs("sfs://ada/out", lambda: ["sfs://ada/out/0"])
    assert names.to_index().to_bytes() == same.to_index().to_bytes()
    assert len([*names.to_index().shared(mounted.to_index().to_bytes())]) == 1


def test_a_renewal_looks_around_when_the_storage_says_that_it_is_late(
    storage: MemoryStorage,
) -> None:
    one = claimant(storage, "a")
    one.acquire(unheard)

    def keep(is_late: bool = False) -> None:
        lease = replace(one.lease, renewals=one.lease.renewals + 1)
        renew(storage, PLACE, one.url, lease, is_late, storage.clock, one.pause)

    storage.requests.clear()
    storage.clock.now += 15
    keep()
    assert storage.requests == {"stat": 1, "put": 1}
    storage.clock.now += LEASE + 1
    keep()
    assert storage.requests["list"] > 0
    storage.clock.now += LEASE + 1
    claimant(storage, "b").acquire(unheard)
    with pytest.raises(BusyError):
        renew(storage, PLACE, one.url, one.lease, False, storage.clock, pause_beside_b(storage))
    assert [other.execution for other in others(storage, PLACE)] == ["b"]


def pause_beside_b(storage: MemoryStorage) -> Callable[[float], None]:
    """`b` renews in each pause."""

    def pause(seconds: float) -> None:
        storage.clock.now += seconds
        lease = Lease("b", ME, "running", int(storage.clock.now * 1000))
        storage.put(paths.lease(paths.job(PLACE, "batch"), "b"), lease.to_bytes())

    return pause


def test_who_was_away_is_refused_also_if_the_other_has_left(storage: MemoryStorage) -> None:
    one = claimant(storage, "a")
    one.acquire(unheard)
    storage.clock.now += LEASE + 1
    claimant(storage, "x", ("other",)).acquire(unheard)
    keep = partial(renew, storage, PLACE, one.url, one.lease)
    keep(True, storage.clock, one.pause)
    storage.clock.now += LEASE + 1
    other = claimant(storage, "b", ("1",))
    other.acquire(unheard)
    other.release()
    with pytest.raises(BusyError, match="somebody else has executed some of its runs meanwhile"):
        keep(True, storage.clock, one.pause)
    assert {other.execution for other in others(storage, PLACE)} == {"x"}
    with pytest.raises(BusyError, match="has gone while this execution was away"):
        keep(True, storage.clock, one.pause)


def test_a_lease_of_which_everything_was_removed_is_written_again(storage: MemoryStorage) -> None:
    one = claimant(storage, "a")
    one.acquire(unheard)
    storage.delete([*storage.objects])
    renew(storage, PLACE, one.url, one.lease, False, storage.clock, one.pause)
    assert [other.execution for other in others(storage, PLACE)] == ["a"]


def test_a_way_in_takes_a_handful_of_requests(storage: MemoryStorage) -> None:
    one = claimant(storage, "a")
    one.acquire(unheard)
    one.release()
    assert storage.requests == {"put": 3, "list": 3, "delete": 1}


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1]", b'{"state": "running"}', b'{"state": "x", "renewals": -1, "host": 3}'],
)
def test_a_lease_that_cannot_be_read_is_somebodys(data: bytes) -> None:
    lease = lease_of("x", data)
    assert lease.state == "running"
    assert str(lease.holder) == "somebody@another machine (process 0)"


def test_a_lease_is_read_as_it_was_written() -> None:
    lease = Lease("x", ME, "starting", 3)
    assert lease_of("x", lease.to_bytes()) == lease


# Jobs


def start_job(storage: MemoryStorage, runs: Sequence[str], name: str = "job") -> None:
    claimant(storage, f"{name}-1", runs, name, starts_job=True).acquire_for_job(unheard)


def beat(storage: MemoryStorage, state: str = "working", name: str = "job") -> None:
    glance = Glance("worker-1", state, running=1)
    place = paths.join(paths.glances(paths.job(PLACE, name)), glance.to_name())
    storage.put(place, b"")


def test_a_job_has_its_runs_while_its_workers_say_something(storage: MemoryStorage) -> None:
    start_job(storage, ("0", "1"))
    with pytest.raises(BusyError, match=r"by the job .*/\.sc/job, which .* 'sc stop "):
        claimant(storage, "a").acquire(unheard)
    storage.clock.now += 3600
    beat(storage)
    with pytest.raises(BusyError):
        claimant(storage, "a").acquire(unheard)
    claimant(storage, "b", ("2",)).acquire(unheard)
    beat(storage, "left")
    claimant(storage, "a").acquire(unheard)


def test_a_job_whose_machines_never_came_is_in_the_way_for_some_minutes_only(
    storage: MemoryStorage,
) -> None:
    start_job(storage, ("0",))
    storage.clock.now += 700
    claimant(storage, "a", ("0",)).acquire(unheard)


def test_a_job_that_was_stopped_before_a_worker_came_is_in_nobodys_way(
    storage: MemoryStorage,
) -> None:
    start_job(storage, ("0",))
    storage.put(paths.stop(paths.job(PLACE, "job")), b"")
    claimant(storage, "a", ("0",)).acquire(unheard)


def test_what_has_ended_since_the_job_was_started_may_be_done_again(storage: MemoryStorage) -> None:
    storage.put(f"{PLACE}/1/status_code", b"1")
    storage.clock.now += 10
    start_job(storage, ("0", "1"))
    storage.clock.now += 10
    storage.put(f"{PLACE}/0/status_code", b"1")
    beat(storage)
    claimant(storage, "a", ("0",)).acquire(unheard)
    with pytest.raises(BusyError, match=r"out/1 is being"):
        claimant(storage, "b", ("1",)).acquire(unheard)


def test_a_job_whose_parts_are_all_done_is_in_nobodys_way(storage: MemoryStorage) -> None:
    """Its workers say goodbye a moment later; what an earlier job of its name has done does not count."""
    url = paths.job(PLACE, "job")
    storage.put(paths.recipe(url), Job("job", PLACE, parts=2, runs=2).to_bytes())
    storage.put(paths.done(url, 0), b"")
    storage.clock.now += 1
    start_job(storage, ("0", "1"))
    storage.clock.now += 0.1
    beat(storage)
    storage.put(paths.done(url, 1), b"")
    with pytest.raises(BusyError):
        claimant(storage, "a", ("0",)).acquire(unheard)
    storage.put(paths.done(url, 0), b"")
    claimant(storage, "b", ("0",)).acquire(unheard)


def test_a_job_is_refused_its_runs_while_a_batch_or_another_job_has_them(
    storage: MemoryStorage,
) -> None:
    claimant(storage, "a", ("0",)).acquire(unheard)
    with pytest.raises(BusyError, match="a@laptop"):
        start_job(storage, ("0", "5"))
    start_job(storage, ("1",))
    with pytest.raises(BusyError, match="the job"):
        start_job(storage, ("1", "6"), name="second")
    start_job(storage, ("1",))  # of the same name: its fleet has been asked
    jobs = [(other.url, other.kind) for other in others(storage, PLACE) if other.kind == "job"]
    assert jobs == [(paths.job(PLACE, "job"), "job")]


def test_what_a_lease_names_and_is_gone_is_passed_over(storage: MemoryStorage) -> None:
    one = claimant(storage, "a")
    one.acquire(unheard)
    storage.delete([paths.leased_runs(one.url, "a")])
    claimant(storage, "b").acquire(unheard)
    with pytest.raises(MissingError):
        storage.get(paths.leased_runs(one.url, "a"))
