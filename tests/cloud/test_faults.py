"""What a test can do to the box's machines and to the calls of its API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.cloud.test_box import SLEEP, TOKEN, ended, group, profile, running, start

if TYPE_CHECKING:
    from tests.cloud.box import Cloud
    from tests.cloud.hypervisor import Boot

pytestmark = pytest.mark.bare


def test_a_spot_machine_is_told_before_it_is_taken_away(cloud: Cloud) -> None:
    script = TOKEN + (
        "trap 'echo asked to go; exit' TERM\n"
        "until ask meta-data/spot/instance-action | grep terminate; do sleep 0.1; done\n"
        "echo got notice; while :; do sleep 0.1; done\n"
    )
    boot = start(cloud, script, InstanceMarketOptions={"MarketType": "spot"})
    assert boot.spot
    cloud.wait(lambda: boot.metadata and boot.metadata.asked)
    assert '"action"' not in boot.console()
    cloud.spot_notice(boot.instance_id, seconds=120)
    cloud.wait(lambda: "got notice" in boot.console())
    assert boot.alive
    cloud.spot_notice(boot.instance_id, seconds=0)
    ended(cloud, boot)
    assert "asked to go" in boot.console()
    assert (boot.end, boot.state) == ("spot", "terminated")


def test_a_cut_line_is_silent_until_it_is_mended(cloud: Cloud) -> None:
    script = (
        "#!/bin/sh\n"
        "ask() { curl -s -o /dev/null -m 1 -w '%{http_code}\\n' $AWS_ENDPOINT_URL_S3/healthz; }\n"
        "while :; do echo s3 $(ask); sleep 0.1; done\n"
    )
    boot = start(cloud, script)

    def answers(code: str) -> int:
        return boot.console().splitlines().count(f"s3 {code}")

    cloud.wait(lambda: answers("200"))
    cloud.cut_network(boot.instance_id)
    late = answers("000")  # one may have been late before
    cloud.wait(lambda: answers("000") > late + 1, what="two time-outs")
    before = answers("200")
    cloud.wait(lambda: answers("000") > late + 3, what="time-outs")
    assert answers("200") == before
    cloud.mend_network(boot.instance_id)
    cloud.wait(lambda: answers("200") > before)


def test_all_machines_of_a_group_can_be_lost_at_once(cloud: Cloud) -> None:
    group(cloud, SLEEP, 2)
    first = running(cloud, 2)
    cloud.power_cut(*(boot.instance_id for boot in first))
    cloud.wait(lambda: [boot.end for boot in first] == ["power cut"] * 2)
    second = running(cloud, 2)
    assert not {boot.instance_id for boot in first} & {boot.instance_id for boot in second}
    assert (len(cloud.instances()), cloud.most_alive) == (4, 2)


def test_a_caller_can_be_killed_after_any_of_its_calls(cloud: Cloud) -> None:
    program = (
        "import boto3\n"
        "client = boto3.client('ec2')\n"
        "for number in range(9):\n"
        "    client.create_security_group(GroupName=f'g{number}', Description='x')\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", program], env=cloud.environment())
    cloud.front.after(3, lambda call: os.kill(caller.pid, signal.SIGKILL))
    assert caller.wait(timeout=60) == -signal.SIGKILL
    assert cloud.front.actions() == ["CreateSecurityGroup"] * 3
    left = [name.split()[1] for name in cloud.leftovers()["security groups"]]
    assert left == ["g0", "g1", "g2"]
    assert [call.parameters["GroupName"] for call in cloud.front.calls] == left


def test_calls_can_be_refused(cloud: Cloud) -> None:
    ec2, scaling, ssm = (cloud.client(name) for name in ("ec2", "autoscaling", "ssm"))
    for client, action, call in (
        (ec2, "DescribeVpcs", ec2.describe_vpcs),
        (scaling, "DescribeAutoScalingGroups", scaling.describe_auto_scaling_groups),
        (ssm, "DescribeParameters", ssm.describe_parameters),
    ):
        cloud.front.fail(action, "Throttled", "not <now>")
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "Throttled"
        assert refused.value.response["Error"]["Message"] == "not <now>"
        assert client.meta.service_model.service_name in str(cloud.front.calls[-1])
        assert call()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_machine_may_do_what_its_role_says_and_nothing_else(cloud: Cloud) -> None:
    of_test = {"StringEquals": {"autoscaling:ResourceTag/sc:job": "test"}}
    action = "autoscaling:TerminateInstanceInAutoScalingGroup"
    arn = "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/sc-*"
    rights = {"Effect": "Allow", "Action": action, "Resource": arn, "Condition": of_test}
    scaling = group(cloud, SLEEP, 1, IamInstanceProfile={"Name": profile(cloud, [rights])})
    (boot,) = running(cloud, 1)
    other_tags = [{"Key": "sc:job", "Value": "other", "ResourceId": "sc-test", "ResourceType": "x"}]
    scaling.create_or_update_tags(Tags=other_tags)
    words = {"InstanceId": boot.instance_id, "ShouldDecrementDesiredCapacity": True}
    assert as_machine(cloud, boot, "describe_auto_scaling_groups") == "AccessDenied"
    assert (
        as_machine(cloud, boot, "terminate_instance_in_auto_scaling_group", words) == "AccessDenied"
    )
    scaling.create_or_update_tags(Tags=[{**other_tags[0], "Value": "test"}])
    assert as_machine(cloud, boot, "terminate_instance_in_auto_scaling_group", words) == "done"
    ended(cloud, boot)
    assert cloud.front.actions(boot.instance_id) == [
        "DescribeAutoScalingGroups",
        "TerminateInstanceInAutoScalingGroup",
        "TerminateInstanceInAutoScalingGroup",
    ]


def as_machine(
    cloud: Cloud, boot: Boot, method: str, words: Optional[Mapping[str, Any]] = None
) -> str:
    """Call Auto Scaling with the keys of a machine: `done`, or the code of the error."""
    keys = cloud.credentials(boot.instance_id)
    session: Any = boto3.session.Session(keys.key, keys.secret, keys.token, "us-east-1")
    client = session.client("autoscaling", endpoint_url=cloud.url, config=Config(proxies={}))
    try:
        getattr(client, method)(**(words or {}))
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "done"
