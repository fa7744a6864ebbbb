"""Where a job's machines go: subnets in the zones that offer what the recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, Optional

from sc.errors import InputError
from sc.fleets.ec2_aws import Aws, AwsRefused, Call
from sc.fleets.ec2_names import SHARED_GROUP
from sc.fleets.ec2_requests import Place, Plan, create_security_group
from sc.model import Recipe

_MOST_TOLD = 8
_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between looks for what AWS says to be there."""


def find_place(aws: Aws, recipe: Recipe, account: str) -> Place:
    """The recipe's subnets, or those of the default VPC, in every zone that offers one of the types."""
    if recipe.subnets:
        asked: dict[str, Any] = {"SubnetIds": list(recipe.subnets)}
    else:
        filters = [
            {"Name": "vpc-id", "Values": [_default_vpc(aws)]},
            {"Name": "default-for-az", "Values": ["true"]},
        ]
        asked = {"Filters": filters}
    subnets = list(aws.pages(Call("ec2", "describe_subnets", asked), "Subnets"))
    zones = _zones_that_offer(aws, recipe)
    fitting = [subnet for subnet in subnets if subnet["AvailabilityZone"] in zones]
    if not fitting:
        kinds = ", ".join(recipe.instance_types)
        raise InputError(
            f"No subnet lies in a zone that offers {kinds} (those are {', '.join(sorted(zones)) or 'none'}): "
            "name others as `subnets`, or take another type."
        )
    vpcs = sorted({str(subnet["VpcId"]) for subnet in fitting})
    if len(vpcs) > 1:
        raise InputError(
            f"The subnets belong to several VPCs ({', '.join(vpcs)}): name those of one."
        )
    _check_security_groups(aws, recipe.security_groups, vpcs[0])
    groups = recipe.security_groups
    if not groups:
        shared = _shared_group(aws, vpcs[0], account)
        groups = (shared,) if shared else ()
    names = tuple(str(subnet["SubnetId"]) for subnet in fitting)
    return Place(vpcs[0], names, groups, account)


def security_groups(
    aws: Aws, plan: Plan, tell: Callable[[str], None], sleep: Callable[[float], None]
) -> Sequence[str]:
    """Those of the machines. The one that all jobs share is made by the first of them, and stays."""
    place = plan.place
    if place.security_groups:
        return place.security_groups
    tell(f"Making the security group {SHARED_GROUP} of {place.vpc}, once for all jobs")
    try:
        return (str(aws.send(create_security_group(plan))["GroupId"]),)
    except AwsRefused as error:
        if error.code != "InvalidGroup.Duplicate":
            raise
        for pause in _PAUSES:  # another first launch was quicker
            found = _shared_group(aws, place.vpc, place.account)
            if found:
                return (found,)
            sleep(pause)
        raise


def _shared_group(aws: Aws, vpc: str, account: str) -> Optional[str]:
    """The id of the security group that all jobs of this account share in this VPC. Raises InputError if it has been
    opened: machines would be in it that are promised to be closed.

    In a VPC that somebody shares, their groups are seen as well, and cannot be used
    (docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html).
    """
    values = {"vpc-id": vpc, "group-name": SHARED_GROUP, "owner-id": account}
    asked = [{"Name": name, "Values": [value]} for name, value in values.items()]
    call = Call("ec2", "describe_security_groups", {"Filters": asked})
    for group in aws.pages(call, "SecurityGroups"):
        if group["GroupName"] != SHARED_GROUP:
            continue
        identity = str(group["GroupId"])
        if group.get("IpPermissions"):
            raise InputError(
                f"Somebody has opened the security group {SHARED_GROUP} ({identity}) of {vpc}: it has inbound rules. "
                f"Remove them (`aws --region {aws.region} ec2 describe-security-group-rules "
                f"--filters Name=group-id,Values={identity}` lists them), or name others as `security_groups`."
            )
        return identity
    return None


def _default_vpc(aws: Aws) -> str:
    asked = [{"Name": "is-default", "Values": ["true"]}]
    for vpc in aws.pages(Call("ec2", "describe_vpcs", {"Filters": asked}), "Vpcs"):
        return str(vpc["VpcId"])
    raise InputError(
        f"{aws.region} has no default VPC: name the subnets to use as `subnets: [subnet-…]` in the recipe"
        f"{_usable_subnets(aws)}, or make one with `aws ec2 create-default-vpc`."
    )


def _usable_subnets(aws: Aws) -> str:
    """Those of the account, and those that another account shares with it: docs.aws.amazon.com/vpc/latest/userguide/
    vpc-share-limitations.html (participants describe them, start instances in them, and make security groups of their
    own in that VPC)."""
    found = list(aws.pages(Call("ec2", "describe_subnets", {}), "Subnets"))
    told = [f"{one['SubnetId']} of {one['VpcId']}" for one in found[:_MOST_TOLD]]
    more = f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    return f" (there are {', '.join(told)}{more})" if told else ""


def _zones_that_offer(aws: Aws, recipe: Recipe) -> set[str]:
    asked = {
        "LocationType": "availability-zone",
        "Filters": [{"Name": "instance-type", "Values": list(recipe.instance_types)}],
    }
    call = Call("ec2", "describe_instance_type_offerings", asked)
    return {str(offer["Location"]) for offer in aws.pages(call, "InstanceTypeOfferings")}


def _check_security_groups(aws: Aws, ids: Sequence[str], vpc: str) -> None:
    if not ids:
        return
    call = Call("ec2", "describe_security_groups", {"GroupIds": list(ids)})
    for group in aws.send(call)["SecurityGroups"]:
        if group["VpcId"] != vpc:
            raise InputError(
                f"The security group {group['GroupId']} belongs to {group['VpcId']}, but the subnets to {vpc}."
            )
