"""Which execution has which runs: leases in the storage, so that no run is executed by two at the same time.

    .sc/<name>/leases/<execution>.json   who, since when, `starting` or `running`; renewed while the execution goes on
    .sc/<name>/leases/<execution>.runs   which runs: the sorted hashes of their paths, written once; stays after a death
    .sc/<name>/leases/<execution>.taken  an empty object: its lease was over, and another has had some of these runs
    .sc/<name>/leases/<execution>.job    the same of a job, in place of the .json: its workers' glances tell if it lives

    write .runs ─▶ write `starting` ─▶ LIST the others ─▶ nobody in the way ─▶ write `running`
                        ▲                 ├─ one that has shared runs is `running`, and alive: refused
                        │                 ├─ is `running`, and may have died: look again until it is renewed, or old
                        └──(withdraw)─────┼─ is `starting` and comes before us: let it go first
                                          └─ is `starting` and comes after us: wait until it has withdrawn, or runs

No write has a condition, so this holds with every server: of two that both write before they look, at least one sees
the other (Lamport's bakery; a LIST shows what was written before it, as S3 and all that follow it promise). Ids, which
no two executions share, decide who goes first. Ages are told by the storage's clock. What is older than the lease
counts for nothing: whoever was away for so long (a laptop that slept) has to come in by the door again, before it
starts or stores anything more, and is refused also if somebody has been there meanwhile and has left.

Leases are looked for below the `.sc` of the batch's own place, whatever that is called there: runs below it go by
their paths relative to it. What this does not see: batches whose places are different and that name the same run,
one by an absolute path, or as a folder in the other's place. In a folder whoever begins such a run later takes its
stdout away, and the other is told so when it ends.
"""

from __future__ import annotations

import json
import shlex
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Optional

from sc import paths
from sc.errors import BusyError, MissingError, OccupiedError, StorageError
from sc.holder import Holder, is_alive
from sc.model import is_count, is_number
from sc.run_index import RunIndex, path_key
from sc.storage import Entry, Storage
from sc.strangers import Own, Survey

LEFTOVER_SECONDS = 86400.0
"""What is older is removed by whoever comes by."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0
"""Between two looks at who is in the way."""
KEPT_SECONDS = 30 * 86400.0
"""Of an execution that has died it is known for so long which runs it had."""
UNTOLD_SECONDS = 3.0
"""For so long whoever waits says nothing of it."""

STARTING, RUNNING = "starting", "running"
EXECUTION, JOB, TAKEN = "json", "job", "taken"
"""The endings of keys."""

Tell = Callable[[str], None]


class Times(NamedTuple):
    """The same for all who share a place."""

    lease_seconds: float = 60.0
    """A lease that was not renewed for so long is over."""
    renew_seconds: float = 15.0
    doubt_seconds: float = 45.0
    """Whoever could not renew for so long starts and stores nothing until it has: the rest is for what is under way."""


TIMES = Times()


@dataclass(frozen=True)
class Lease:
    """What one execution writes of itself."""

    execution: str
    holder: Holder
    state: str = STARTING
    renewals: int = 0
    """Makes each renewal's tag another."""

    def to_bytes(self) -> bytes:
        document = {"state": self.state, "renewals": self.renewals, **self.holder._asdict()}
        return json.dumps(document, ensure_ascii=True).encode()


def lease_of(execution: str, data: bytes) -> Lease:
    """The reverse of `to_bytes`. What cannot be read is somebody's all the same, of whom nothing is known."""
    holder, state, renewals = Holder("another machine", "somebody", 0, 0.0), RUNNING, 0
    try:
        fields = json.loads(data)
        state = STARTING if fields.pop("state") == STARTING else RUNNING
        renewals = fields.pop("renewals")
        read = Holder(**{name: fields[name] for name in Holder._fields})
        if _is_sound(read):
            holder = read
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return Lease(execution, holder, state, renewals if is_count(renewals) else 0)


def _is_sound(holder: Holder) -> bool:
    texts = holder.host, holder.user, holder.boot
    numbers = holder.pid, holder.started, holder.namespace
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in numbers)
        and is_number(holder.since)
    )


class Runs(NamedTuple):
    """The runs of an execution, all of them below, or called from, one batch's place."""

    place: str
    """The batch's output path."""
    paths: Callable[[], Iterable[str]]
    """Their output paths, to be gone through again."""

    def to_index(self, watch: Callable[[Iterable[str]], Iterable[str]] = iter) -> RunIndex:
        """Eight bytes a run. `watch` sees their output paths as they are gone through."""
        return RunIndex(map(namer(self.place), watch(self.paths())))

    def named(self, keys: array[int]) -> Iterator[str]:
        """The output paths of those runs that have these keys, which are sorted."""
        name = namer(self.place)
        for path in self.paths():
            key = path_key(name(path))
            found = bisect_left(keys, key)
            if found < len(keys) and keys[found] == key:
                yield path


def namer(place: str) -> Callable[[str], str]:
    """What is told of a batch's runs: the same on each machine, whatever the batch's folder is called there."""
    inside = paths.join(_plain(place), "")

    def name(path: str) -> str:
        path = _plain(path)
        return path[len(inside) :] if path.startswith(inside) else path

    return name


def _plain(place: str) -> str:
    return place[len("file://") :] if place.startswith("file://") else place


class Other(NamedTuple):
    """Somebody else's lease, as a listing shows it."""

    url: str
    execution: str
    kind: str
    """EXECUTION, JOB or TAKEN."""
    entry: Entry
    glances: tuple[Entry, ...] = ()
    """Of the workers of the job there, if it has or had any."""


class Conflict(NamedTuple):
    """Another execution that has runs of ours."""

    other: Other
    lease: Lease
    shared: array[int]
    """Keys of the runs, sorted."""
    is_live: bool
    """It is proved that it goes on; else it may have died."""


@dataclass
class Claimant:
    """One execution that wants its runs for itself. `clock` goes on while the machine sleeps."""

    storage: Storage
    url: str
    """Of the job under whose name it runs."""
    lease: Lease
    runs: Runs
    clock: Callable[[], float]
    pause: Callable[[float], None]
    is_alive: Callable[[Holder], Optional[bool]] = is_alive
    times: Times = TIMES
    starts_job: bool = False
    """Whether the job of that URL is to be started: an earlier one of its name is its fleet's business."""
    _index: Optional[RunIndex] = None
    _shared: dict[str, array[int]] = field(default_factory=dict)
    """What each other execution has of our runs; that never changes."""
    _watched: dict[str, tuple[str, float]] = field(default_factory=dict)
    """The tag that each other lease had when it was first seen, and when that was."""
    _over: dict[str, str] = field(default_factory=dict)
    """Executions that had runs of ours and whose leases are over, with their jobs' URLs."""

    def acquire(self, tell: Tell) -> float:
        """Return when nobody else has any of our runs, and others can see that we have them: since when, by `clock`.

        Waits, with a word to `tell`, for whoever may have died elsewhere. Raises BusyError, without a trace, if
        somebody else executes some of them; OccupiedError, before anything is written, if what lies where their outputs
        are to go is not an execution's; StorageError where the storage refuses.
        """
        try:
            own = Own(self.url, self.lease.execution)
            survey = Survey(self.storage, self.runs.place, own, namer(self.runs.place))
            self._index = index = self.runs.to_index(survey.watch)
            self.storage.put(paths.leased_runs(self.url, self.lease.execution), index.to_bytes())
            return self._come_in(tell)
        except (StorageError, OccupiedError):
            raise  # nothing is there yet, or would be removed, and take its time to say so
        except BaseException:
            with suppress(StorageError):
                self.release()
            raise

    def acquire_for_job(self, tell: Tell) -> None:
        """The same for a job that is about to be started: it has the runs until it is started anew, see
        `sc.job_leases`. Whoever started it need not stay."""
        self.acquire(tell)
        for entry in self.storage.list(paths.leases(self.url)):
            if entry.place.endswith(f".{JOB}"):
                self.storage.delete([entry.place])
        for entry in _of_the_dead(self.storage, self.url, self.lease.execution):
            # In a folder all has been looked at: nobody has to know any more which runs were the old job's.
            if entry.age_seconds > KEPT_SECONDS or self.storage.local_path(entry.place) is not None:
                self.storage.delete([entry.place])
        self.storage.put(paths.job_lease(self.url, self.lease.execution), self.lease.to_bytes())
        self.storage.delete([self._place()])

    def come_back(self) -> None:
        """The same for one that was away for too long, and whose `.runs` are there. Raises BusyError as well."""
        self._come_in(lambda line: None)

    def release_job(self) -> None:
        """The job could not be started."""
        execution = self.lease.execution
        self.storage.delete(
            [paths.job_lease(self.url, execution), paths.leased_runs(self.url, execution)]
        )

    def release(self) -> None:
        """Leave no trace."""
        release(self.storage, self.url, self.lease.execution)

    def _bury(self, other: Other) -> None:
        """Remove the lease of one that has died. Which runs it had stays: what it left at their places is known by it
        (see `sc.strangers`)."""
        name = other.url, other.execution
        self.storage.delete([paths.lease(*name), paths.taken_lease(*name)])

    def _own_index(self) -> RunIndex:
        if self._index is None:
            self._index = self.runs.to_index()
        return self._index

    def _come_in(self, tell: Tell) -> float:
        pause, since, told = FIRST_PAUSE_SECONDS, self.clock(), False
        while True:
            began = self.clock()
            self._put(STARTING)
            is_seen = True
            while (found := self._in_the_way()) or not is_seen:
                self._refuse(found)
                if not told and found and self.clock() - since > UNTOLD_SECONDS:
                    tell(self._waiting(found[0]))
                    told = True
                if not any(map(self._goes_first, found)):
                    if not is_seen or self.clock() - began >= self.times.renew_seconds:
                        break  # to be seen, as one that still waits
                elif is_seen:
                    self.storage.delete([self._place()])
                    is_seen = False
                self.pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                for execution, url in self._over.items():
                    self.storage.put(paths.taken_lease(url, execution), b"")
                self._put(RUNNING)
                if self.clock() - began < self.times.doubt_seconds:
                    return began

    def _goes_first(self, one: Conflict) -> bool:
        return one.lease.state == STARTING and one.other.execution < self.lease.execution

    def _refuse(self, found: list[Conflict]) -> None:
        for one in found:
            if one.is_live and one.lease.state != STARTING:
                raise BusyError(self._sentence(one))

    def _in_the_way(self) -> list[Conflict]:
        """The conflicts that a look finds; also removes what is plainly dead."""
        found = map(self._conflict, others(self.storage, self.runs.place, self.url))
        return [one for one in found if one is not None]

    def _conflict(self, other: Other) -> Optional[Conflict]:
        if other.execution == self.lease.execution:
            self._refuse_taken(other)
            return None
        if other.kind != EXECUTION:
            return self._conflict_with_job(other) if other.kind == JOB else None
        if other.entry.age_seconds > LEFTOVER_SECONDS:
            self._bury(other)
            return None
        first = self._watched.setdefault(other.execution, (other.entry.tag, self.clock()))
        try:
            shared = self._shared_with(other)
            if not shared:
                return None
            if self._is_over(other, first):
                self._over[other.execution] = other.url
                return None
            data = self.storage.get(paths.lease(other.url, other.execution))
        except MissingError:
            return None  # it has gone meanwhile
        lease = lease_of(other.execution, data)
        alive = self.is_alive(lease.holder)
        if alive is False:
            self._bury(other)
            return None
        return Conflict(other, lease, shared, bool(alive) or other.entry.tag != first[0])

    def _is_over(self, other: Other, first: tuple[str, float]) -> bool:
        """By the storage's clock, or, whatever that says, by ours."""
        lease_seconds = self.times.lease_seconds
        is_same = other.entry.tag == first[0]
        return other.entry.age_seconds > lease_seconds or (
            is_same and self.clock() - first[1] > lease_seconds
        )

    def _refuse_taken(self, own: Other) -> None:
        if own.kind == TAKEN:
            raise BusyError(
                f"this execution was away for longer than its lease ({self.times.lease_seconds:.0f} s), "
                "and somebody else has executed some of its runs meanwhile: nothing more was stored; "
                "look at the outputs, and run the rest again"
            )

    def _conflict_with_job(self, other: Other) -> Optional[Conflict]:
        from sc.job_leases import have_ended, is_done, may_work

        if self.starts_job and other.url == self.url:
            return None
        age, is_near = other.entry.age_seconds, self.storage.local_path(other.url) is not None
        if not may_work(age, other.glances, is_near):
            return None
        if not other.glances and self.storage.stat(paths.stop(other.url)) is not None:
            return None  # it was stopped before a worker came
        try:
            shared = self._shared_with(other)
            if not shared or have_ended(self.storage, age, self.runs.named(shared)):
                return None
            if is_done(self.storage, other.url, age):
                return None
            data = self.storage.get(other.entry.place)
        except MissingError:
            return None  # it was started anew meanwhile
        # In a folder workers say something every two seconds: soon it is known whether they were killed just now.
        said = " ".join(f"{entry.place} {entry.tag}" for entry in other.glances)
        first = self._watched.setdefault(other.execution, (said, self.clock()))
        is_live = not (is_near and said) or said != first[0]
        return Conflict(other, lease_of(other.execution, data), shared, is_live)

    def _shared_with(self, other: Other) -> array[int]:
        if other.execution not in self._shared:
            data = self.storage.get(paths.leased_runs(other.url, other.execution))
            self._shared[other.execution] = array("Q", self._own_index().shared(data))
        return self._shared[other.execution]

    def _put(self, state: str) -> None:
        self.lease = replace(self.lease, state=state, renewals=self.lease.renewals + 1)
        self.storage.put(self._place(), self.lease.to_bytes())

    def _place(self) -> str:
        return paths.lease(self.url, self.lease.execution)

    def _waiting(self, one: Conflict) -> str:
        who = f"the job {one.other.url}" if one.other.kind == JOB else str(one.lease.holder)
        return (
            f"{self._which(one)} {who} since {when(one.lease.holder)}, which may have died: "
            f"waiting until that is known, at most {self.times.lease_seconds:.0f} s"
        )

    def _sentence(self, one: Conflict) -> str:
        """Which runs, who, since when, and what to do."""
        holder = one.lease.holder
        if one.other.kind == JOB:
            who = f"the job {one.other.url}, which {holder} started,"
            do = f"or end it with 'sc stop {shlex.quote(one.other.url)}'"
        else:
            who, do = str(holder), "or stop it there"
        return (
            f"{self._which(one)} {who} since {when(holder)}: wait for its end, {do}; "
            "nothing was changed here"
        )

    def _which(self, one: Conflict) -> str:
        first = next(self.runs.named(one.shared), "a run")
        more = len(one.shared) - 1
        if not more:
            return f"{first} is being executed by"
        return f"{first} and {more:,} more of these runs are being executed by"


def when(holder: Holder) -> str:
    """The time of day of its machine, told in ours."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    except (OverflowError, ValueError, OSError):
        return "some time"


def others(storage: Storage, place: str, own_url: str = "") -> Iterator[Other]:
    """All leases below a batch's place, live or not. A LIST, and one more for each name under which there was a job.

    Those below `own_url` are found also on a server that tells of no folders.
    """
    names = storage.list_folders(paths.join(place, paths.JOBS))
    urls = [own_url] if own_url else []
    for url in dict.fromkeys([*urls, *(paths.job(place, name) for name in names)]):
        found: dict[str, list[Entry]] = {"glances": [], "leases": []}
        for entry in storage.list(url, start_after="glances", end_before="leases0"):
            folder = entry.place[len(url) :].strip("/").partition("/")[0]
            if folder in found:
                found[folder].append(entry)
        for entry in found["leases"]:
            execution, _, kind = entry.place.rpartition("/")[2].rpartition(".")
            if kind in (EXECUTION, JOB, TAKEN):
                yield Other(url, execution, kind, entry, tuple(found["glances"]))


def finish(storage: Storage, url: str, execution: str) -> None:
    """All runs of an execution have ended, and nobody has them any more: neither has to be known which of them others
    had that have died."""
    with suppress(MissingError):
        own = RunIndex.of_bytes(storage.get(paths.leased_runs(url, execution)))
        for entry in _of_the_dead(storage, url, execution):
            data = storage.get(entry.place)
            if entry.age_seconds > KEPT_SECONDS or len([*own.shared(data)]) == len(data) // 8:
                storage.delete([entry.place])
    release(storage, url, execution)


def _of_the_dead(storage: Storage, url: str, execution: str) -> list[Entry]:
    """The runs of other executions that have no lease any more, but had one under this name."""
    found = [(entry, entry.place.rpartition(".")) for entry in storage.list(paths.leases(url))]
    leased = {name for _, (name, _, kind) in found if kind in (EXECUTION, JOB)}
    leased.add(paths.leased_runs(url, execution).rpartition(".")[0])
    return [entry for entry, (name, _, kind) in found if kind == "runs" and name not in leased]


def release(storage: Storage, url: str, execution: str) -> None:
    """Nobody has these runs any more. Who they were goes first."""
    names = paths.lease, paths.leased_runs, paths.taken_lease
    storage.delete([name(url, execution) for name in names])


def renew(
    storage: Storage,
    place: str,
    url: str,
    lease: Lease,
    is_late: bool,
    clock: Callable[[], float],
    pause: Callable[[float], None],
    times: Times = TIMES,
) -> None:
    """Keep a lease; `is_late`: somebody may have come meanwhile. Raises BusyError if somebody else has runs of it now.

    Whether that may be is also told by the age of what stands there: a machine that was stopped as a whole, with all
    its clocks, does not know.
    """
    if not is_late:
        entry = storage.stat(paths.lease(url, lease.execution))
        if entry is None or entry.age_seconds < times.doubt_seconds:
            # Nothing is there where somebody has removed all that was kept: a run may be told to clean up.
            storage.put(paths.lease(url, lease.execution), lease.to_bytes())
            return
    try:
        index = RunIndex.of_bytes(storage.get(paths.leased_runs(url, lease.execution)))
    except MissingError:
        raise BusyError(
            f"{paths.leased_runs(url, lease.execution)} has gone while this execution was away: "
            "somebody else may have executed its runs; look at the outputs, and run the rest again"
        ) from None
    runs = Runs(place, lambda: ())
    claimant = Claimant(storage, url, lease, runs, clock, pause, times=times, _index=index)
    try:
        claimant.come_back()
    except BusyError:
        claimant.release()
        raise
