"""The box behaves as AWS does, as far as `sc` relies on it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.cloud.box import Cloud
    from tests.cloud.hypervisor import Boot

pytestmark = pytest.mark.bare

TOKEN = """#!/bin/sh
token=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
ask() { curl -s -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/$1"; }
"""
SLEEP = "#!/bin/sh\nexec sleep 1000\n"


def profile(cloud: Cloud, statements: Sequence[Mapping[str, Any]], name: str = "box") -> str:
    """Make a role and an instance profile of this name with these rights."""
    iam = cloud.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=document)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def template(cloud: Cloud, user_data: str, image: str = "bullseye", **data: Any) -> str:
    """Make a launch template and return its id."""
    data.setdefault("InstanceInitiatedShutdownBehavior", "terminate")
    made = cloud.client("ec2").create_launch_template(
        LaunchTemplateName="sc-test",
        LaunchTemplateData={
            "ImageId": cloud.image(image),
            "InstanceType": "r6a.xlarge",
            "UserData": base64.b64encode(user_data.encode()).decode(),
            "MetadataOptions": {"HttpTokens": "required"},
            **data,
        },
    )
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def group(cloud: Cloud, user_data: str, size: int, **data: Any) -> Any:
    """Make the group `sc-test` with so many machines, of any of two types, and return a client."""
    scaling = cloud.client("autoscaling")
    subnets = cloud.client("ec2").describe_subnets()["Subnets"]
    specification = {"LaunchTemplateId": template(cloud, user_data, **data), "Version": "1"}
    overrides = [{"InstanceType": "r6a.xlarge"}, {"InstanceType": "m6a.xlarge"}]
    policy = {"LaunchTemplateSpecification": specification, "Overrides": overrides}
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="sc-test",
        MinSize=0,
        MaxSize=size,
        VPCZoneIdentifier=",".join(one["SubnetId"] for one in subnets[:3]),
        Tags=[{"Key": "sc:job", "Value": "test", "PropagateAtLaunch": True}],
        MixedInstancesPolicy={"LaunchTemplate": policy},
    )
    scaling.set_desired_capacity(AutoScalingGroupName="sc-test", DesiredCapacity=size)
    return scaling


def start(cloud: Cloud, user_data: str, image: str = "bullseye", **data: Any) -> Boot:
    """Start one instance, and wait until its user-data runs."""
    made = template(cloud, user_data, image, **data)
    cloud.client("ec2").run_instances(
        MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateId": made}
    )
    return running(cloud, 1)[0]


def running(cloud: Cloud, count: int) -> list[Boot]:
    """Wait until so many machines run their user-data, and return them."""

    def found() -> list[Boot]:
        return [boot for boot in cloud.alive() if boot.began_at and boot.state == "running"]

    cloud.wait(lambda: len(found()) == count, what=f"{count} machines")
    return found()


def ended(cloud: Cloud, boot: Boot) -> None:
    cloud.wait(lambda: boot.state in ("terminated", "stopped"), what=f"{boot.instance_id} ends")


@pytest.mark.parametrize(("root", "python"), [("bullseye", "3.9"), ("trixie", "3.13")])
def test_a_machine_knows_only_what_came_through_its_user_data(
    cloud: Cloud, root: str, python: str
) -> None:
    script = TOKEN + (
        "env | cut -d= -f1 | sort | tr '\\n' ' '; echo; pwd; id -u; ls /root /work /home\n"
        "python3 -c 'import sys; print(sys.version.split()[0])'\n"
        "ask meta-data/instance-id; echo; ask meta-data/placement/region; echo\n"
        "curl -s -o /dev/null -w '%{http_code}\\n' http://169.254.169.254/latest/meta-data/instance-id\n"
        "shutdown -h now\n"
    )
    boot = start(cloud, script, root)
    ended(cloud, boot)
    lines = boot.console().splitlines()
    assert "AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 LANG PATH PWD " in lines
    assert lines[lines.index("/") :][:2] == ["/", "0"]
    assert any(line.startswith(python + ".") for line in lines)
    assert lines.index(boot.instance_id) + 1 == lines.index("us-east-1")
    assert "401" in lines
    assert (boot.state, boot.end) == ("terminated", "off")
    assert cloud.leftovers() == {"launch templates": ["sc-test"]}


def test_objects_come_and_go_by_the_roles_keys_as_far_as_its_policy_goes(
    cloud: Cloud, bucket: str
) -> None:
    client = cloud.s3.client()
    client.put_object(Bucket=bucket, Key="in put/ä", Body=b"x" * 3_000_000)
    script = TOKEN + (
        "keys=$(ask meta-data/iam/security-credentials/box)\n"
        'word() { printf %s "$keys" | sed -n "s/.*\\"$1\\": \\"\\(.*\\)\\".*/\\1/p"; }\n'
        'sign() { curl -sf --aws-sigv4 aws:amz:us-east-1:s3 -u "$(word AccessKeyId):$(word SecretAccessKey)"'
        ' -H "x-amz-security-token: $(word Token)" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$@"; }\n'
        f"sign -o /tmp/got $AWS_ENDPOINT_URL_S3/{bucket}/in%20put/%C3%A4\n"
        f"sign -T /tmp/got $AWS_ENDPOINT_URL_S3/{bucket}/back\n"
        f"sign -T /tmp/got $AWS_ENDPOINT_URL_S3/{bucket}/forbidden; echo refused $?\n"
        f"sign -H 'x-amz-security-token: other' $AWS_ENDPOINT_URL_S3/{bucket}/back; echo refused $?\n"
        "poweroff\n"
    )
    allowed = [f"arn:aws:s3:::{bucket}/in put/*", f"arn:aws:s3:::{bucket}/back"]
    name = profile(cloud, [{"Effect": "Allow", "Action": "s3:*", "Resource": allowed}])
    boot = start(cloud, script, "trixie", IamInstanceProfile={"Name": name})
    ended(cloud, boot)
    assert client.get_object(Bucket=bucket, Key="back")["Body"].read() == b"x" * 3_000_000
    assert boot.console().splitlines().count("refused 22") == 2
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    methods = [method for _, method, _ in cloud.s3_requests]
    assert methods == ["GET", "PUT", "PUT", "GET"]


def test_a_group_replaces_what_is_lost_and_not_what_is_given_back(cloud: Cloud) -> None:
    scaling = group(cloud, SLEEP, 2)
    one, two = running(cloud, 2)
    assert one.zone != two.zone
    cloud.power_cut(one.instance_id)
    ended(cloud, one)
    assert (one.end, one.console().count("Power Off")) == ("power cut", 0)
    _, three = running(cloud, 2)
    scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=two.instance_id, ShouldDecrementDesiredCapacity=True
    )
    ended(cloud, two)
    assert running(cloud, 1) == [three]
    told = scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]
    assert (told["DesiredCapacity"], told["MaxSize"]) == (1, 2)
    assert [each["InstanceId"] for each in told["Instances"]] == [three.instance_id]
    tags = cloud.client("ec2").describe_tags(Filters=[{"Name": "key", "Values": ["sc:job"]}])[
        "Tags"
    ]
    assert {tag["ResourceId"] for tag in tags if tag["ResourceType"] == "instance"} >= {
        three.instance_id
    }
    assert len(cloud.instances()) == 3
    assert cloud.most_alive == 2


def test_while_replacing_is_suspended_a_lost_machine_keeps_its_place(cloud: Cloud) -> None:
    scaling = group(cloud, SLEEP, 1)
    (boot,) = running(cloud, 1)
    words = {"AutoScalingGroupName": "sc-test", "ScalingProcesses": ["ReplaceUnhealthy"]}
    scaling.suspend_processes(**words)
    cloud.power_cut(boot.instance_id)

    def told() -> list[tuple[str, str]]:
        instances = scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"]
        return [(each["InstanceId"], each["HealthStatus"]) for each in instances]

    cloud.wait(lambda: told() == [(boot.instance_id, "Unhealthy")])
    assert len(cloud.instances()) == 1
    scaling.resume_processes(**words)
    assert running(cloud, 1) == [cloud.instances()[1]]


def test_a_group_with_machines_is_only_deleted_by_force_and_they_end(cloud: Cloud) -> None:
    scaling = group(cloud, SLEEP, 2)
    boots = running(cloud, 2)
    with pytest.raises(ClientError) as refused:
        scaling.delete_auto_scaling_group(AutoScalingGroupName="sc-test")
    assert refused.value.response["Error"]["Code"] == "ResourceInUse"
    scaling.delete_auto_scaling_group(AutoScalingGroupName="sc-test", ForceDelete=True)
    cloud.wait(lambda: not scaling.describe_auto_scaling_groups()["AutoScalingGroups"])
    assert [boot.end for boot in boots] == ["terminated", "terminated"]
    assert cloud.leftovers() == {"launch templates": ["sc-test"]}


def test_a_scheduled_action_ends_all_when_its_time_has_come(cloud: Cloud) -> None:
    scaling = group(cloud, SLEEP, 2)
    running(cloud, 2)
    action = {"AutoScalingGroupName": "sc-test", "ScheduledActionName": "end"}
    sizes = {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
    with pytest.raises(ClientError, match="in the past"):
        scaling.put_scheduled_update_group_action(**action, **sizes, StartTime=cloud.now())
    later = cloud.now() + timedelta(hours=2)
    scaling.put_scheduled_update_group_action(**action, **sizes, StartTime=later)
    told = scaling.describe_scheduled_actions(AutoScalingGroupName="sc-test")
    assert abs(told["ScheduledUpdateGroupActions"][0]["StartTime"] - later) < timedelta(seconds=2)
    cloud.advance(hours=3)
    cloud.wait(lambda: not cloud.alive(), what="the scheduled action")
    assert sorted(cloud.leftovers()) == ["groups", "launch templates"]


def test_without_capacity_the_group_says_why_it_starts_nothing(cloud: Cloud) -> None:
    cloud.groups.no_capacity.add(("r6a.xlarge", "*"))
    cloud.groups.no_capacity.add(("m6a.xlarge", "us-east-1a"))
    scaling = group(cloud, SLEEP, 1)
    (boot,) = running(cloud, 1)
    assert (boot.instance_type, boot.zone) == ("m6a.xlarge", "us-east-1b")
    cloud.groups.no_capacity.add(("*", "*"))
    scaling.update_auto_scaling_group(AutoScalingGroupName="sc-test", MaxSize=2, DesiredCapacity=2)

    def failed() -> list[Any]:
        told = scaling.describe_scaling_activities(AutoScalingGroupName="sc-test")["Activities"]
        return [one for one in told if one["StatusCode"] == "Failed"]

    assert "do not have sufficient capacity" in cloud.wait(failed)[0]["StatusMessage"]


def test_a_security_group_in_use_cannot_be_deleted(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    made = ec2.create_security_group(GroupName="sc-test", Description="x")["GroupId"]
    boot = start(cloud, SLEEP, SecurityGroupIds=[made])
    with pytest.raises(ClientError) as refused:
        ec2.delete_security_group(GroupId=made)
    assert refused.value.response["Error"]["Code"] == "DependencyViolation"
    ec2.terminate_instances(InstanceIds=[boot.instance_id])
    told = ec2.describe_instances()["Reservations"][0]["Instances"][0]
    assert told["State"]["Name"] == "shutting-down"
    ended(cloud, boot)
    ec2.delete_security_group(GroupId=made)
    assert cloud.leftovers() == {"launch templates": ["sc-test"]}
