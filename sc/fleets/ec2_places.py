"""Where a job's machines go: subnets in the zones that offer what the recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sc.errors import InputError
from sc.fleets.ec2_aws import Aws, Call
from sc.fleets.ec2_requests import Place
from sc.model import Recipe

_MOST_TOLD = 8


def find_place(aws: Aws, recipe: Recipe) -> Place:
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
    return Place(
        vpcs[0], tuple(str(subnet["SubnetId"]) for subnet in fitting), recipe.security_groups
    )


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
