"""An account of AWS as moto knows it: machines that are there, and run nothing."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sc.fleets.ec2_names import tag_list

BUCKET, REGION = "outputs", "eu-west-1"


class Account:
    """An account of moto's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ec2, self.scaling = self.client("ec2"), self.client("autoscaling")

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": REGION,
        }

    def client(self, service: str) -> Any:
        import boto3

        session: Any = boto3.session.Session("key", "secret", region_name=REGION)
        return session.client(service, endpoint_url=self.url)

    def group(self, name: str, size: int, tagged: dict[str, str]) -> list[str]:
        """Make a group with machines whose template gives them these tags; the ids of the machines."""
        image = self.ec2.describe_images()["Images"][0]["ImageId"]
        on_machines = [{"ResourceType": "instance", "Tags": tag_list(tagged)}] if tagged else []
        data = {"ImageId": image, "InstanceType": "t3.micro", "TagSpecifications": on_machines}
        self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=0,
            MaxSize=5,
            DesiredCapacity=size,
            VPCZoneIdentifier=self.ec2.describe_subnets()["Subnets"][0]["SubnetId"],
            LaunchTemplate={"LaunchTemplateName": name, "Version": "1"},
            Tags=[
                {**tag, "ResourceId": name, "ResourceType": "auto-scaling-group"}
                for tag in tag_list(tagged)
            ],
        )
        return [one["InstanceId"] for one in self.groups()[name]["Instances"]]

    def one_machine(self) -> str:
        image = self.ec2.describe_images()["Images"][0]["ImageId"]
        made = self.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)
        return str(made["Instances"][0]["InstanceId"])

    def tag(self, identity: str, tagged: dict[str, str]) -> None:
        self.ec2.create_tags(Resources=[identity], Tags=tag_list(tagged))

    def groups(self) -> dict[str, Any]:
        told = self.scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        return {group["AutoScalingGroupName"]: group for group in told}

    def state(self, identity: str) -> str:
        told = self.ec2.describe_instances(InstanceIds=[identity])["Reservations"]
        return str(told[0]["Instances"][0]["State"]["Name"])


@contextmanager
def moto_account() -> Iterator[Account]:
    """An empty account; skips the test where there is no moto."""
    pytest.importorskip("moto", minversion="5.2", reason="needs moto[server] >= 5.2")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    made = Account(f"http://{host}:{port}")
    reset = urllib.request.Request(f"{made.url}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()
    made.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    try:
        yield made
    finally:
        server.stop()
