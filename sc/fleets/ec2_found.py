"""What there is of a job on AWS: found by its tag, or by the name that its URL gives it.

What carries the tag and is not called as its tags say (`ec2_names.is_ours`) belongs to somebody else: it is told of,
and nothing is done to it.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

from sc.errors import InputError
from sc.fleets import Machine
from sc.fleets.ec2_aws import Aws, Call
from sc.fleets.ec2_names import (
    GROUP_TAG,
    JOB_TAG,
    NONCE_TAG,
    OWNER_TAG,
    URL_TAG,
    from_tag_list,
    group_name,
    is_ours,
    url_from_tag,
)

_TAGGED: list[dict[str, Any]] = [{"Name": "tag-key", "Values": [JOB_TAG]}]
_STATES = {
    "pending": "pending",
    "running": "running",
    "shutting-down": "ending",
    "stopping": "stopping",
    "stopped": "stopped",
    "terminated": "ended",
}


@dataclass
class Found:
    """All that AWS has under one name: the group's, which is also the template's and the security group's."""

    name: str
    job: str = ""
    job_url: str = ""
    group: Optional[dict[str, Any]] = None
    """As DescribeAutoScalingGroups tells it; None if there is no group (any more)."""
    instances: list[dict[str, Any]] = field(default_factory=list)
    """As DescribeInstances tells them, terminated ones included. Each carries our tags itself."""
    foreign: list[str] = field(default_factory=list)
    """The ids of instances alive that somebody has put into the group; only `find_by_name` looks for them."""
    has_template: bool = False
    template_owner: str = ""
    """Its tag."""
    security_groups: list[str] = field(default_factory=list)

    @property
    def alive(self) -> list[str]:
        """The ids of instances that are not terminated yet."""
        return [i["InstanceId"] for i in self.instances if is_alive(i)]

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is left but the memory of terminated instances."""
        return not (self.group or self.alive or self.has_template or self.security_groups)

    @property
    def owners(self) -> list[str]:
        """The tags of whoever has started what is there; older versions have set none."""
        alive = filter(is_alive, self.instances)
        told = [from_tag_list(one).get(OWNER_TAG, "") for one in [self.group or {}, *alive]]
        return [owner for owner in dict.fromkeys([*told, self.template_owner]) if owner]

    def machines(self) -> list[Machine]:
        return [machine(instance, self.job, self.job_url) for instance in self.instances]


class Everything(NamedTuple):
    """All in one account and region that carries our tag, or that of it which was asked for."""

    jobs: list[Found]
    """In the order of their names."""
    strays: list[dict[str, Any]]
    """Instances that carry the tag and are none of a job's, without those that end: as DescribeInstances tells them."""


def is_alive(instance: dict[str, Any]) -> bool:
    return bool(instance["State"]["Name"] != "terminated")


def machine(instance: dict[str, Any], job: str, job_url: str) -> Machine:
    """An instance of DescribeInstances as a Machine, without its cost."""
    started = instance.get("LaunchTime")
    return Machine(
        job=job,
        job_url=job_url,
        fleet="ec2",
        id=instance["InstanceId"],
        kind=instance.get("InstanceType", ""),
        state=_STATES.get(instance["State"]["Name"], "ended"),
        started=started.timestamp() if started else None,
        spot=instance.get("InstanceLifecycle") == "spot",
        owner=url_from_tag(from_tag_list(instance).get(OWNER_TAG, "")),
    )


def ended_at(instance: dict[str, Any]) -> Optional[float]:
    """When a terminated instance ended, as far as its reason tells: `User initiated (2026-11-23 14:00:00 GMT)`."""
    found = re.search(
        r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (GMT|UTC)\)",
        instance.get("StateTransitionReason") or "",
    )
    if not found:
        return None
    return float(calendar.timegm(time.strptime(found.group(1), "%Y-%m-%d %H:%M:%S")))


def find_by_name(aws: Aws, name: str, nonce: str = "") -> Found:
    """What there is under this name of a group, and, with a nonce, of that launch; it may be nothing. Four requests."""
    search = _Search(aws, name, nonce)
    found = next((one for one in search.jobs() if one.name == name), Found(name))
    found.foreign = [instance["InstanceId"] for instance in search.strays]
    return found


def find_everything(aws: Aws, job: Optional[str] = None) -> Everything:
    """Of every job in the account and region; of those with one name; or, if `job` is a URL, of that one."""
    search = _Search(aws, None)
    jobs = search.jobs()
    if job is None:
        return Everything(jobs, search.strays)
    name, job = (group_name(job), job.rstrip("/")) if "/" in job else ("", job)
    meant = [found for found in jobs if (found.name == name if name else found.job == job)]
    return Everything(meant, [one for one in search.strays if job in _job_of(one)])


def find_jobs(aws: Aws, job: Optional[str] = None) -> list[Found]:
    """As `find_everything`, in fewer and smaller answers if `job` is a URL."""
    if job is not None and "/" in job:
        found = find_by_name(aws, group_name(job))
        return [] if found.is_nothing and not found.instances else [found]
    return find_everything(aws, job).jobs


def find_one(aws: Aws, job: str) -> Found:
    """What there is of a job, given its URL or its name. Raises InputError if a name means several."""
    candidates = [found for found in find_jobs(aws, job) if not found.is_nothing]
    if len(candidates) > 1:
        raise InputError(
            f"Several jobs are called '{job}'; say which by its URL: "
            + ", ".join(found.job_url or found.name for found in candidates)
        )
    return candidates[0] if candidates else Found("", job)


def _job_of(instance: dict[str, Any]) -> tuple[str, str]:
    tags = from_tag_list(instance)
    return tags.get(JOB_TAG, ""), url_from_tag(tags.get(URL_TAG, ""))


@dataclass
class _Search:
    """With a name only that one is asked for; else everything that carries our tag."""

    aws: Aws
    name: Optional[str]
    nonce: str = ""
    """Of the launch whose things are asked for; empty: of any."""
    strays: list[dict[str, Any]] = field(default_factory=list)
    _found: dict[str, Found] = field(default_factory=dict)

    def jobs(self) -> list[Found]:
        """What is ours, in the order of names."""
        for group in self._groups():
            found = self._note(group["AutoScalingGroupName"], group.get("Tags", []))
            if found is not None:
                found.group = group
        self._instances()
        self._templates()
        return [self._found[key] for key in sorted(self._found)]

    def _note(self, name: str, tags: Iterable[dict[str, Any]]) -> Optional[Found]:
        """The entry for what is called so, or None for a stranger's that has copied our tag."""
        values = from_tag_list({"Tags": tags})
        if not is_ours(name, values) or (self.nonce and values.get(NONCE_TAG) != self.nonce):
            return None
        found = self._found.setdefault(name, Found(name))
        found.job = found.job or values.get(JOB_TAG, "")
        found.job_url = found.job_url or url_from_tag(values.get(URL_TAG, ""))
        return found

    def _groups(self) -> Iterator[dict[str, Any]]:
        asked: dict[str, Any] = (
            {"AutoScalingGroupNames": [self.name]} if self.name else {"Filters": _TAGGED}
        )
        call = Call("autoscaling", "describe_auto_scaling_groups", asked)
        return self.aws.pages(call, "AutoScalingGroups")

    def _instances(self) -> None:
        """All of a group that is asked for by its name, since AWS marks also those that are put into it by hand."""
        of_group = [{"Name": f"tag:{GROUP_TAG}", "Values": [self.name]}]
        asked = {"Filters": of_group if self.name else _TAGGED}
        call = Call("ec2", "describe_instances", asked)
        for reservation in self.aws.pages(call, "Reservations"):
            for instance in reservation["Instances"]:
                tags = instance.get("Tags", [])
                found = self._note(from_tag_list(instance).get(GROUP_TAG, ""), tags)
                if found is not None:
                    found.instances.append(instance)
                elif instance["State"]["Name"] not in ("shutting-down", "terminated"):
                    self.strays.append(instance)

    def _templates(self) -> None:
        """And security groups, which a job had for itself until release 0.1.0."""
        named = [{"Name": "launch-template-name", "Values": [self.name]}] if self.name else []
        call = Call("ec2", "describe_launch_templates", {"Filters": [*_TAGGED, *named]})
        for template in self.aws.pages(call, "LaunchTemplates"):
            found = self._note(template["LaunchTemplateName"], template.get("Tags", []))
            if found is not None:
                found.has_template = True
                found.template_owner = from_tag_list(template).get(OWNER_TAG, "")
        named = [{"Name": "group-name", "Values": [self.name]}] if self.name else []
        call = Call("ec2", "describe_security_groups", {"Filters": [*_TAGGED, *named]})
        for group in self.aws.pages(call, "SecurityGroups"):
            found = self._note(group["GroupName"], group.get("Tags", []))
            if found is not None:
                found.security_groups.append(group["GroupId"])
