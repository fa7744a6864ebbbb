"""What AWS is asked for to get a job's machines. Pure: a recipe and facts go in, calls come out.

    (security group) ─▶ launch template ─▶ group of 0 machines ─▶ processes suspended ─▶ end at max_hours ─▶ machines

Until the last call nothing runs, and before it everything is set that ends the machines without us:

* `AZRebalance` is suspended for good. A worker that leaves makes zones unequal, and AWS would end *busy* machines to
  even them out (buildkite/elastic-ci-stack-for-aws#435).
* `ReplaceUnhealthy` is suspended until the first worker has taken a part and resumes it (`InstanceSide.proved`).
  Boots that all fail are so never repeated, at most `scale` in all, even where the machine has no Python to sign a
  request with and no laptop watches. Once resumed, AWS replaces what was marked unhealthy meanwhile. Later
  boots that fail give up their place in the group (`courier.give_up_place`), so they cannot go on for ever either.
* A scheduled action takes the group to zero at `max_hours`, carried out by AWS itself.
* Capacity Rebalancing stays off: at a hint that a spot machine may be taken away AWS would start another beyond
  `scale`, and end the first, busy or not, when that one is there. The worker itself takes the hint (see `worker.desk`).
* `MinSize` is 0, or a worker that leaves could not take its place with it.

docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from sc.fleets.ec2_aws import Call
from sc.fleets.ec2_names import SHARED_GROUP, group_name, shared_tags, tag_list, tags
from sc.model import Recipe

MAX_HOURS = 7 * 24.0
"""How long machines may live if the recipe does not say: a week."""
HELD_PROCESSES = ("AZRebalance", "ReplaceUnhealthy")
SCHEDULED_ACTION = "sc-max-hours"
_VERSION = "1"
"""Of the launch template, which is made anew for each launch. AWS asks what the caller may do only when a group is made
or changed: of a group that takes `$Latest`, whoever may add a version would decide what its machines are.
docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html"""
_HOPS = 2
"""One hop would keep the role's credentials from containers with a network of their own, which runs may use."""


@dataclass(frozen=True)
class Image:
    """What the machines boot from."""

    id: str
    architecture: str
    root_device: str
    disk_gib: int
    """The size of the disk where the recipe does not say."""
    smallest_gib: int = 0
    """The smallest disk that holds it."""
    is_windows: bool = False


@dataclass(frozen=True)
class Place:
    """Where the machines go: subnets of one VPC, in zones that offer the types."""

    vpc: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    """Given by the recipe, or the one that is there; empty: it is made."""
    account: str = ""
    """The one that pays for the machines. Its VPC may be somebody else's, who shares it."""


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the first effect."""

    job_url: str
    recipe: Recipe
    machines: int
    image: Image
    place: Place
    profile: str
    user_data: str
    nonce: str = ""
    """Of this launch."""
    owner: str = ""
    """Who starts it, as a tag."""

    @property
    def name(self) -> str:
        return group_name(self.job_url)

    @property
    def tags(self) -> dict[str, str]:
        return tags(self.job_url, self.recipe.tags, self.nonce, self.owner)


def create_security_group(plan: Plan) -> Call:
    """The one of all jobs in this VPC, without a rule for what comes in; AWS itself adds the one that lets everything
    out. It stays: a machine could remove it only after it has gone over into another group, and whoever may do that
    with one machine may do it with all."""
    tagged = {"ResourceType": "security-group", "Tags": tag_list(shared_tags(plan.recipe.tags))}
    return Call(
        "ec2",
        "create_security_group",
        {
            "GroupName": SHARED_GROUP,
            "Description": "Made by sc for all jobs: nothing comes in",
            "VpcId": plan.place.vpc,
            "TagSpecifications": [tagged],
        },
    )


def create_launch_template(plan: Plan, security_groups: Sequence[str]) -> Call:
    return Call(
        "ec2",
        "create_launch_template",
        {
            "LaunchTemplateName": plan.name,
            "LaunchTemplateData": launch_template_data(plan, security_groups),
            "TagSpecifications": _tagged("launch-template", plan),
        },
    )


def launch_template_data(plan: Plan, security_groups: Sequence[str]) -> dict[str, Any]:
    """How each machine is made: no key and no open port unless asked for, IMDSv2, an encrypted disk."""
    data: dict[str, Any] = {
        "ImageId": plan.image.id,
        "InstanceType": plan.recipe.instance_types[0],
        "IamInstanceProfile": {"Name": plan.profile},
        "SecurityGroupIds": list(security_groups),
        "InstanceInitiatedShutdownBehavior": "terminate",
        # A machine that is moved to other hardware boots again, where user-data is not run: it would only cost money.
        "MaintenanceOptions": {"AutoRecovery": "disabled"},
        "UserData": base64.b64encode(plan.user_data.encode()).decode("ascii"),
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": _HOPS,
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": plan.image.root_device,
                "Ebs": {
                    "VolumeType": "gp3",
                    "VolumeSize": plan.recipe.disk_space or plan.image.disk_gib,
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "TagSpecifications": [*_tagged("instance", plan), *_tagged("volume", plan)],
    }
    if plan.recipe.key_name:
        data["KeyName"] = plan.recipe.key_name
    return data


def create_group(plan: Plan) -> Call:
    """The group, still without machines. Its tags are not handed down: the template's are on the machines."""
    parameters: dict[str, Any] = {
        "AutoScalingGroupName": plan.name,
        "MinSize": 0,
        "MaxSize": plan.machines,
        "DesiredCapacity": 0,
        "VPCZoneIdentifier": ",".join(plan.place.subnets),
        "HealthCheckType": "EC2",
        "HealthCheckGracePeriod": 0,
        "Tags": [
            {
                **tag,
                "ResourceId": plan.name,
                "ResourceType": "auto-scaling-group",
                "PropagateAtLaunch": False,
            }
            for tag in tag_list(plan.tags)
        ],
    }
    template = {"LaunchTemplateName": plan.name, "Version": _VERSION}
    policy = mixed_instances(plan.recipe, template)
    if policy is None:
        parameters["LaunchTemplate"] = template
    else:
        parameters["MixedInstancesPolicy"] = policy
    return Call("autoscaling", "create_auto_scaling_group", parameters)


def mixed_instances(recipe: Recipe, template: Mapping[str, str]) -> Optional[dict[str, Any]]:
    """What several types, or spot, need; None for one type at the normal price.

    Spot: the pools that are both cheap and unlikely to be taken away. Otherwise the cheapest type that there is.
    """
    if len(recipe.instance_types) == 1 and not recipe.use_spot_instance:
        return None
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": dict(template),
            "Overrides": [{"InstanceType": kind} for kind in recipe.instance_types],
        },
        "InstancesDistribution": {
            "OnDemandBaseCapacity": 0,
            "OnDemandPercentageAboveBaseCapacity": 0 if recipe.use_spot_instance else 100,
            "OnDemandAllocationStrategy": "lowest-price",
            "SpotAllocationStrategy": "price-capacity-optimized",
        },
    }


def hold_processes(plan: Plan) -> Call:
    return Call(
        "autoscaling",
        "suspend_processes",
        {"AutoScalingGroupName": plan.name, "ScalingProcesses": list(HELD_PROCESSES)},
    )


def end_at_max_hours(plan: Plan, now: float) -> Call:
    """AWS itself takes the group to zero then, whoever is still there."""
    hours = plan.recipe.max_hours or MAX_HOURS
    moment = datetime.datetime.fromtimestamp(now + hours * 3600, datetime.timezone.utc)
    return Call(
        "autoscaling",
        "put_scheduled_update_group_action",
        {
            "AutoScalingGroupName": plan.name,
            "ScheduledActionName": SCHEDULED_ACTION,
            "StartTime": moment.replace(microsecond=0),
            "MinSize": 0,
            "MaxSize": 0,
            "DesiredCapacity": 0,
        },
    )


def start_machines(plan: Plan) -> Call:
    return Call(
        "autoscaling",
        "set_desired_capacity",
        {"AutoScalingGroupName": plan.name, "DesiredCapacity": plan.machines},
    )


def _tagged(resource: str, plan: Plan) -> list[dict[str, Any]]:
    return [{"ResourceType": resource, "Tags": tag_list(plan.tags)}]
