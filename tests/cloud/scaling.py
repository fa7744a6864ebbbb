"""Where moto falls short of Auto Scaling, and what the box answers instead. See `corrections.py` and `groups.py`.

moto                                              the box, as Auto Scaling
capacity is met within the call, by the first     met soon after it, by all types, zones and the share of spot
type in the first subnet, never by spot
a group of the same name replaces the other       AlreadyExists
any size goes; unknown groups give a 500          ValidationError
a group with instances can be deleted             ResourceInUse, unless forced; then it goes when they are gone
decrementing below MinSize works                  ValidationError
lost instances are replaced when the API ends     replaced however they were lost
them
scheduled actions never run, and those of two     run when their time comes (`Cloud.advance`), go with the group
groups with one name are one
no scaling activities                             told, failed launches too
an update forgets the mixed instances policy      kept
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Optional

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import (
    AutoScalingBackend,
    FakeAutoScalingGroup,
    FakeScheduledAction,
    make_int,
)
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.iam import iam_backends

from tests.cloud.corrections import Change
from tests.cloud.groups import Groups, template_security_groups

_STILL_IN_USE = (
    "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance "
    "request(s) still in the group."
)
_NEED_GROUP = (
    "suspend_processes",
    "resume_processes",
    "set_instance_protection",
    "detach_instances",
)


def changes(groups: Groups) -> list[Change]:
    made = _Scaling(groups)
    return [
        (AutoScalingBackend, "create_auto_scaling_group", made.create),
        (AutoScalingBackend, "update_auto_scaling_group", made.update),
        (AutoScalingBackend, "set_desired_capacity", made.set_desired_capacity),
        (AutoScalingBackend, "terminate_instance", made.terminate_instance),
        (AutoScalingBackend, "notify_terminate_instances", lambda _: lambda self, ids: None),
        (AutoScalingBackend, "put_scheduled_update_group_action", made.put_action),
        (AutoScalingBackend, "delete_scheduled_action", made.delete_action),
        (FakeAutoScalingGroup, "set_desired_capacity", _only_note_capacity),
        (FakeAutoScalingGroup, "launch_template", lambda _: property(_launch_template)),
        (AutoScalingResponse, "delete_auto_scaling_group", made.delete),
        (AutoScalingResponse, "describe_scaling_activities", made.activities),
        *((AutoScalingBackend, name, _needing_group) for name in _NEED_GROUP),
    ]


class _Scaling:
    """Each method makes the new method of moto from the old one."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups

    def create(self, old: Callable[..., Any]) -> Callable[..., Any]:
        def create(backend: Any, name: str, **options: Any) -> Any:
            if name in backend.autoscaling_groups:
                text = f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
                if self.groups.is_deleting(backend.autoscaling_groups[name]):
                    text = f"AutoScalingGroup by this name is pending delete - {name}"
                raise AutoscalingClientError("AlreadyExists", text)
            least, most = make_int(options["min_size"]) or 0, make_int(options["max_size"]) or 0
            desired = options.get("desired_capacity")
            _check_sizes(name, least, most, least if desired is None else int(desired))
            group = old(backend, name=name, **options)
            group.desired_capacity = least if desired is None else int(desired)
            try:
                _check_template(group)
            except AutoscalingClientError:
                backend.autoscaling_groups.pop(name, None)
                raise
            return group

        return create

    def update(self, old: Callable[..., Any]) -> Callable[..., Any]:
        def update(backend: Any, name: str, **options: Any) -> Any:
            group = _group(backend, name)
            if any(
                options.get(one)
                for one in ("launch_template", "mixed_instances_policy", "launch_config_name")
            ):
                old(backend, name=name, **options)
                return group
            sizes = {one: options.get(one) for one in ("min_size", "max_size", "desired_capacity")}
            least = group.min_size if sizes["min_size"] is None else int(sizes["min_size"])
            most = group.max_size if sizes["max_size"] is None else int(sizes["max_size"])
            desired = sizes["desired_capacity"]
            within = (
                min(max(group.desired_capacity, least), most) if desired is None else int(desired)
            )
            _check_sizes(name, least, most, within)
            group.min_size, group.max_size, group.desired_capacity = least, most, within
            protect = options.get("new_instances_protected_from_scale_in")
            if protect is not None:
                group.new_instances_protected_from_scale_in = protect
            return group

        return update

    def set_desired_capacity(self, _: Callable[..., Any]) -> Callable[..., Any]:
        def set_desired_capacity(backend: Any, name: str, desired: Optional[int]) -> None:
            group = _group(backend, name)
            _check_sizes(name, group.min_size, group.max_size, int(desired or 0))
            group.desired_capacity = int(desired or 0)

        return set_desired_capacity

    def terminate_instance(self, _: Callable[..., Any]) -> Callable[..., Any]:
        def terminate_instance(backend: Any, instance_id: str, decrement: bool) -> Any:
            for group in backend.autoscaling_groups.values():
                for state in group.instance_states:
                    if state.instance.id == instance_id and state.lifecycle_state != "Terminating":
                        return self._terminate(group, state, decrement)
            text = (
                f"Instance Id not found - No managed instance found for instance ID: {instance_id}"
            )
            raise ValidationError(text)

        return terminate_instance

    def _terminate(self, group: Any, state: Any, decrement: bool) -> dict[str, Any]:
        cause = (
            f"instance {state.instance.id} was taken out of service in response to a user request"
        )
        if decrement:
            if group.desired_capacity - 1 < group.min_size:
                raise ValidationError(
                    f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without "
                    "replacement will violate group's min size constraint. Either set "
                    "shouldDecrementDesiredCapacity flag to false or lower group's min size."
                )
            cause += f", shrinking the capacity from {group.desired_capacity}"
            group.desired_capacity -= 1
        return self.groups.end(group, state, cause)

    def delete(self, _: Callable[..., Any]) -> Callable[..., Any]:
        def delete_auto_scaling_group(response: Any) -> EmptyResult:
            backend = response.autoscaling_backend
            group = _group(backend, response._get_param("AutoScalingGroupName"))
            if group.instance_states and not response._get_bool_param("ForceDelete", False):
                raise AutoscalingClientError("ResourceInUse", _STILL_IN_USE)
            self.groups.delete(backend, group)
            return EmptyResult()

        return delete_auto_scaling_group

    def activities(self, _: Callable[..., Any]) -> Callable[..., Any]:
        def describe_scaling_activities(response: Any) -> ActionResult:
            name = response._get_param("AutoScalingGroupName")
            found = response.autoscaling_backend.autoscaling_groups
            if name and name not in found:
                raise ValidationError(f"AutoScalingGroup name not found - {name}")
            wanted = [found[name]] if name else list(found.values())
            told = [activity for group in wanted for activity in self.groups.activities(group)]
            return ActionResult({"Activities": told[: response._get_int_param("MaxRecords", 100)]})

        return describe_scaling_activities

    def put_action(self, _: Callable[..., Any]) -> Callable[..., Any]:
        def put(backend: Any, name: str, **options: Any) -> Any:
            _group(backend, name)
            start = moment(options.pop("start_time"))
            if start is not None and start <= self.groups.now():
                raise ValidationError("Given start time is in the past")
            sizes = {
                one: make_int(options.pop(one))
                for one in ("desired_capacity", "max_size", "min_size")
            }
            action = FakeScheduledAction(
                name,
                start_time=start or self.groups.now(),
                time_zone=options.pop("timezone"),
                **sizes,
                **options,
            )
            backend.scheduled_actions[name, action.scheduled_action_name] = action
            return action

        return put

    def delete_action(self, _: Callable[..., Any]) -> Callable[..., Any]:
        def delete(backend: Any, auto_scaling_group_name: str, scheduled_action_name: str) -> None:
            key = (auto_scaling_group_name, scheduled_action_name)
            if backend.scheduled_actions.pop(key, None) is None:
                raise ValidationError("Scheduled action name not found")

        return delete


def moment(value: Any) -> Optional[datetime]:
    """A time of the API, always with its zone."""
    if value is None:
        return None
    known = value if isinstance(value, datetime) else None
    found = known or datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _group(backend: Any, name: str) -> Any:
    if name not in backend.autoscaling_groups:
        raise ValidationError(
            f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"
        )
    return backend.autoscaling_groups[name]


def _needing_group(old: Callable[..., Any]) -> Callable[..., Any]:
    def method(backend: Any, group_name: str, *rest: Any, **options: Any) -> Any:
        _group(backend, group_name)
        return old(backend, group_name, *rest, **options)

    return method


def _only_note_capacity(_: Callable[..., Any]) -> Callable[..., Any]:
    def set_desired_capacity(group: Any, desired: Optional[int]) -> None:
        group.desired_capacity = group.min_size if desired is None else desired

    return set_desired_capacity


def _launch_template(group: Any) -> Optional[dict[str, Any]]:
    """What is told of a group that was made with a template and no policy."""
    if group.ec2_launch_template is None or group.mixed_instances_policy:
        return None
    template = {"LaunchTemplateId": group.ec2_launch_template.id}
    template["LaunchTemplateName"] = group.ec2_launch_template.name
    if group.provided_launch_template_version:
        template["Version"] = group.provided_launch_template_version
    return template


def _check_sizes(name: str, least: int, most: int, desired: int) -> None:
    if least > most:
        raise ValidationError(
            f"Max bound, {most}, must be greater than or equal to min bound, {least}"
        )
    if desired > most:
        text = f"New SetDesiredCapacity value {desired} is above max value {most} for the AutoScalingGroup."
        raise ValidationError(text)
    if desired < least:
        text = f"New SetDesiredCapacity value {desired} is below min value {least} for the AutoScalingGroup."
        raise ValidationError(text)


def _check_template(group: Any) -> None:
    """AWS tries the template when the group is made."""
    if group.ec2_launch_template is None:
        return
    data = group.ec2_launch_template.get_version(group.launch_template_version).data
    wrong = None
    if data.get("ImageId") not in group.ec2_backend.amis:
        wrong = f"The image id '[{data.get('ImageId')}]' does not exist"
    for one in template_security_groups(data):
        if group.ec2_backend.get_security_group_from_id(one) is None:
            wrong = f"The security group '{one}' does not exist"
    profile = data.get("IamInstanceProfile", {})
    known = iam_backends[group.account_id]["aws"].instance_profiles.values()
    if profile and not any(
        one.name == profile.get("Name") or one.arn == profile.get("Arn") for one in known
    ):
        shown = profile.get("Name") or profile.get("Arn")
        wrong = f"Value ({shown}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
    if wrong:
        raise ValidationError(f"You must use a valid fully-formed launch template. {wrong}")
