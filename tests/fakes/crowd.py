"""Many workers on one storage, in simulated time: who takes what, with how many requests, and when.

A worker is the real `Taker` (and so the real board and the real claims), which takes parts, spends their time, and
says that they are done. What depends on time only, renewals and heartbeats, is left out; see `clerks.py` for all
that a worker asks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from sc import paths
from sc.claims import Claim, done_note
from sc.splitting import BULK, part_sizes
from sc.staging import Job
from sc.worker.identity import FAR, Habits
from sc.worker.taker import Taker
from tests.fakes.late_storage import TENTHS, LateStorage
from tests.fakes.timeline import Timeline

OUT = "s3://bucket/out"
JOB = paths.job(OUT, "job")
NPROCS = 4
BULK_SECONDS = 300.0
"""That a part of full size takes on average."""
_SIGMA = 0.5
"""Of the logarithm of a part's time; machines differ by a fifth besides."""


@dataclass(frozen=True)
class Setting:
    """What is simulated."""

    workers: int
    parts: int
    deaths: int = 0
    """So many workers die with a part in hand, in the middle of the job; every other one is replaced."""
    boot_seconds: float = 5.0
    """Within which all workers begin."""
    bulk_seconds: float = BULK_SECONDS
    habits: Habits = FAR
    seed: int = 1


@dataclass
class Tale:
    """What came of it."""

    setting: Setting
    storage: LateStorage
    begun: float
    worked_on: Counter[int] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)
    """Parts whose worker died."""
    first_idle: float = float("inf")
    """When the first worker had nothing to take."""
    ended: float = 0.0
    leaving: list[float] = field(default_factory=list)
    """Seconds of each worker between the end of its last part and its leave."""

    def per_part(self) -> dict[str, float]:
        """Requests for each part, by kind and folder."""
        counted = self.storage.by_folder.items()
        return {" ".join(key): number / self.setting.parts for key, number in sorted(counted)}

    def requests_per_part(self) -> float:
        return sum(self.storage.by_folder.values()) / self.setting.parts

    def peaks(self, seconds: float) -> tuple[int, int, int]:
        """Most requests within so long (tenths) at the start, in the middle, and at the end."""
        width = round(seconds * TENTHS)
        most = {"start": 0, "middle": 0, "end": 0}
        tenths = self.storage.by_tenth
        for tenth in tenths:
            moment = tenth / TENTHS
            phase = "start" if moment < self.begun + 60 else "middle"
            phase = "end" if moment >= self.first_idle else phase
            number = sum(tenths[tenth + later] for later in range(width))
            most[phase] = max(most[phase], number)
        return most["start"], most["middle"], most["end"]


class Crowd:
    """Workers of one kind; see `Clerks` for another."""

    def __init__(self, setting: Setting) -> None:
        self.random = Random(setting.seed)
        self.timeline = Timeline()
        self.storage = LateStorage(self.timeline, JOB, setting.parts, self.random)
        self.tale = Tale(setting, self.storage, self.timeline.now)
        self.setting = setting
        parts, scale = setting.parts, setting.workers
        self.job = Job("job", OUT, parts, parts, parts, scale=scale, is_fresh=True, nonce="a")
        self._seconds = part_seconds(setting)
        doomed = self.random.sample(range(setting.workers), setting.deaths)
        most = max(1, setting.parts // setting.workers)
        self._last_parts = {number: self.random.randint(1, 1 + most // 2) for number in doomed}

    def simulate(self) -> Tale:
        """Until all workers have left."""
        for number in range(self.setting.workers):
            self.come(number, self.setting.boot_seconds * self.random.random())
        self.timeline.run()
        self.tale.ended = self.timeline.now
        return self.tale

    def come(self, number: int, after: float) -> None:
        """A worker begins."""
        random = Random(self.setting.seed * 1_000_003 + number)
        self.timeline.start(self.timeline.now + after, lambda: self.work(number, random))

    def takes(self, part: int, number: int, taken: int, random: Random) -> tuple[float, bool]:
        """A worker begins with a part, its `taken`-th; returns how long it is at it, and whether it dies then."""
        self.tale.worked_on[part] += 1
        speed = 0.8 + 0.4 * (number * 0.618 % 1)
        seconds = self._seconds[part] * speed * random.lognormvariate(-(_SIGMA**2) / 2, _SIGMA)
        if taken != self._last_parts.get(number):
            return seconds, False
        self.tale.lost[part] += 1
        if number % 2:
            self.come(number + self.setting.workers, seconds / 2 + random.uniform(60, 300))
        return seconds / 2, True

    def is_idle(self) -> None:
        """A worker has found nothing to take."""
        self.tale.first_idle = min(self.tale.first_idle, self.timeline.now)

    def work(self, number: int, random: Random) -> None:
        now = self.timeline
        taker = Taker(self.storage, JOB, self.job, f"w{number}", self.setting.habits, random)
        now.sleep(taker.pause())
        taken, since = 0, now()
        while True:
            claim = taker.take(now())
            if claim is None:
                self.is_idle()
                if taker.may_leave(now()):
                    self.tale.leaving.append(now() - since)
                    return
                now.sleep(taker.next_try(now(), is_busy=False) - now())
                continue
            taken += 1
            seconds, dies = self.takes(claim.part, number, taken, random)
            self._execute(claim, seconds)
            if dies:
                return
            self.storage.put(paths.done(JOB, claim.part), done_note(1, 0, (), ""))
            since = now()

    def _execute(self, claim: Claim, seconds: float) -> None:
        """The part's time passes; its claim is renewed, as far as anybody can see."""
        place = paths.claim(JOB, claim.part)
        self.storage.renews(place)
        self.timeline.sleep(seconds)
        self.storage.is_renewed_no_more(place)


def part_seconds(setting: Setting) -> list[float]:
    """How long each part takes on average: as long as `sc.splitting` makes it large."""
    bulk = BULK * NPROCS
    sizes = [*part_sizes(setting.parts * bulk, NPROCS, setting.workers)]
    sizes = sizes[-setting.parts :]
    return [setting.bulk_seconds * size / bulk for size in islice(sizes, setting.parts)]
