"""`sc ps` and `sc stop` beside machines that only carry the tag: moto is AWS, without machines that boot."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sc.fleets.ec2_names import group_name, tag_list, tags
from tests.e2e.program import Program

BUCKET = "outputs"
URL = f"s3://{BUCKET}/.sc/iris"
REGION = "eu-west-1"


class Account:
    """An account of moto's."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.ec2, self.scaling = self.client("ec2"), self.client("autoscaling")

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": REGION,
            "HOME": str(self.folder),
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


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    pytest.importorskip("moto", minversion="5.2", reason="needs moto[server] >= 5.2")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    made = Account(f"http://{host}:{port}", tmp_path)
    reset = urllib.request.Request(f"{made.url}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()
    made.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    try:
        yield made
    finally:
        server.stop()


def test_stop_leaves_the_group_of_a_machine_with_a_copied_tag_alone(
    program: Program, account: Account, tmp_path: Path
) -> None:
    web = account.group("web-production", 3, {})
    account.tag(web[0], {"sc:job": "iris"})
    alone = account.one_machine()
    account.tag(alone, tags(URL, {}))

    def sc(*words: str) -> Any:
        return program.run(*words, cwd=tmp_path, environment=account.environment())

    looked = sc("ps", "iris", "--json")
    assert (looked.returncode, json.loads(looked.stdout)) == (0, [])
    (line,) = [line for line in looked.stderr.splitlines() if web[0] in line]
    assert sorted(line.split("--instance-ids ")[1].split()) == sorted([web[0], alone])
    assert f"aws --region {REGION} ec2 terminate-instances" in line
    assert sc("stop", "iris", "--now").returncode == 2
    assert sc("stop", URL, "--now").returncode == 2
    assert {account.state(one) for one in [*web, alone]} == {"running"}

    ours = account.group(group_name(URL), 2, tags(URL, {}))
    assert [one["id"] for one in json.loads(sc("ps", "iris", "--json").stdout)] == ours
    stopped = sc("stop", "iris", "--now")
    assert stopped.returncode == 0, stopped.stderr
    assert {account.state(one) for one in ours} == {"terminated"}
    assert list(account.groups()) == ["web-production"]
    assert {account.state(one) for one in [*web, alone]} == {"running"}


def test_stop_does_not_end_a_machine_that_was_put_into_the_group(
    program: Program, account: Account, tmp_path: Path
) -> None:
    name = group_name(URL)
    ours, theirs = account.group(name, 1, tags(URL, {})), account.one_machine()
    account.scaling.attach_instances(AutoScalingGroupName=name, InstanceIds=[theirs])
    environment = account.environment()
    stopped = program.run("stop", URL, "--now", cwd=tmp_path, environment=environment)
    assert stopped.returncode == 3
    assert f"somebody has put {theirs} into it" in stopped.stderr
    assert (account.state(ours[0]), account.state(theirs)) == ("terminated", "running")
    account.scaling.detach_instances(
        AutoScalingGroupName=name, InstanceIds=[theirs], ShouldDecrementDesiredCapacity=True
    )
    stopped = program.run("stop", "iris", "--now", cwd=tmp_path, environment=environment)
    assert stopped.returncode == 0, stopped.stderr
    assert (account.state(theirs), account.groups()) == ("running", {})
