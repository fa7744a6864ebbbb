"""From a recipe to what AWS is asked for, as data."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest

from sc.fleets.ec2_names import group_name, tags, url_from_tag, url_to_tag
from sc.fleets.ec2_requests import (
    Image,
    Place,
    Plan,
    create_group,
    create_security_group,
    end_at_max_hours,
    hold_processes,
    launch_template_data,
    start_machines,
)
from sc.model import Recipe

URL = "s3://bucket/backfill/.sc/job"
NOW = 1_800_000_000.0


def plan(*types: str, url: str = URL, **recipe: Any) -> Plan:
    return Plan(
        job_url=url,
        recipe=Recipe("job", types or ("r6a.xlarge",), scale=8, **recipe),
        machines=5,
        image=Image("ami-1", "x86_64", "/dev/sda1", 30),
        place=Place("vpc-1", ("subnet-a", "subnet-b"), ()),
        profile="sc-machine",
        user_data="#!/bin/sh\n",
    )


def test_a_machine_has_no_secret_no_open_door_and_ends_when_it_is_switched_off() -> None:
    data = launch_template_data(plan(), ["sg-1"])
    assert base64.b64decode(data.pop("UserData")) == b"#!/bin/sh\n"
    assert data == {
        "ImageId": "ami-1",
        "InstanceType": "r6a.xlarge",
        "IamInstanceProfile": {"Name": "sc-machine"},
        "SecurityGroupIds": ["sg-1"],
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MaintenanceOptions": {"AutoRecovery": "disabled"},
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 2,
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "VolumeType": "gp3",
                    "VolumeSize": 30,
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tag_list(plan().tags)} for kind in ("instance", "volume")
        ],
    }


def tag_list(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in values.items()]


def test_disk_and_key_are_those_of_the_recipe() -> None:
    data = launch_template_data(plan(disk_space=500, key_name="mine"), ["sg-1"])
    assert data["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 500
    assert data["KeyName"] == "mine"


def test_the_group_is_made_without_machines_and_may_shrink_to_none() -> None:
    made = create_group(plan()).parameters
    assert (made["MinSize"], made["MaxSize"], made["DesiredCapacity"]) == (0, 5, 0)
    assert made["VPCZoneIdentifier"] == "subnet-a,subnet-b"
    template = {"LaunchTemplateName": group_name(URL), "Version": "1"}
    assert made["LaunchTemplate"] == template
    assert "MixedInstancesPolicy" not in made
    # It would start machines beyond `scale`, and end busy ones by itself:
    # docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-capacity-rebalancing.html
    assert "CapacityRebalance" not in made
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == plan().tags
    assert {tag["PropagateAtLaunch"] for tag in made["Tags"]} == {False}


@pytest.mark.parametrize(
    ("types", "spot", "on_demand"),
    [
        (("r6a.xlarge",), True, 0),
        (("r6a.xlarge", "r5.xlarge"), True, 0),
        (("r6a.xlarge", "r5.xlarge"), False, 100),
    ],
)
def test_several_types_or_spot_are_a_mixed_group(
    types: tuple[str, ...], spot: bool, on_demand: int
) -> None:
    made = create_group(plan(*types, use_spot_instance=spot)).parameters
    policy = made["MixedInstancesPolicy"]
    assert "LaunchTemplate" not in made
    assert policy["LaunchTemplate"]["Overrides"] == [{"InstanceType": kind} for kind in types]
    distribution = policy["InstancesDistribution"]
    assert distribution["OnDemandPercentageAboveBaseCapacity"] == on_demand
    assert distribution["OnDemandBaseCapacity"] == 0
    assert distribution["SpotAllocationStrategy"] == "price-capacity-optimized"


def test_aws_neither_evens_out_zones_nor_repeats_boots_before_one_has_worked() -> None:
    assert hold_processes(plan()).parameters == {
        "AutoScalingGroupName": group_name(URL),
        "ScalingProcesses": ["AZRebalance", "ReplaceUnhealthy"],
    }


@pytest.mark.parametrize(("hours", "then"), [(None, 7 * 24 * 3600), (0.5, 1800), (30, 108000)])
def test_aws_itself_ends_everything_at_max_hours(hours: Any, then: int) -> None:
    asked = end_at_max_hours(plan(max_hours=hours), NOW).parameters
    moment = datetime.datetime.fromtimestamp(NOW + then, datetime.timezone.utc)
    assert asked["StartTime"] == moment
    assert (asked["MinSize"], asked["MaxSize"], asked["DesiredCapacity"]) == (0, 0, 0)


def test_as_many_machines_as_the_job_has_work_for() -> None:
    assert start_machines(plan()).parameters["DesiredCapacity"] == 5


def test_security_group_is_of_all_jobs_and_has_no_rule_of_ours() -> None:
    call = create_security_group(plan(tags={"team": "data", "sc:job": "evil"}))
    assert call.parameters["GroupName"] == "sc-nothing-in"
    (tagged,) = call.parameters["TagSpecifications"]
    assert {tag["Key"] for tag in tagged["Tags"]} == {"Name", "team", "sc:shared"}
    assert call.operation == "create_security_group"
    assert call.parameters["VpcId"] == "vpc-1"
    assert set(call.parameters) == {"GroupName", "Description", "VpcId", "TagSpecifications"}


def test_the_name_comes_from_the_url_alone_and_differs_between_batches() -> None:
    assert group_name(URL) == group_name(URL + "/")
    assert group_name(URL) != group_name("s3://bucket/other/.sc/job")
    longest = group_name("s3://b/.sc/" + "x" * 63)
    assert len(longest) == 75
    assert set(longest) <= set("scx-0123456789abcdef")


def test_everything_is_tagged_and_nobody_takes_our_tags_over() -> None:
    made = tags(URL, {"team": "data", "sc:job": "evil", "Name": "mine"})
    assert made == {"team": "data", "Name": "mine", "sc:job": "job", "sc:url": URL}


@pytest.mark.parametrize(
    "url", ["s3://b/a b/.sc/j", 's3://b/a\'; echo "ü"=%41~*/.sc/j', "sfs://o/p/.sc/j"]
)
def test_a_url_survives_as_a_tag(url: str) -> None:
    text = url_to_tag(url)
    assert text is not None
    assert set(text) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 +-=._:/@"
    )
    assert url_from_tag(text) == url


def test_a_url_too_long_for_a_tag_is_left_out() -> None:
    url = "s3://b/" + "x" * 300 + "/.sc/j"
    assert url_to_tag(url) is None
    assert "sc:url" not in tags(url, {})
