"""What AWS does on its own for an Auto Scaling group: launch, replace, scale in, even out zones, scheduled actions.

`Groups.tick` compares each group with its desired capacity and acts, a little later than the call that changed
it, as AWS does. moto keeps the data; nothing here is answered over the API (that is `scaling.py`).
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

from moto.autoscaling.models import InstanceState
from moto.core.exceptions import ServiceException

ACTIVE = ("Pending", "InService")
BACK_OFF_SECONDS = 2.0
NO_CAPACITY = (
    "We currently do not have sufficient capacity in the Availability Zone you requested. "
    "Launching EC2 instance failed."
)


NO_QUOTA = (
    "You have requested more vCPU capacity than your current vCPU limit of {} allows for the instance bucket that the "
    "specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an "
    "adjustment to this limit. Launching EC2 instance failed."
)


class NoCapacity(Exception):
    """AWS starts no such machine now."""


@dataclass(frozen=True)
class Choice:
    instance_type: str
    subnet: Optional[str]
    zone: str
    spot: bool


@dataclass
class Groups:
    backends: Callable[[], Iterator[Any]]
    """moto's Auto Scaling backends, one per region."""
    now: Callable[[], datetime]
    no_capacity: set[tuple[str, str]] = field(default_factory=set)
    """(instance type, zone) of which there is none; "*" is any."""
    quota: Optional[int] = None
    """How many machines a group may have: a vCPU limit of the account. None: any number."""
    forgets_shutdown_behavior: bool = False
    """Whether machines stop when they switch themselves off, whatever the launch template says."""
    rebalances: int = 0
    """How many machines were ended only to even out the zones."""
    _activities: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _deleting: set[str] = field(default_factory=set)
    _not_before: dict[str, float] = field(default_factory=dict)
    """ARN -> when, by the monotonic clock, a launch may be tried again."""

    def tick(self) -> None:
        for backend in self.backends():
            for group in list(backend.autoscaling_groups.values()):
                self._run_due_actions(backend, group)
                self._look_at_instances(group)
                if group.arn in self._deleting:
                    self._finish_deletion(backend, group)
                else:
                    self._meet_capacity(group)

    def activities(self, group: Any) -> list[dict[str, Any]]:
        """The newest first."""
        return self._activities.get(group.arn, [])[::-1]

    def is_deleting(self, group: Any) -> bool:
        return group.arn in self._deleting

    def delete(self, backend: Any, group: Any) -> None:
        self._deleting.add(group.arn)
        group.status = "Delete in progress"
        group.desired_capacity = group.min_size = group.max_size = 0
        for state in list(group.instance_states):
            self.end(group, state, "the group is being deleted")
        self._finish_deletion(backend, group)

    def end(self, group: Any, state: Any, cause: str) -> dict[str, Any]:
        """Terminate an instance of the group, and return the activity."""
        state.lifecycle_state = "Terminating"
        state.instance.terminate()
        return self._note(
            group, f"Terminating EC2 instance: {state.instance.id}", cause, "InProgress"
        )

    def _finish_deletion(self, backend: Any, group: Any) -> None:
        if not group.instance_states:
            backend.autoscaling_groups.pop(group.name, None)
            for key in [key for key in backend.scheduled_actions if key[0] == group.name]:
                del backend.scheduled_actions[key]

    def _run_due_actions(self, backend: Any, group: Any) -> None:
        if "ScheduledActions" in group._suspended_processes:
            return
        for key, action in list(backend.scheduled_actions.items()):
            if key[0] == group.name and action.start_time <= self.now():
                del backend.scheduled_actions[key]
                for name in ("min_size", "max_size", "desired_capacity"):
                    if getattr(action, name) is not None:
                        setattr(group, name, getattr(action, name))
                group.desired_capacity = min(
                    max(group.desired_capacity, group.min_size), group.max_size
                )

    def _look_at_instances(self, group: Any) -> None:
        suspended = group._suspended_processes
        for state in list(group.instance_states):
            found = state.instance.state
            if state.lifecycle_state == "Terminating":
                if found == "terminated":
                    self._forget(group, state)
                continue
            if found == "running" and state.lifecycle_state == "Pending":
                state.lifecycle_state = "InService"
            if found not in ("pending", "running") and "HealthCheck" not in suspended:
                state.health_status = "Unhealthy"
            # While replacing is suspended it keeps its place, and nothing is started for it.
            if state.health_status == "Unhealthy" and not {"ReplaceUnhealthy", "Terminate"} & set(
                suspended
            ):
                self.end(
                    group, state, "an EC2 health check indicated it has been terminated or stopped"
                )

    def _forget(self, group: Any, state: Any) -> None:
        group.instance_states.remove(state)
        for activity in self._activities.get(group.arn, []):
            if activity["Description"].endswith(state.instance.id):
                activity.update(StatusCode="Successful", Progress=100)

    def _meet_capacity(self, group: Any) -> None:
        active = active_states(group)
        missing = (group.desired_capacity or 0) - len(active)
        suspended = group._suspended_processes
        if missing > 0 and "Launch" not in suspended:
            self._launch(group, missing)
        elif missing < 0 and "Terminate" not in suspended:
            for state in _least_wanted(active)[:-missing]:
                self.end(
                    group, state, "a user request or scheduled action changed the desired capacity"
                )
        elif missing == 0 and "AZRebalance" not in suspended:
            self._even_out(group, active)

    def _launch(self, group: Any, count: int) -> None:
        if time.monotonic() < self._not_before.get(group.arn, 0.0):
            return
        for _ in range(count):
            try:
                state = self._start_one(group)
            except (NoCapacity, ServiceException, KeyError, IndexError) as error:
                what = f"Launching a new EC2 instance.  Status Reason: {error}"
                self._note(group, what, "the desired capacity was not met", "Failed", str(error))
                self._not_before[group.arn] = time.monotonic() + BACK_OFF_SECONDS
                return
            what = f"Launching a new EC2 instance: {state.instance.id}"
            self._note(group, what, "the desired capacity was not met", "Successful")

    def _start_one(self, group: Any) -> Any:
        choice = next((one for one in choices(group) if self._has(one)), None)
        if choice is None:
            raise NoCapacity(NO_CAPACITY)
        if self.quota is not None and len(active_states(group)) >= self.quota:
            raise NoCapacity(NO_QUOTA.format(2 * self.quota))
        version = group.ec2_launch_template.get_version(group.launch_template_version)
        tags = {**group.get_propagated_tags(), "aws:autoscaling:groupName": group.name}
        template = {"LaunchTemplateId": version.template.id, "Version": version.number}
        where = {"subnet_id": choice.subnet} if choice.subnet else {"placement": choice.zone}
        reservation = group.ec2_backend.run_instances(
            version.image_id,
            1,
            version.user_data,
            [],
            instance_type=choice.instance_type,
            is_instance_type_default=False,
            security_group_ids=template_security_groups(version.data),
            tags={"instance": tags},
            launch_template=template,
            instance_market_options="spot" if choice.spot else None,
            region_name=group.region,
            **where,
        )
        if self.forgets_shutdown_behavior:
            reservation.instances[0].instance_initiated_shutdown_behavior = "stop"
        state = InstanceState(reservation.instances[0], "Pending", autoscaling_group=group)
        group.instance_states.append(state)
        return state

    def _has(self, choice: Choice) -> bool:
        pairs = itertools.product((choice.instance_type, "*"), (choice.zone, "*"))
        return self.no_capacity.isdisjoint(pairs)

    def _even_out(self, group: Any, active: list[Any]) -> None:
        """End a machine, busy or not, of the fullest zone if the one in its place starts in an emptier one."""
        counts = Counter(state.availability_zone for state in active)
        choice = next((one for one in choices(group) if self._has(one)), None)
        if choice is None or not counts:
            return
        fullest, most = counts.most_common(1)[0]
        if most - counts[choice.zone] > 1:
            victim = next(state for state in active if state.availability_zone == fullest)
            self.rebalances += 1
            self.end(group, victim, "the group was out of balance")

    def _note(
        self, group: Any, description: str, cause: str, status: str, message: Optional[str] = None
    ) -> dict[str, Any]:
        now = self.now()
        activity = {
            "ActivityId": str(uuid.uuid4()),
            "AutoScalingGroupName": group.name,
            "Description": description,
            "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} {cause}.",
            "StartTime": now,
            "EndTime": now,
            "StatusCode": status,
            "Progress": 50 if status == "InProgress" else 100,
            **({"StatusMessage": message} if message else {}),
        }
        self._activities.setdefault(group.arn, []).append(activity)
        return activity


def active_states(group: Any) -> list[Any]:
    return [state for state in group.instance_states if state.lifecycle_state in ACTIVE]


def template_security_groups(data: dict[str, Any]) -> list[str]:
    of_interfaces = (nic.get("Groups", []) for nic in data.get("NetworkInterfaces", []))
    return [*data.get("SecurityGroupIds", []), *itertools.chain.from_iterable(of_interfaces)]


def zones(group: Any) -> list[tuple[Optional[str], str]]:
    """(subnet, zone) of each place where the group may start machines."""
    if not group.vpc_zone_identifier:
        return [(None, zone) for zone in group.availability_zones]
    names = group.vpc_zone_identifier.split(",")
    found = {
        one.id: one.availability_zone
        for one in group.ec2_backend.describe_subnets(subnet_ids=names)
    }
    return [(name, found[name]) for name in names]


def choices(group: Any) -> Iterator[Choice]:
    """What the group would start next: types in their order, the emptiest zones first."""
    active = active_states(group)
    counts = Counter(state.availability_zone for state in active)
    places = sorted(zones(group), key=lambda place: counts[place[1]])
    spot = _wants_spot(group, active)
    for instance_type, (subnet, zone) in itertools.product(instance_types(group), places):
        yield Choice(instance_type, subnet, zone, spot)


def instance_types(group: Any) -> list[str]:
    policy = group.mixed_instances_policy or {}
    overrides = policy.get("LaunchTemplate", {}).get("Overrides") or []
    return [one["InstanceType"] for one in overrides if "InstanceType" in one] or [
        group.instance_type
    ]


def _wants_spot(group: Any, active: list[Any]) -> bool:
    distribution = (group.mixed_instances_policy or {}).get("InstancesDistribution")
    if distribution is None:
        return False
    on_demand = sum(1 for state in active if state.instance.lifecycle != "spot")
    above = max(0, on_demand - int(distribution.get("OnDemandBaseCapacity", 0)))
    if on_demand < int(distribution.get("OnDemandBaseCapacity", 0)):
        return False
    percentage = int(distribution.get("OnDemandPercentageAboveBaseCapacity", 100))
    spot = len(active) - on_demand
    return above >= percentage / 100 * (above + spot + 1)


def _least_wanted(active: list[Any]) -> list[Any]:
    """In the order in which AWS would end them: those of the fullest zone, the oldest first; none protected."""
    counts = Counter(state.availability_zone for state in active)
    free = [state for state in active if not state.protected_from_scale_in]
    return sorted(free, key=lambda one: (-counts[one.availability_zone], one.instance.launch_time))
