"""The account that the box pretends to be: what is in it, as moto keeps it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Optional

from moto.autoscaling.models import autoscaling_backends
from moto.ec2.models import ec2_backends
from moto.ssm.models import Parameter, ssm_backends

from sc.fleets.ec2_names import SHARED_GROUP, SHARED_TAG
from tests.cloud.front import Call
from tests.cloud.imds import Metadata
from tests.cloud.permissions import Attempt
from tests.cloud.signing import Credentials

ACCOUNT, REGION = "123456789012", "us-east-1"
GPU_IMAGE = (
    "/aws/service/deeplearning/ami/{}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"
)
LINUX_IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"

DOLLARS_PER_HOUR = "0.2268000000"
"""Of every machine that is not spot."""


def furnish(variants: Iterable[str]) -> dict[str, str]:
    """Put in what moto lacks. Returns the ids of new images, each with its variant."""
    images = {}
    for name in variants:
        image = ec2_backends[ACCOUNT][REGION].register_image(f"box-{name}", "an image of the box")
        image.architecture, image.root_device_name = "x86_64", "/dev/xvda"
        images[image.id] = name
    parameters = ssm_backends[ACCOUNT][REGION]._parameters
    for architecture in ("x86_64", "arm64"):
        linux = parameters[LINUX_IMAGE.format(architecture)][-1].value
        name = GPU_IMAGE.format(architecture)
        now = datetime.now(timezone.utc)
        made = Parameter(ACCOUNT, name, linux, "String", None, None, None, now, 1, "aws:ec2:image")
        parameters[name].append(made)
    return images


def price_list(_: Call) -> dict[str, Any]:
    """What `pricing:GetProducts` tells of any type of machine.

    https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
    """
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": DOLLARS_PER_HOUR}}
    terms = {"OnDemand": {"term": {"priceDimensions": {"dimension": dimension}}}}
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps({"terms": terms})]}


def user_data(instance: Any) -> bytes:
    return base64.b64decode(str(instance.user_data)) if instance.user_data else b""


def role_of(instance: Any) -> Optional[Any]:
    """moto's role that the instance's profile has now."""
    found = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
    roles = found.iam_instance_profile.roles if found else []
    return roles[0] if roles else None


def policies(instance: Any) -> list[Mapping[str, Any]]:
    """The policies of the instance's role, inline and attached."""
    role = role_of(instance)
    if role is None:
        return []
    attached = [policy.document for policy in role.managed_policies.values()]
    return [json.loads(text) for text in [*role.policies.values(), *attached]]


def metadata(boot: Any, credentials: Credentials) -> Metadata:
    """What a machine is told about itself."""
    instance = boot.instance
    role = role_of(instance)
    address, region = str(instance.private_ip), instance.ec2_backend.region_name
    host = f"ip-{address.replace('.', '-')}.ec2.internal"
    facts = {
        "ami-id": instance.image_id,
        "ami-launch-index": "0",
        "hostname": host,
        "instance-id": instance.id,
        "instance-life-cycle": instance.lifecycle or "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": host,
        "local-ipv4": address,
        "placement/availability-zone": instance.placement.zone,
        "placement/region": region,
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    identity = {
        "accountId": ACCOUNT,
        "architecture": instance.architecture,
        "availabilityZone": instance.placement.zone,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "privateIp": address,
        "region": region,
        "version": "2017-09-30",
    }
    required = instance.metadata_options.http_tokens == "required"
    name = role.name if role else None
    data = user_data(instance)
    return Metadata(
        instance.id,
        facts,
        identity,
        data,
        required,
        name,
        credentials,
        lambda: _lifecycle(instance),
    )


def _lifecycle(instance: Any) -> Optional[str]:
    group = getattr(instance, "autoscaling_group", None)
    for state in group.instance_states if group else []:
        if state.instance is instance:
            return "Terminated" if state.lifecycle_state == "Terminating" else "InService"
    return None


def leftovers() -> dict[str, list[str]]:
    """What somebody would have to remove, or pay for, by kind; without what an account has from the start."""
    found: dict[str, list[str]] = {}
    for backend in list(ec2_backends[ACCOUNT].values()):
        alive = [one for one in backend.all_instances() if one.state != "terminated"]
        found.setdefault("instances", []).extend(f"{one.id} {one.state}" for one in alive)
        names = [template.name for template in backend.launch_templates.values()]
        found.setdefault("launch templates", []).extend(names)
        groups = [group for of_vpc in backend.groups.values() for group in of_vpc.values()]
        found.setdefault("security groups", []).extend(
            f"{group.id} {group.name}"
            for group in groups
            if group.name != "default" and not _is_shared(group)
        )
        loose = [volume.id for volume in backend.volumes.values() if not volume.attachment]
        found.setdefault("volumes", []).extend(loose)
    for scaling in list(autoscaling_backends[ACCOUNT].values()):
        found.setdefault("groups", []).extend(scaling.autoscaling_groups)
        actions = [f"{name} of {group}" for group, name in scaling.scheduled_actions]
        found.setdefault("scheduled actions", []).extend(actions)
    return found


def _is_shared(group: Any) -> bool:
    """The one security group that stays in a VPC, closed and marked as that."""
    marked = group.name == SHARED_GROUP and SHARED_TAG in {tag["key"] for tag in group.get_tags()}
    return marked and not group.ingress_rules


def attempts(call: Call) -> Sequence[Attempt]:
    """What a call of the API needs to be allowed."""
    action = f"{call.service}:{call.action}"
    parameters = call.parameters
    if call.service == "ssm" and call.action in ("GetParameter", "GetParameters"):
        names = parameters.get("Names") or [parameters.get("Name", "")]
        return [Attempt(action, _parameter_arn(name)) for name in names]
    if call.action.startswith("Describe") or call.service not in ("ec2", "autoscaling"):
        return [Attempt(action)]
    named = _groups_named if call.service == "autoscaling" else _ec2_named
    found = named(parameters)
    return [_attempt(action, arn, tags) for arn, tags in found] or [Attempt(action)]


def _parameter_arn(name: str) -> str:
    """Of the parameter itself: a version or a label of it is no resource of its own."""
    plain = name.partition(":parameter")[2] or name
    return f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/" + plain.partition(":")[0].lstrip("/")


def _attempt(action: str, arn: str, tags: Mapping[str, str]) -> Attempt:
    prefixes = ("aws", action.split(":")[0])
    context = {f"{one}:ResourceTag/{key}": value for one in prefixes for key, value in tags.items()}
    return Attempt(action, arn, context)


def _groups_named(parameters: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    group_name, instance_id = parameters.get("AutoScalingGroupName"), parameters.get("InstanceId")
    return [
        (group.arn, {tag["Key"]: tag["Value"] for tag in group.tags})
        for group in autoscaling_backends[ACCOUNT][REGION].autoscaling_groups.values()
        if group.name == group_name
        or (instance_id and any(one.instance_id == instance_id for one in group.instance_states))
    ]


_KINDS = {"lt-": "launch-template", "sg-": "security-group", "i-": "instance"}


def _ec2_named(parameters: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """The EC2 resources that a call names by their ids, or a launch template by its name."""
    backend = ec2_backends[ACCOUNT][REGION]
    by_name = backend.launch_template_name_to_ids.get(parameters.get("LaunchTemplateName", ""))
    found = []
    for value in [*parameters.values(), by_name]:
        kind = next((kind for start, kind in _KINDS.items() if str(value).startswith(start)), None)
        if kind and value:
            arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/{value}"
            tags = {
                tag["key"]: tag["value"] for tag in backend.describe_tags({"resource-id": [value]})
            }
            found.append((arn, tags))
    return found
