"""`sc ps` and `sc stop` beside machines that only carry the tag: moto is AWS, without machines that boot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sc.fleets.ec2_names import group_name, tags
from tests.e2e.moto_account import BUCKET, REGION, Account, moto_account
from tests.e2e.program import Program

URL = f"s3://{BUCKET}/.sc/iris"


@pytest.fixture
def account() -> Iterator[Account]:
    with moto_account() as made:
        yield made


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


def test_setup_prints_policies_and_what_kind_they_have_to_be(
    program: Program, account: Account, tmp_path: Path
) -> None:
    """A prefix is no place for a slash in the policy's name; a second time nothing is missing."""

    def setup(*words: str) -> Any:
        return program.run("setup", *words, cwd=tmp_path, environment=account.environment())

    assert setup("--bucket", f"{BUCKET}/team a").returncode == 0
    again = setup("--bucket", f"s3://{BUCKET}/team a/")
    assert "are as they should be" in again.stderr
    (line,) = [line for line in again.stdout.splitlines() if line.startswith("# What you need")]
    assert "make it a managed policy (it has" in line
    told = json.loads(setup("--json").stdout)
    assert (told["missing"], told["buckets"]) == ([], [f"{BUCKET}/team a"])
    assert told["user_policy_kind"].startswith("a managed policy")
    iam = account.client("iam")
    for name in told["machine_policies"]:
        assert iam.get_role_policy(RoleName="sc-machine", PolicyName=name)["PolicyDocument"]
    iam.create_policy(PolicyName="sc-user", PolicyDocument=json.dumps(told["user_policy"]))
    many = [word for n in range(40) for word in ("--bucket", f"bucket-{n}")]
    refused = setup(*many)
    assert (refused.returncode, "IAM takes 10,240 of a role" in refused.stderr) == (2, True)
    assert json.loads(setup("--json").stdout) == told
