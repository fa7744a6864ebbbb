"""Taking away what a job has on AWS: from outside (`sc stop`, a launch that failed) and by its last machine.

Both ways can be repeated, by anybody, at any time; what is gone already is no error.

The order matters. From outside: the group first, since while it lives AWS may start machines. From inside, by the
last machine: the group last, since that ends the machine which does it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable

from sc.errors import CloudError
from sc.fleets import Tell
from sc.fleets.ec2_aws import Aws, AwsRefused, Call
from sc.fleets.ec2_found import Found, find_by_name

REMOVAL_SECONDS = 300.0
"""Ending an instance takes seconds to some minutes; a job of release 0.1.0 has a security group that is free then."""
_POLL_SECONDS = 3.0

GONE = (
    "InvalidLaunchTemplateName.NotFoundException",
    "InvalidLaunchTemplateId.NotFound",
    "InvalidGroup.NotFound",
    "InvalidInstanceID.NotFound",
)
"""AWS's words for what is not there any more."""
# Of the AWS API: a group that is being deleted, or whose instances change state just now.
_BUSY = ("DependencyViolation", "ResourceInUse", "ResourceInUseFault", "ScalingActivityInProgress")

Check = Callable[[], bool]
Sleep = Callable[[float], None]


@dataclass
class Removal:
    """One attempt to take everything away. `left` collects a sentence for each thing that stays."""

    aws: Aws
    tell: Tell
    more_time: Check
    """Whether waiting may go on."""
    sleep: Sleep
    nonce: str = ""
    """Of the launch whose things alone are taken away; empty: whatever the job has."""
    left: list[str] = field(default_factory=list)

    @classmethod
    def from_now(
        cls,
        aws: Aws,
        tell: Tell,
        now: Callable[[], float],
        sleep: Sleep,
        nonce: str = "",
        seconds: float = REMOVAL_SECONDS,
    ) -> Removal:
        """One that waits for so long at most, by this clock."""
        end = now() + seconds
        return cls(aws, tell, lambda: now() < end, sleep, nonce)

    def from_outside_by_name(self, name: str) -> list[str]:
        """The same as `from_outside`, of all that there is under this name of a group."""
        return self.from_outside(self._find(name))

    def from_outside(self, found: Found, leave_time: Check = lambda: False) -> list[str]:
        """End the machines, wait until they are gone, remove the rest. While `leave_time()` is true machines may
        leave by themselves, which saves what their runs printed. Returns `left`."""
        if found.group is not None:
            self._let_them_leave(found, leave_time)
            self._attempt_group(self._find(found.name))
        self._end_instances(found.name)
        self._delete_rest(self._find(found.name))
        return self.left

    def from_inside(self, found: Found, instance_id: str) -> list[str]:
        """The same, by the job's last machine, which ends with it. Returns `left`, if there is still time to.

        For the one that has deleted the launch template (see `InstanceSide.leave`).
        """
        if found.group is not None:
            self._hold_launches(found.name)
        self._wait_for_others(found.name, instance_id)
        self._delete_template(found)
        if found.group is not None:
            found = find_by_name(self.aws, found.name)
            if found.foreign:
                self._keep_group(found)
                self._leave_group(instance_id)
            else:
                self.delete_group(found.name)
        return self.left

    def _attempt_group(self, found: Found) -> None:
        if found.foreign:
            self._keep_group(found)
        elif found.group is not None:
            self._attempt(
                f"Auto Scaling group {found.name}",
                self._by_hand(
                    "autoscaling delete-auto-scaling-group --force-delete "
                    f"--auto-scaling-group-name {found.name}"
                ),
                lambda: self.delete_group(found.name),
            )

    def _keep_group(self, found: Found) -> None:
        """It would end with its instances, and somebody has put one into it that is not of this job."""
        ids = " ".join(found.foreign)
        command = self._by_hand(
            f"autoscaling detach-instances --should-decrement-desired-capacity --instance-ids {ids} "
            f"--auto-scaling-group-name {found.name}"
        )
        why = f"somebody has put {ids} into it, which would end with it, as it will at max_hours"
        self._leave(f"Auto Scaling group {found.name}", why, f"{command} (and then this again)")

    def _leave_group(self, instance_id: str) -> None:
        out = {"InstanceId": instance_id, "ShouldDecrementDesiredCapacity": True}
        self._quietly(Call("autoscaling", "terminate_instance_in_auto_scaling_group", out))

    def delete_group(self, name: str) -> None:
        """With its instances."""
        self._quietly(
            Call(
                "autoscaling",
                "delete_auto_scaling_group",
                {"AutoScalingGroupName": name, "ForceDelete": True},
            )
        )

    def _let_them_leave(self, found: Found, leave_time: Check) -> None:
        self._hold_launches(found.name)
        told = 0
        while found.alive and leave_time():
            if len(found.alive) != told:
                told = len(found.alive)
                self.tell(f"{told} machine{'' if told == 1 else 's'} asked to leave")
            self.sleep(_POLL_SECONDS)
            found = self._find(found.name)

    def _hold_launches(self, name: str) -> None:
        what = {"AutoScalingGroupName": name, "ScalingProcesses": ["Launch", "ReplaceUnhealthy"]}
        try:
            self._quietly(Call("autoscaling", "suspend_processes", what))
        except CloudError as error:
            self.tell(str(error))  # deleting the group is what counts, and comes next

    def _end_instances(self, name: str) -> None:
        found = self._find(name)
        asked: set[str] = set()
        while found.alive or (found.group is not None and not found.foreign):
            fresh = [identity for identity in found.alive if identity not in asked]
            if fresh:
                self.tell(f"Ending {', '.join(fresh)}")
                asked.update(fresh)
                self._attempt(
                    f"instances {', '.join(fresh)}",
                    self._by_hand(f"ec2 terminate-instances --instance-ids {' '.join(fresh)}"),
                    partial(self._end, found, fresh),
                )
            if not self.more_time():
                self._still_there(found)
                return
            self.sleep(_POLL_SECONDS)
            found = self._find(name)

    def _find(self, name: str) -> Found:
        return find_by_name(self.aws, name, self.nonce)

    def _end(self, found: Found, ids: list[str]) -> None:
        """A group that stays gives up their places, so that nothing is started in them, whatever is suspended."""
        if found.group is not None and found.foreign:
            for identity in ids:
                self._leave_group(identity)
        else:
            self._quietly(Call("ec2", "terminate_instances", {"InstanceIds": ids}))

    def _still_there(self, found: Found) -> None:
        if found.alive:
            ids = " ".join(found.alive)
            command = self._by_hand(f"ec2 terminate-instances --instance-ids {ids}")
            self._leave(f"instances {ids}", "AWS has not ended them yet", command)
        elif not any(found.name in sentence for sentence in self.left):
            command = self._by_hand(
                f"autoscaling describe-auto-scaling-groups --auto-scaling-group-names {found.name}"
            )
            self._leave(f"Auto Scaling group {found.name}", "AWS is still deleting it", command)

    def _delete_rest(self, found: Found) -> None:
        self._delete_template(found)
        for group_id in found.security_groups:
            self._attempt(
                f"security group {group_id}",
                self._by_hand(f"ec2 delete-security-group --group-id {group_id}"),
                partial(self._delete_security_group, group_id),
            )

    def _delete_template(self, found: Found) -> None:
        if found.has_template:
            template = {"LaunchTemplateName": found.name}
            self._attempt(
                f"launch template {found.name}",
                self._by_hand(f"ec2 delete-launch-template --launch-template-name {found.name}"),
                lambda: self._quietly(Call("ec2", "delete_launch_template", template)),
            )

    def _wait_for_others(self, name: str, instance_id: str) -> None:
        while self.more_time():
            others = [one for one in find_by_name(self.aws, name).alive if one != instance_id]
            if not others:
                return
            self.sleep(_POLL_SECONDS)

    def _delete_security_group(self, group_id: str) -> None:
        while True:
            try:
                self._quietly(Call("ec2", "delete_security_group", {"GroupId": group_id}))
            except AwsRefused as error:
                if error.code not in _BUSY or not self.more_time():
                    raise
                self.sleep(_POLL_SECONDS)
            else:
                return

    def _quietly(self, call: Call) -> None:
        """Send it; that the thing is gone already is as good."""
        try:
            self.aws.send(call)
        except AwsRefused as error:
            no_group = call.service == "autoscaling" and "not found" in str(error).lower()
            if error.code not in GONE and not no_group:
                raise

    def _attempt(self, what: str, command: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except CloudError as error:
            self._leave(what, str(error).rstrip("."), command)
        else:
            self.tell(f"Removed {what}" if not what.startswith("instances") else f"Asked: {what}")

    def _leave(self, what: str, why: str, command: str) -> None:
        self.left.append(f"Could not end {what}: {why}. By hand: {command}")

    def _by_hand(self, words: str) -> str:
        return f"aws --region {self.aws.region} {words}"
