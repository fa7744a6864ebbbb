"""The fleet of EC2 machines: one Auto Scaling group per job, everything tagged `sc:job`.

check ─▶ Plan (ec2_checks) ─▶ launch (ec2_requests, ec2_launch) ─▶ follow (ec2_follow)
                                                   │
                   user-data (bootstrap, courier) ─┴─▶ the worker, and its side of the machine (ec2_instance)
list (ec2_found, ec2_prices)      stop (ec2_remove)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable, NamedTuple, Optional

from sc.errors import CloudError
from sc.fleets import Launch, Machine, Tell
from sc.fleets.ec2_aws import Aws, Boto3, Call
from sc.fleets.ec2_checks import check
from sc.fleets.ec2_follow import Following
from sc.fleets.ec2_found import (
    Found,
    ended_at,
    find_by_name,
    find_everything,
    find_jobs,
    find_one,
    machine,
)
from sc.fleets.ec2_launch import launch, refuse_if_running
from sc.fleets.ec2_names import group_name, is_same_owner, owner_to_tag, url_from_tag
from sc.fleets.ec2_prices import Prices
from sc.fleets.ec2_remove import REMOVAL_SECONDS, Removal
from sc.fleets.ec2_requests import Plan
from sc.storage import Storage

LEAVE_SECONDS = 90.0
"""How long `stop` lets workers save what their runs printed before their machines are ended."""


class Survey(NamedTuple):
    """What there is on EC2, for somebody who looks."""

    machines: Sequence[Machine]
    remains: Sequence[Found]
    """Of jobs that have no machine any more: it costs nothing, and `stop` removes it."""
    strays: Sequence[Machine]
    """Machines that carry the tag of jobs and are of none: they cost money, and `stop` does not end them."""
    region: str
    caller: str = ""
    """The ARN of who looks, where a machine has an owner; "" where AWS does not tell."""


class Ec2Fleet:
    """See `sc.fleets.Fleet` for what each method promises."""

    name = "ec2"

    def __init__(
        self,
        region: Optional[str],
        environment: Mapping[str, str],
        aws: Optional[Aws] = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._aws: Aws = aws if aws is not None else Boto3(region or environment.get("AWS_REGION"))
        self._environment = environment
        self._now = now
        self._sleep = sleep
        self._prices = Prices(self._aws, now)
        self._checked: Optional[tuple[Launch, Plan]] = None
        self._earlier: frozenset[str] = frozenset()

    def check(self, launch: Launch) -> None:
        plan = self._plan(launch)
        refuse_if_running(find_by_name(self._aws, plan.name))

    def launch(self, launch_: Launch, tell: Tell) -> None:
        plan = self._plan(launch_)
        self._earlier = launch(self._aws, plan, tell, self._now, self._sleep)

    def follow(self, launch: Launch, storage: Storage, tell: Tell) -> None:
        following = Following(
            self._aws,
            storage,
            launch.job_url,
            launch.machines,
            self._earlier,
            tell,
            self._now,
            self._sleep,
            launch.nonce,
        )
        trouble = following.until_first_report()
        if trouble is None:
            return
        # Of this launch alone: whoever has waited through a laptop's sleep may find another one in its place.
        removal = Removal.from_now(self._aws, tell, self._now, self._sleep, launch.nonce)
        left = removal.from_outside_by_name(group_name(launch.job_url))
        raise CloudError("\n".join([trouble, *left]))

    def list(self, job: Optional[str] = None) -> Sequence[Machine]:
        return self._machines(find_jobs(self._aws, job))

    def survey(self, job: Optional[str] = None) -> Survey:
        everything = find_everything(self._aws, job)
        machines = self._machines(everything.jobs)
        return Survey(
            machines,
            [one for one in everything.jobs if not one.alive and not one.is_nothing],
            [machine(instance, "", "") for instance in everything.strays],
            self._aws.region,
            self.caller() if any(one.owner for one in machines) else "",
        )

    def _machines(self, jobs: Iterable[Found]) -> Sequence[Machine]:
        return [
            machine._replace(dollars=self._prices.so_far(instance, ended_at(instance)))
            for found in jobs
            for machine, instance in zip(found.machines(), found.instances)
        ]

    def one(self, job: str) -> Optional[Found]:
        """What there is of a job, by its name or URL, or None. Raises InputError if a name means several."""
        found = find_one(self._aws, job)
        return None if found.is_nothing else found

    def caller(self) -> str:
        """The ARN of whoever asks; "" where AWS does not tell."""
        try:
            return str(self._aws.send(Call("sts", "get_caller_identity", {}))["Arn"])
        except CloudError:
            return ""

    def other_owner(self, job: str) -> str:
        """The ARN of somebody else who has started what there is of a job; "" if there is none, or nobody knows.

        Who cannot tell who they are is somebody else. Raises CloudError, and InputError if a name means several.
        """
        found = self.one(job)
        if found is None or not found.owners:
            return ""
        me = owner_to_tag(self.caller())
        others = (owner for owner in found.owners if not me or not is_same_owner(owner, me))
        return url_from_tag(next(others, ""))

    def stop(self, job: str, tell: Tell, leave_seconds: float = 0.0) -> Sequence[str]:
        """`leave_seconds`: how long machines may take to leave by themselves, if `stop` was said to them."""
        found = find_one(self._aws, job)
        if found.is_nothing:
            return []
        leave, seconds = self._now() + leave_seconds, leave_seconds + REMOVAL_SECONDS
        removal = Removal.from_now(self._aws, tell, self._now, self._sleep, seconds=seconds)
        return removal.from_outside(found, lambda: self._now() < leave)

    def _plan(self, launch: Launch) -> Plan:
        """Asked for once: `check` and `launch` are told the same."""
        if self._checked is None or self._checked[0] != launch:
            self._checked = (launch, check(self._aws, launch, self._environment))
        return self._checked[1]
