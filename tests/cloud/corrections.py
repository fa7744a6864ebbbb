"""Where moto falls short of EC2 in something that matters here, and what the box does instead.

    moto                                            the box, as EC2
    an instance is running at once                  pending until its machine boots, shutting-down until it is off
    the template's shutdown behaviour, profile,     taken over to the instance
    metadata options and spot are lost
    user-data of any size                           16 KB at most
    the console says always the same                what the machine wrote
    a security group in use can be deleted          DependencyViolation until the instances are terminated
    no price list                                   one price for all

Those of Auto Scaling are in `scaling.py`. In force inside `corrected(…)`, taken back after it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models.instances import Instance, InstanceBackend, InstanceState, MetadataOptions
from moto.ec2.models.launch_templates import LaunchTemplateBackend
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.responses.general import General

USER_DATA_BYTES = 16384
CONSOLE_BYTES = 65536
CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
GONE = frozenset(["terminated", "stopped"])

Change = tuple[Any, str, Callable[[Any], Any]]
"""A class, the name of a method, and what makes the new one from the old."""


class Machines(Protocol):
    """What the corrected moto tells to those who run the machines, and asks of them."""

    def launched(self, instance: Any) -> None: ...

    def ending(self, instance: Any) -> None: ...

    def console(self, instance_id: str) -> bytes: ...


@contextmanager
def corrected(changes: Sequence[Change]) -> Iterator[None]:
    with ExitStack() as undo:
        for owner, name, change in changes:
            old = vars(owner)[name]
            setattr(owner, name, change(old))
            undo.callback(setattr, owner, name, old)
        yield


def set_state(instance: Any, name: str) -> None:
    instance._state = InstanceState(name, CODES[name])


def ec2(machines: Machines) -> list[Change]:
    return [
        (InstanceBackend, "run_instances", _run_instances(machines)),
        (Instance, "terminate", _ending(machines, "shutting-down")),
        (Instance, "stop", _ending(machines, "stopping")),
        (General, "get_console_output", _console_output(machines)),
        (SecurityGroupBackend, "_delete_security_group", _delete_security_group),
        (LaunchTemplateBackend, "create_launch_template", _create_launch_template),
    ]


def _run_instances(machines: Machines) -> Callable[..., Any]:
    def change(old: Callable[..., Any]) -> Callable[..., Any]:
        def run_instances(self: Any, image_id: str, count: int, *rest: Any, **options: Any) -> Any:
            template = options.get("launch_template") or {}
            data = self._get_template_from_args(template).data if template else {}
            image = image_id or data.get("ImageId")
            if image not in self.amis:
                raise EC2ClientError(
                    "InvalidAMIID.NotFound", f"The image id '[{image}]' does not exist"
                )
            reservation = old(self, image, count, *rest, **options)
            for instance in reservation.instances:
                _take_over(self, instance, data)
                set_state(instance, "pending")
                machines.launched(instance)
            return reservation

        return run_instances

    return change


def _take_over(backend: Any, instance: Any, template: dict[str, Any]) -> None:
    if behaviour := template.get("InstanceInitiatedShutdownBehavior"):
        instance.instance_initiated_shutdown_behavior = behaviour
    if options := template.get("MetadataOptions"):
        instance.metadata_options = MetadataOptions(options)
    if template.get("InstanceMarketOptions", {}).get("MarketType") == "spot":
        instance.lifecycle = "spot"
    if profile := template.get("IamInstanceProfile"):
        backend.associate_iam_instance_profile(
            instance.id,
            iam_instance_profile_name=profile.get("Name"),
            iam_instance_profile_arn=profile.get("Arn"),
        )


def _ending(machines: Machines, state: str) -> Callable[..., Any]:
    def change(old: Callable[..., Any]) -> Callable[..., Any]:
        def end(self: Any) -> Any:
            if self.state in ("terminated", "shutting-down", state):
                return InstanceState(self.state, self.state_code)
            was_stopped = self.state == "stopped"
            previous = old(self)
            set_state(self, "terminated" if was_stopped else state)
            machines.ending(self)
            return previous

        return end

    return change


def _console_output(machines: Machines) -> Callable[..., Any]:
    def change(_: Callable[..., Any]) -> Callable[..., Any]:
        def get_console_output(self: Any) -> ActionResult:
            instance_id = self._get_param("InstanceId")
            self.ec2_backend.get_instance(instance_id)
            answer = {"InstanceId": instance_id, "Timestamp": utcnow()}
            text = machines.console(instance_id)[-CONSOLE_BYTES:]
            if text:
                answer["Output"] = base64.b64encode(text).decode()
            return ActionResult(answer)

        return get_console_output

    return change


def _delete_security_group(old: Callable[..., Any]) -> Callable[..., Any]:
    def delete(self: Any, vpc_id: Any, group_id: str) -> None:
        for instance in self.all_instances():
            if instance.state != "terminated" and group_id in security_groups(instance):
                raise DependencyViolationError(f"resource {group_id} has a dependent object")
        old(self, vpc_id, group_id)

    return delete


def security_groups(instance: Any) -> set[str]:
    groups = [*instance.security_groups]
    for nic in instance.nics.values():
        groups.extend(nic.group_set)
    return {group.id for group in groups}


def _create_launch_template(old: Callable[..., Any]) -> Callable[..., Any]:
    def create(
        self: Any, name: str, description: str, template_data: dict[str, Any], tag_spec: Any
    ) -> Any:
        data = template_data.get("UserData")
        if data and len(base64.b64decode(str(data))) > USER_DATA_BYTES:
            raise EC2ClientError("InvalidUserData.Malformed", "User data is limited to 16384 bytes")
        return old(self, name, description, template_data, tag_spec)

    return create
