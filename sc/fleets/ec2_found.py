"""What there is of a job on AWS: found by its tag, or by the name that its URL gives it."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from sc.errors import InputError
from sc.fleets import Machine
from sc.fleets.ec2_aws import Aws, Call
from sc.fleets.ec2_names import (
    JOB_TAG,
    URL_TAG,
    from_tag_list,
    group_name,
    url_from_tag,
)

_STATES = {
    "pending": "pending",
    "running": "running",
    "shutting-down": "ending",
    "stopping": "stopping",
    "stopped": "stopped",
    "terminated": "ended",
}
_GROUP_TAG = "aws:autoscaling:groupName"


@dataclass
class Found:
    """All that AWS has under one name: the group's, which is also the template's and the security group's."""

    name: str
    job: str = ""
    job_url: str = ""
    group: Optional[dict[str, Any]] = None
    """As DescribeAutoScalingGroups tells it; None if there is no group (any more)."""
    instances: list[dict[str, Any]] = field(default_factory=list)
    """As DescribeInstances tells them, terminated ones included."""
    has_template: bool = False
    security_groups: list[str] = field(default_factory=list)

    @property
    def alive(self) -> list[str]:
        """The ids of instances that are not terminated yet."""
        return [i["InstanceId"] for i in self.instances if i["State"]["Name"] != "terminated"]

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is left but the memory of terminated instances."""
        return not (self.group or self.alive or self.has_template or self.security_groups)

    def machines(self) -> list[Machine]:
        return [machine(instance, self.job, self.job_url) for instance in self.instances]


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


def find_by_name(aws: Aws, name: str) -> Found:
    """What there is under this name of a group; it may be nothing. Four requests."""
    for found in _find(aws, name):
        if found.name == name:
            return found
    return Found(name)


def find_jobs(aws: Aws, job: Optional[str] = None) -> list[Found]:
    """What there is of every job in the account and region, in the order of names; of those with one name; or, if
    `job` is a URL, of that one."""
    if job is not None and "/" in job:
        found = find_by_name(aws, group_name(job))
        return [] if found.is_nothing and not found.instances else [found]
    return [found for found in _find(aws, None) if job is None or found.job == job]


def find_one(aws: Aws, job: str) -> Found:
    """What there is of a job, given its URL or its name. Raises InputError if a name means several."""
    candidates = [found for found in find_jobs(aws, job) if not found.is_nothing]
    if len(candidates) > 1:
        raise InputError(
            f"Several jobs are called '{job}'; say which by its URL: "
            + ", ".join(found.job_url or found.name for found in candidates)
        )
    return candidates[0] if candidates else Found("", job)


def _find(aws: Aws, name: Optional[str]) -> list[Found]:
    """With a name only that one is asked for, in four requests; else everything that carries our tag."""
    everything: dict[str, Found] = {}

    def note(key: str, tags: Iterable[dict[str, Any]]) -> Found:
        values = from_tag_list({"Tags": tags})
        found = everything.setdefault(key, Found(key))
        found.job = found.job or values.get(JOB_TAG, "")
        found.job_url = found.job_url or url_from_tag(values.get(URL_TAG, ""))
        return found

    tagged: Sequence[dict[str, Any]] = [{"Name": "tag-key", "Values": [JOB_TAG]}]
    asked: dict[str, Any] = {"AutoScalingGroupNames": [name]} if name else {"Filters": tagged}
    for group in aws.pages(
        Call("autoscaling", "describe_auto_scaling_groups", asked), "AutoScalingGroups"
    ):
        note(group["AutoScalingGroupName"], group.get("Tags", [])).group = group
    of_group = [{"Name": f"tag:{_GROUP_TAG}", "Values": [name]}] if name else tagged
    for reservation in aws.pages(
        Call("ec2", "describe_instances", {"Filters": of_group}), "Reservations"
    ):
        for instance in reservation["Instances"]:
            key = from_tag_list(instance).get(_GROUP_TAG)
            if key:  # no tag of a group: a stranger's instance that copied our tag
                note(key, instance["Tags"]).instances.append(instance)
    template_filter = [{"Name": "launch-template-name", "Values": [name]}] if name else []
    for template in aws.pages(
        Call("ec2", "describe_launch_templates", {"Filters": [*tagged, *template_filter]}),
        "LaunchTemplates",
    ):
        note(template["LaunchTemplateName"], template.get("Tags", [])).has_template = True
    group_filter = [{"Name": "group-name", "Values": [name]}] if name else []
    for group in aws.pages(
        Call("ec2", "describe_security_groups", {"Filters": [*tagged, *group_filter]}),
        "SecurityGroups",
    ):
        note(group["GroupName"], group.get("Tags", [])).security_groups.append(group["GroupId"])
    return [everything[key] for key in sorted(everything)]
