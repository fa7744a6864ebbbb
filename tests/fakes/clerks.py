"""The crowd of `crowd.py` with all that a worker asks: each is a real clerk, and its desk has one run at a time."""

from __future__ import annotations

from random import Random
from typing import Optional

from sc import paths
from sc.worker import messages
from sc.worker.clerk import Clerk
from sc.worker.identity import Identity
from tests.fakes.crowd import JOB, Crowd, Setting
from tests.fakes.office import Machine, outcome_of, part_bytes, runs_of_part


class Clerks(Crowd):
    """Each part is one run."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.storage.lay(paths.recipe(JOB), self.job.to_bytes())
        for part in range(setting.parts):
            self.storage.lay(paths.part(JOB, part), part_bytes(runs_of_part(part, 1)))

    def work(self, number: int, random: Random) -> None:
        now = self.timeline
        name = f"w{number}"
        identity = Identity(name, f"host-of-{name}", "ec2", "r6a.xlarge", 0.0, 7)
        clerk = Clerk(self.storage, JOB, identity, self.setting.habits, Machine(), random, now)
        clerk.open()
        clerk.hear(messages.Prepared(1))
        clerk.hear(messages.Hungry())
        part: Optional[messages.Part] = None
        end, dies, taken = 0.0, False, 0
        while not clerk.is_finished:
            due = clerk.step()
            is_over = False
            while clerk.outbox:
                said = clerk.outbox.pop(0)
                is_over = is_over or isinstance(said, messages.Over)
                if isinstance(said, messages.Part):
                    part, taken = said, taken + 1
                    seconds, dies = self.takes(part.part, number, taken, random)
                    end = now() + seconds
            if part is not None and now() >= end:
                if dies:
                    return
                clerk.hear(messages.RunEnded(part.origin, outcome_of(part.runs[0], 0)))
                clerk.hear(messages.Hungry())
                part = None
            elif is_over:
                self.is_idle()
                clerk.hear(messages.Goodbye("left"))
            else:
                now.sleep(max(0.0, min(due, end if part is not None else due) - now()))
