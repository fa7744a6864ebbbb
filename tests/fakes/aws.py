"""AWS as a few dictionaries: remembers what it was asked, answers what it was told to, and knows what is made."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional, Union

from sc.errors import ScError
from sc.fleets.ec2_aws import AwsRefused, Call

Answer = Union[Mapping[str, Any], ScError, Callable[[Mapping[str, Any]], Any]]

TYPES: dict[str, dict[str, Any]] = {
    "r6a.xlarge": {"ProcessorInfo": {"SupportedArchitectures": ["x86_64"]}},
    "m7g.large": {"ProcessorInfo": {"SupportedArchitectures": ["arm64"]}},
    "g5.xlarge": {
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "GpuInfo": {"Gpus": [{"Manufacturer": "NVIDIA", "Name": "A10G", "Count": 1}]},
    },
    "p3.2xlarge": {
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "GpuInfo": {"Gpus": [{"Manufacturer": "NVIDIA", "Name": "V100", "Count": 1}]},
    },
    "g3.4xlarge": {
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "GpuInfo": {"Gpus": [{"Manufacturer": "NVIDIA", "Name": "M60", "Count": 1}]},
    },
    "p2.xlarge": {
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "GpuInfo": {"Gpus": [{"Manufacturer": "NVIDIA", "Name": "K80", "Count": 1}]},
    },
    "u-6tb1.metal": {
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "SupportedUsageClasses": ["on-demand"],
    },
}
IMAGES = {
    "ami-x86": ("x86_64", "/dev/xvda", 8),
    "ami-arm": ("arm64", "/dev/xvda", 8),
    "ami-big": ("x86_64", "/dev/sda1", 100),
}


class FakeAws:
    """One account and region. What changes something is in `changes`, everything in `calls`."""

    region = "eu-west-1"
    uses_fips = False

    def __init__(self, **answers: Answer) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, Answer] = {**_account(), **answers}

    @property
    def changes(self) -> list[str]:
        """The operations that changed something, in order."""
        reading = ("describe", "get", "head", "list")
        return [call.operation for call in self.calls if not call.operation.startswith(reading)]

    def send(self, call: Call) -> Any:
        self.calls.append(call)
        answer = self.answers.get(call.operation, {})
        if callable(answer):
            answer = answer(call.parameters)
        if isinstance(answer, ScError):
            raise answer
        return answer

    def pages(self, call: Call, key: str) -> Iterator[Any]:
        yield from self.send(call).get(key, [])

    def endpoint(self, service: str, region: Optional[str] = None) -> str:
        return f"https://{service}.{region or self.region}.amazonaws.com"


def instance(identity: str, state: str = "running", group: str = "", **more: Any) -> dict[str, Any]:
    """As DescribeInstances tells of one."""
    return {
        "InstanceId": identity,
        "InstanceType": "r6a.xlarge",
        "State": {"Name": state},
        "Placement": {"AvailabilityZone": "eu-west-1a"},
        "LaunchTime": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        "Tags": [
            {"Key": "aws:autoscaling:groupName", "Value": group},
            {"Key": "sc:job", "Value": "job"},
        ],
        **more,
    }


def refused(code: str, message: str = "no") -> AwsRefused:
    return AwsRefused(f"{message} ({code})", code)


def _account() -> dict[str, Answer]:
    """An account with a default VPC, the profile and a bucket."""
    return {
        "get_caller_identity": {
            "Account": "123456789012",
            "Arn": "arn:aws:iam::123456789012:user/me",
        },
        "head_bucket": {"BucketRegion": "eu-central-1"},
        "get_instance_profile": {"InstanceProfile": {"Roles": [{"RoleName": "sc-machine"}]}},
        "describe_instance_types": _types,
        "get_parameter": lambda asked: {
            "Parameter": {"Value": "ami-arm" if "arm64" in asked["Name"] else "ami-x86"}
        },
        "describe_images": _images,
        "describe_vpcs": {"Vpcs": [{"VpcId": "vpc-1"}]},
        "describe_subnets": {
            "Subnets": [
                {"SubnetId": "subnet-a", "VpcId": "vpc-1", "AvailabilityZone": "eu-west-1a"},
                {"SubnetId": "subnet-b", "VpcId": "vpc-1", "AvailabilityZone": "eu-west-1b"},
                {"SubnetId": "subnet-c", "VpcId": "vpc-1", "AvailabilityZone": "eu-west-1c"},
            ]
        },
        "describe_instance_type_offerings": {
            "InstanceTypeOfferings": [{"Location": "eu-west-1a"}, {"Location": "eu-west-1c"}]
        },
        "create_security_group": {"GroupId": "sg-new"},
        "describe_scaling_activities": {"Activities": []},
    }


def _types(asked: Mapping[str, Any]) -> dict[str, Any]:
    (only,) = asked["Filters"]
    return {
        "InstanceTypes": [
            {"InstanceType": name, **TYPES[name]} for name in only["Values"] if name in TYPES
        ]
    }


def _images(asked: Mapping[str, Any]) -> Any:
    (identity,) = asked["ImageIds"]
    if identity not in IMAGES:
        return refused("InvalidAMIID.NotFound")
    architecture, device, size = IMAGES[identity]
    mapping = {"DeviceName": device, "Ebs": {"VolumeSize": size}}
    return {
        "Images": [
            {
                "ImageId": identity,
                "Architecture": architecture,
                "RootDeviceName": device,
                "BlockDeviceMappings": [mapping],
            }
        ]
    }
