"""The security group that all jobs of a VPC share: who makes it, and what is done when two do."""

from __future__ import annotations

from typing import Any

import pytest

from sc.errors import CloudError, InputError
from sc.fleets.ec2_places import security_groups
from sc.fleets.ec2_requests import Image, Place, Plan
from sc.model import Recipe
from tests.fakes.aws import FakeAws, refused

SHARED = {"GroupName": "sc-nothing-in", "GroupId": "sg-shared", "IpPermissions": []}
DUPLICATE = refused("InvalidGroup.Duplicate")


def groups(aws: FakeAws, *named: str) -> tuple[str, ...]:
    plan = Plan(
        "s3://bucket/.sc/job",
        Recipe("job", ("r6a.xlarge",)),
        1,
        Image("ami-1", "x86_64", "/dev/sda1", 30),
        Place("vpc-1", ("subnet-a",), named, "123456789012"),
        "sc-machine",
        "",
    )
    return tuple(security_groups(aws, plan, lambda line: None, lambda seconds: None))


def test_first_launch_makes_the_shared_group_and_later_ones_take_it() -> None:
    aws = FakeAws()
    assert groups(aws) == ("sg-new",)
    assert [call.operation for call in aws.calls] == ["create_security_group"]
    assert groups(FakeAws(), "sg-shared") == ("sg-shared",)


def test_second_of_two_first_launches_takes_the_group_of_the_other() -> None:
    looks = iter([[], [], [SHARED]])
    aws = FakeAws(
        create_security_group=DUPLICATE,
        describe_security_groups=lambda _: {"SecurityGroups": next(looks)},
    )
    assert groups(aws) == ("sg-shared",)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"create_security_group": DUPLICATE}, "Duplicate"),
        ({"create_security_group": refused("UnauthorizedOperation")}, "Unauthorized"),
        (
            {
                "create_security_group": DUPLICATE,
                "describe_security_groups": {
                    "SecurityGroups": [{**SHARED, "IpPermissions": [{"IpProtocol": "-1"}]}]
                },
            },
            "Somebody has opened",
        ),
    ],
)
def test_shared_group_that_cannot_be_had_is_told(answers: Any, error: str) -> None:
    with pytest.raises((CloudError, InputError), match=error):
        groups(FakeAws(**answers))
