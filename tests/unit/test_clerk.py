"""What a clerk does, told as stories over a storage in memory."""

from __future__ import annotations

import heapq
import json
from random import Random
from typing import Any, Optional

import pytest

from sc import claims, paths
from sc.errors import StorageError
from sc.heartbeats import heartbeat_of
from sc.widths import OPEN, Width
from sc.worker import messages
from sc.worker.identity import NEAR, Leave
from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.fakes.office import JOB, OUT, Office, new_job, outcome_of, part_bytes, runs_of_part


def opened(storage: MemoryStorage, name: str = "w", **more: Any) -> Office:
    office = Office(storage, name, **more)
    office.begin()
    return office


def heartbeat(storage: MemoryStorage, name: str = "w") -> Any:
    found = heartbeat_of(storage.get(paths.heartbeat(JOB, name)))
    assert found is not None
    return found


def done(storage: MemoryStorage) -> dict[int, Any]:
    return {
        int(entry.place.rsplit("/", 1)[-1]): claims.read_done_note(storage.get(entry.place))
        for entry in storage.list(paths.join(JOB, "done"))
    }


def test_a_job_from_the_first_part_to_the_last() -> None:
    storage = new_job(parts=3)
    office = opened(storage)
    assert [one.job.parts for one in office.all(messages.JobFound)] == [3]
    for _ in range(3):
        part = office.part()
        for number, run in enumerate(part.runs):
            office.end(part, run, code=number)
    assert office.ask() is None
    (over,) = office.all(messages.Over)
    assert not over.drops
    office.tell(messages.Goodbye("left"))
    (farewell,) = office.all(messages.Farewell)
    assert farewell == messages.Farewell(True, 3, 3, 0, 0, "")
    assert done(storage) == dict.fromkeys(range(3), claims.DoneNote(1, 1))
    assert heartbeat(storage).state == "left"
    assert (heartbeat(storage).completed, heartbeat(storage).failed) == (3, 3)
    assert office.machine.proofs == 1


def test_records_are_there_before_done() -> None:
    storage = new_job(parts=1)
    office = opened(storage)
    part = office.part()
    places: list[str] = []
    put = storage.put

    def noted(place: str, data: bytes, width: Width = OPEN) -> str:
        places.append(place)
        return put(place, data, width)

    storage.put = noted  # type: ignore[method-assign]
    for run in part.runs:
        office.end(part, run)
    kinds = [place.split("/")[-2] for place in places if place.startswith(JOB)]
    assert kinds == ["records", "done"]
    lines = storage.get(paths.records(JOB, "w", 0)).decode().splitlines()
    assert [json.loads(line)["remote_output_path"] for line in lines] == [
        run.remote_output_path for run in part.runs
    ]


def test_old_codes_are_gone_before_the_runs_come() -> None:
    storage = new_job(parts=1)
    for run in runs_of_part(0, 2):
        storage.put(f"{run.remote_output_path}/status_code", b"0")
    office = opened(storage)
    office.part()
    assert not [place for place in storage.objects if place.endswith("status_code")]


def test_old_outputs_are_gone_before_the_runs_come() -> None:
    storage = new_job(parts=2)
    for run in (*runs_of_part(0, 2), *runs_of_part(1, 2)):
        for name in ("status_code", "stdout", "results/a", "attempts/1/stdout", "notes"):
            storage.put(f"{run.remote_output_path}/{name}", b"0")
    part = opened(storage).part()
    assert {place for place in storage.objects if not place.startswith(JOB)} == {
        f"{run.remote_output_path}/{name}"
        for number in range(2)
        for run in runs_of_part(number, 2)
        for name in ("status_code", "stdout", "results/a", "attempts/1/stdout", "notes")
        if number != part.part or name == "notes"
    }


def test_a_part_over_an_old_place_costs_one_list_where_nothing_lies() -> None:
    lists = []
    for is_fresh in (True, False):
        storage = new_job(parts=10, is_fresh=is_fresh, scale=1)
        office = opened(storage)
        before = storage.requests.copy()
        for _ in range(10):
            office.part()
        lists.append(storage.requests["list"] - before["list"])
        assert storage.requests["delete"] == before["delete"]
    assert lists[1] - lists[0] == 10


def test_what_a_lost_machine_left_of_unfinished_runs_is_removed() -> None:
    storage = new_job(parts=1, runs=3, is_fresh=True)
    first = opened(storage, "lost")
    part = first.part()
    for run in part.runs[:2]:
        for name in ("stdout", "results/a", "attempts/1/stdout"):
            storage.put(f"{run.remote_output_path}/{name}", b"0")
    first.end(part, part.runs[0])
    storage.clock.now += 200
    rest = opened(storage, "second").part()
    assert rest.runs == part.runs[1:]
    left = {place for place in storage.objects if not place.startswith(JOB)}
    ended = part.runs[0].remote_output_path
    assert left == {
        f"{ended}/{name}" for name in ("stdout", "results/a", "attempts/1/stdout", "status_code")
    }


def test_where_nothing_was_before_nothing_is_asked_to_be_removed() -> None:
    storage = new_job(parts=1, is_fresh=True)
    office = opened(storage)
    before = storage.requests["delete"]
    office.part()
    assert storage.requests["delete"] == before


def test_the_requests_of_a_part() -> None:
    storage = new_job(parts=200, is_fresh=True, scale=1)
    office = opened(storage)
    before = sum(storage.requests.values())
    for _ in range(200):
        part = office.part()
        for run in part.runs:
            office.tell(messages.RunEnded(part.origin, outcome_of(run, 0)))
    # create, get, records, done
    assert sum(storage.requests.values()) - before <= 200 * 4 + 10


def test_claims_are_renewed_in_time() -> None:
    storage = new_job(parts=1)
    office = opened(storage)
    part = office.part()
    for _ in range(20):
        office.pass_time(30)
        entry = storage.stat(paths.claim(JOB, 0))
        assert entry is not None
        assert entry.age_seconds <= 45
        assert office.all(messages.Held)[-1].until > storage.clock.now
    assert all(held.origin == part.origin for held in office.all(messages.Held))


def test_a_part_that_somebody_else_has_is_revoked() -> None:
    storage = new_job(parts=1)
    office = opened(storage)
    part = office.part()
    entry = storage.stat(paths.claim(JOB, 0))
    assert entry is not None
    claims.take_over(storage, JOB, 0, entry.tag, "thief", "n")
    office.pass_time(60)
    assert office.all(messages.Revoked) == [messages.Revoked(part.origin)]
    office.tell(messages.Gone(part.origin))
    office.tell(messages.Goodbye("left"))
    assert not office.all(messages.Farewell)[0].is_job_over
    after = storage.get(paths.claim(JOB, 0))
    assert b"thief" in after


def test_an_outage_loses_nothing_and_the_desk_decides() -> None:
    storage = new_job(parts=2)
    office = opened(storage)
    part = office.part()
    storage.is_down = True
    office.pass_time(300)
    for run in part.runs:
        office.tell(messages.RunEnded(part.origin, outcome_of(run, 0)))
    storage.is_down = False
    office.pass_time(30)
    assert done(storage)[part.part].completed == 2


def test_a_storage_that_is_gone_is_not_waited_for_for_ever() -> None:
    storage = new_job(parts=1)
    office = opened(storage, habits=NEAR.that(lingers=True))
    office.part()
    storage.is_down = True
    office.pass_time(3000)
    assert not office.all(messages.Refused)
    office.pass_time(700)
    assert office.all(messages.Refused)


def test_a_part_that_was_dropped_is_given_back_when_nothing_of_it_goes_on() -> None:
    storage = new_job(parts=1)
    office = opened(storage, habits=NEAR.that(lingers=True))
    part = office.part()
    office.tell(messages.Hungry(), messages.Dropped(part.origin))
    assert len(office.all(messages.Part)) == 1
    office.tell(messages.Gone(part.origin))
    office.pass_time(40)
    again = office.all(messages.Part)[-1]
    assert (again.part, again.origin) == (0, part.origin + 1)


def test_stop_halts() -> None:
    storage = new_job(parts=2)
    office = opened(storage)
    part = office.part()
    storage.put(paths.stop(JOB), b"")
    office.pass_time(25)
    assert len(office.all(messages.Halt)) == 1
    assert office.all(messages.Over)[0].drops
    office.tell(messages.Goodbye("left"))
    assert office.all(messages.Farewell)[0].is_job_over
    (entry,) = storage.list(paths.join(JOB, "claims"))
    assert claims.is_free(entry)
    assert part.part == int(entry.place[-1])


def test_a_notice_of_the_machine_stops_what_goes_on() -> None:
    office = opened(new_job(parts=2))
    office.part()
    office.machine.leave = Leave("AWS takes it", is_certain=True)
    office.pass_time(6)
    assert len(office.all(messages.Halt)) == 1
    assert [over.drops for over in office.all(messages.Over)] == [True]
    assert office.ask() is None


def test_a_hint_that_the_machine_may_go_is_told_once_and_stops_nothing() -> None:
    office = opened(new_job(parts=2))
    office.part()
    office.machine.leave = Leave("AWS may take it", is_certain=False)
    office.pass_time(30)
    assert office.all(messages.Hurry) == [messages.Hurry("AWS may take it", 120.0)]
    assert [*office.all(messages.Halt), *office.all(messages.Over)] == []
    assert office.part() is not None  # which runs are short the desk knows
    office.machine.leave = Leave("AWS takes it", is_certain=True)
    office.pass_time(6)
    assert len(office.all(messages.Halt)) == 1


def test_clerk_that_gives_way_tells_whether_there_is_work_for_another() -> None:
    storage = new_job(parts=2)
    first, second = opened(storage, "first"), opened(storage, "second")
    other = second.part()
    part = first.part()
    for run in part.runs:
        first.end(part, run)
    first.tell(messages.Goodbye("left", gives_way=True))
    (farewell,) = first.all(messages.Farewell)
    assert (farewell.is_job_over, farewell.is_work_left) == (False, False)
    third = opened(storage, "third")
    second.tell(messages.Goodbye("left", gives_way=True))  # its runs have not ended
    (farewell,) = second.all(messages.Farewell)
    assert (farewell.is_job_over, farewell.is_work_left) == (False, True)
    assert third.part().part == other.part
    for run in other.runs:
        third.end(third.all(messages.Part)[0], run)
    third.tell(messages.Goodbye("left", gives_way=True))
    (farewell,) = third.all(messages.Farewell)
    assert (farewell.is_job_over, farewell.is_work_left) == (True, False)


def test_clerk_gives_signs_of_life_only_while_the_desk_does_and_parts_were_taken() -> None:
    office = opened(new_job(parts=2))
    office.tell(messages.Pulse((), 0, 0, ""))
    assert office.machine.signs == 0
    office.part()
    for _ in range(100):
        office.tell(messages.Pulse((), 0, 0, ""))
        office.pass_time(2)
    assert office.machine.signs == 4
    office.pass_time(3600)
    assert office.machine.signs == 4


def test_claims_given_back_are_taken_at_once_and_finished_runs_are_not_done_again() -> None:
    storage = new_job(parts=1, runs=4)
    first = opened(storage, "first")
    part = first.part()
    first.end(part, part.runs[0], code=0)
    first.end(part, part.runs[1], code=3)
    first.tell(
        messages.RunEnded(
            part.origin, outcome_of(part.runs[2], 0)._replace(code=None, cause="interrupted")
        ),
        messages.Goodbye("interrupted"),
    )
    second = opened(storage, "second")
    rest = second.part()
    assert [run.remote_output_path for run in rest.runs] == [
        run.remote_output_path for run in part.runs[2:]
    ]
    assert (rest.completed, rest.failed) == (1, 1)
    for run in rest.runs:
        second.end(rest, run)
    assert done(storage) == {0: claims.DoneNote(3, 1)}


def test_a_code_older_than_the_job_is_no_result_of_it() -> None:
    storage = MemoryStorage(Clock())
    for run in runs_of_part(0, 2):
        storage.put(f"{run.remote_output_path}/status_code", b"0")
    storage.clock.now += 100
    later = new_job(parts=1)
    for place in [place for place in storage.objects if place.endswith("status_code")]:
        later.put(place, b"0")
        later.times[place] = storage.times[place]
    # The first holder dies between its claim and its first deed.
    assert claims.take(later, JOB, 0, "dead", "n") is not None
    later.clock.now += 130
    office = opened(later)
    assert len(office.part().runs) == 2


def test_a_newcomer_waits_for_the_lease_of_a_lost_machine() -> None:
    storage = new_job(parts=1)
    opened(storage, "lost").part()
    storage.clock.now += 60
    office = opened(storage, "newcomer")
    assert office.ask() is None
    office.pass_time(90)
    (part,) = office.all(messages.Part)
    assert part.part == 0
    assert not office.all(messages.Over)


def test_a_newcomer_leaves_when_all_claims_are_alive() -> None:
    storage = new_job(parts=1)
    holder = opened(storage, "holder")
    holder.part()
    office = opened(storage, "newcomer")
    assert office.ask() is None
    assert not office.all(messages.Over)
    for _ in range(6):
        holder.pass_time(10)
        office.step()
    assert len(office.all(messages.Over)) == 1


def test_who_has_worked_leaves_at_once_when_others_are_at_the_rest() -> None:
    storage = new_job(parts=2)
    other = opened(storage, "other")
    other.part()
    office = opened(storage, "w")
    part = office.part()
    assert office.ask() is None
    for _ in range(6):
        other.pass_time(10)
        office.step()
    assert not office.all(messages.Over)
    for run in part.runs:
        office.end(part, run)
    assert len(office.all(messages.Over)) == 1
    office.tell(messages.Goodbye("left"))
    assert not office.all(messages.Farewell)[0].is_job_over


def test_a_newcomer_that_found_work_still_waits_for_what_a_lost_machine_held() -> None:
    storage = new_job(parts=2)
    opened(storage, "lost").part()
    storage.clock.now += 20
    office = opened(storage, "w")
    part = office.part()
    for run in part.runs:
        office.end(part, run)
    assert office.ask() is None
    assert not office.all(messages.Over)
    office.pass_time(130)
    assert len(office.all(messages.Part)) == 2


def test_who_has_worked_waits_for_the_verdict_on_an_overdue_claim() -> None:
    storage = new_job(parts=2)
    opened(storage, "lost").part()
    storage.clock.now += 90
    office = opened(storage, "w")
    part = office.part()
    for run in part.runs:
        office.end(part, run)
    assert office.ask() is None
    office.pass_time(60)
    assert len(office.all(messages.Part)) == 2


def test_a_part_that_kills_its_machines_is_told_as_lost() -> None:
    storage = new_job(parts=1)
    for number in range(3):
        office = opened(storage, f"dead{number}", seed=number)
        part = office.ask()
        assert part is not None
        if number == 0:
            storage.put(f"{part.runs[0].remote_output_path}/status_code", b"0")
        storage.clock.now += 125
    last = opened(storage, "last")
    assert last.ask() is None
    note = done(storage)[0]
    assert (note.completed, note.lost) == (1, (f"{OUT}/0-1",))
    last.tell(messages.Goodbye("left"))
    farewell = last.all(messages.Farewell)[0]
    assert (farewell.lost, farewell.is_job_over) == (1, True)
    (line,) = storage.get(paths.records(JOB, "last", 0)).decode().splitlines()
    record = json.loads(line)
    assert (record["cause"], record["code"]) == ("lost", None)
    assert "dead0, dead1, dead2" in record["reason"]
    assert "lost 3 times" in heartbeat(storage, "last").error


@pytest.mark.parametrize("content", [None, b"null", b'{"runs": [{"cmd": 3}]}', b"\xff"])
def test_a_part_that_cannot_be_read_is_ended_and_told(content: Optional[bytes]) -> None:
    storage = new_job(parts=2)
    if content is None:
        storage.delete([paths.part(JOB, 0)])
    else:
        storage.put(paths.part(JOB, 0), content)
    office = opened(storage)
    part = office.part()
    if part.part == 1:
        for run in part.runs:
            office.end(part, run)
    assert office.ask() is None
    office.tell(messages.Goodbye("left"))
    farewell = office.all(messages.Farewell)[0]
    assert paths.part(JOB, 0) in farewell.trouble
    assert done(storage)[0].trouble


def test_parts_that_are_written_later_are_waited_for() -> None:
    storage = new_job(parts=2)
    recipe = json.loads(storage.get(paths.recipe(JOB)))
    storage.put(paths.recipe(JOB), json.dumps({**recipe, "written": 1}).encode())
    office = opened(storage)
    part = office.part()
    assert part.part == 0
    for run in part.runs:
        office.end(part, run)
    assert office.ask() is None
    office.pass_time(20)
    assert not office.all(messages.Over)
    storage.put(paths.recipe(JOB), json.dumps(recipe).encode())
    office.pass_time(30)
    assert [one.part for one in office.all(messages.Part)] == [0, 1]


def test_a_stager_that_has_died_is_not_waited_for() -> None:
    storage = new_job(parts=2)
    recipe = json.loads(storage.get(paths.recipe(JOB)))
    storage.put(paths.recipe(JOB), json.dumps({**recipe, "written": 1}).encode())
    office = opened(storage)
    part = office.part()
    for run in part.runs:
        office.end(part, run)
    office.ask()
    office.pass_time(400)
    office.tell(messages.Goodbye("left"))
    farewell = office.all(messages.Farewell)[0]
    assert "never written" in farewell.trouble
    assert not farewell.is_job_over


def test_a_job_that_is_gone_halts() -> None:
    storage = new_job(parts=2)
    office = opened(storage)
    office.part()
    for place in list(storage.objects):
        storage.delete([place])
    office.pass_time(60)
    assert office.all(messages.Halt)


class Careless(MemoryStorage):
    """Ignores conditions, as it would tell."""

    def check_conditions(self, place: str) -> None:
        raise StorageError(f"{place} cannot hold a job")


def test_storage_that_ignores_conditions_is_refused_before_a_part_is_taken() -> None:
    storage = new_job(parts=1)
    careless = Careless(storage.clock)
    careless.objects.update(storage.objects)
    office = Office(careless, "w")
    (refused,) = office.all(messages.Refused)
    assert "cannot hold a job" in refused.reason
    assert office.clerk.is_finished
    assert set(careless.objects) == set(storage.objects)


def test_a_place_without_a_job_is_refused() -> None:
    office = Office(MemoryStorage(Clock()), "w")
    (refused,) = office.all(messages.Refused)
    assert "no job at" in refused.reason
    assert office.clerk.is_finished


def test_a_new_clerk_goes_on_where_the_dead_one_was() -> None:
    storage = new_job(parts=2, runs=3)
    dead = opened(storage, "w")
    part = dead.part()
    dead.end(part, part.runs[0])
    unsaved = (outcome_of(part.runs[0], 0),)
    office = Office(storage, "w", seed=5)
    in_hand = messages.InHand(part.origin, part.part, 2, 1, 0, ())
    office.tell(messages.Prepared(2, (in_hand,), unsaved, 1, part.origin, (1, 0, 0, 1.0)))
    assert office.all(messages.Held)
    for run in part.runs[1:]:
        office.end(part, run)
    assert done(storage)[part.part].completed == 3
    lines = storage.get(paths.records(JOB, "w", 1)).decode().splitlines()
    assert len(lines) == 3
    assert office.part().origin == part.origin + 1
    assert office.all(messages.RecordsKept)[-1].outcomes == 3


def test_a_new_clerk_revokes_what_was_taken_over_meanwhile() -> None:
    storage = new_job(parts=1)
    part = opened(storage, "w").part()
    entry = storage.stat(paths.claim(JOB, 0))
    assert entry is not None
    claims.take_over(storage, JOB, 0, entry.tag, "other", "n")
    office = Office(storage, "w", seed=5)
    in_hand = messages.InHand(part.origin, part.part, 2, 0, 0, ())
    office.tell(messages.Prepared(2, (in_hand,), (), 0, 1))
    assert office.all(messages.Revoked) == [messages.Revoked(part.origin)]


def test_after_a_sleep_claims_are_renewed_at_once_and_nothing_is_taken_over() -> None:
    storage = new_job(parts=2)
    other = opened(storage, "other")
    other.part()
    office = opened(storage, "w", habits=NEAR.that(lingers=True))
    office.part()
    storage.clock.now += 4000
    for one in (office, other):
        one.clerk.woke_up()
    office.tell(messages.Hungry())
    other.step()
    assert len(office.all(messages.Held)) == 1
    assert not office.all(messages.Revoked) + other.all(messages.Revoked)
    office.pass_time(20)
    assert len(office.all(messages.Part)) == 1


def test_a_claim_on_a_part_that_cannot_be_fetched_now_is_given_back() -> None:
    storage = new_job(parts=1)
    office = opened(storage)
    get = storage.get
    storage.get = lambda place, start=0: _refuse(place)  # type: ignore[method-assign]
    assert office.ask() is None
    (entry,) = storage.list(paths.join(JOB, "claims"))
    assert claims.is_free(entry)
    storage.get = get  # type: ignore[method-assign]
    office.pass_time(60)
    assert len(office.all(messages.Part)) == 1


def _refuse(place: str) -> bytes:
    from sc.errors import StorageError

    raise StorageError(f"{place} does not answer.")


def test_when_the_desk_dies_records_are_kept_and_claims_left_to_their_lease() -> None:
    storage = new_job(parts=1)
    office = opened(storage)
    part = office.part()
    office.end(part, part.runs[0])
    office.clerk.desk_died()
    assert len(storage.get(paths.records(JOB, "w", 0)).splitlines()) == 1
    (entry,) = storage.list(paths.join(JOB, "claims"))
    assert not claims.is_free(entry)
    assert heartbeat(storage).state == "failed"


def test_a_strange_part_number_in_a_part_of_hostile_shape() -> None:
    storage = new_job(parts=1)
    storage.put(paths.part(JOB, 0), part_bytes(runs_of_part(0, 1)))
    storage.put(f"{JOB}/claims/../../x", b"")
    storage.put(f"{JOB}/done/00", b"")
    office = opened(storage)
    assert len(office.part().runs) == 1


def test_twenty_clerks_finish_a_job_in_which_machines_die() -> None:
    random = Random(4)
    storage = new_job(parts=60, runs=3, scale=20)
    executed: dict[str, int] = {}
    queue: list[tuple[float, int, int]] = []
    offices: dict[int, Office] = {}
    held: dict[int, list[messages.Part]] = {}
    names = 0

    def come(at: float) -> None:
        nonlocal names
        names += 1
        heapq.heappush(queue, (at, names, names))

    for _ in range(20):
        come(storage.clock.now)
    deaths = 8
    while queue:
        at, _, name = heapq.heappop(queue)
        storage.clock.now = max(storage.clock.now, at)
        if name not in offices:
            offices[name] = opened(storage, f"w{name}", seed=name)
            held[name] = []
            offices[name].tell(messages.Hungry())
        office = offices[name]
        office.step()
        if deaths and held[name] and random.random() < 0.02:
            deaths -= 1
            come(storage.clock.now + random.uniform(20, 150))
            continue
        for part in office.all(messages.Part)[len(held[name]) :]:
            held[name].append(part)
            for run in part.runs:
                executed[run.remote_output_path] = executed.get(run.remote_output_path, 0) + 1
        if held[name] and len(office.all(messages.PartDone)) < len(held[name]):
            if random.random() < 0.3:
                part = held[name][-1]
                left = [
                    run
                    for run in part.runs
                    if f"{run.remote_output_path}/status_code" not in storage.objects
                ]
                if left:
                    office.end(part, left[0])
        elif held[name] or bool(office.all(messages.Over)):
            if office.all(messages.Over):
                office.tell(messages.Goodbye("left"))
                continue
            office.tell(messages.Hungry())
        heapq.heappush(
            queue, (storage.clock.now + random.uniform(1, 8), random.getrandbits(30), name)
        )
    assert deaths == 0
    assert len(done(storage)) == 60
    codes = [place for place in storage.objects if place.endswith("status_code")]
    assert len(codes) == 180
    assert sum(note.completed for note in done(storage).values()) == 180
    assert sum(executed.values()) <= 180 + 8 * 3
    assert any(
        office.all(messages.Farewell)[0].is_job_over
        for office in offices.values()
        if office.all(messages.Farewell)
    )
