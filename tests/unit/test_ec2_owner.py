"""Whose a job on EC2 is."""

from __future__ import annotations

from typing import Any

import pytest

from sc.errors import CloudError
from sc.fleets.ec2 import Ec2Fleet
from sc.fleets.ec2_names import OWNER_TAG, group_name, is_same_owner, owner_to_tag, url_from_tag
from tests.fakes.aws import FakeAws, instance, refused

ACCOUNT = "arn:aws:iam::123456789012"
SESSION = "arn:aws:sts::123456789012:assumed-role/Admin"
URL = "s3://bucket/.sc/job"
NAME = group_name(URL)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (f"{SESSION}/ann", f"{SESSION}/bob-1234", True),
        (f"{SESSION}/ann", f"{SESSION}2/ann", False),
        (f"{SESSION}/ann", f"{ACCOUNT}:role/Admin", False),
        ("arn:aws-cn:sts::1:assumed-role/a/x", "arn:aws-cn:sts::1:assumed-role/a/y", True),
        ("arn:aws:sts::1:assumed-role/a/x", "arn:aws:sts::2:assumed-role/a/x", False),
        (f"{ACCOUNT}:user/ann", f"{ACCOUNT}:user/ann", True),
        (f"{ACCOUNT}:user/team/ann", f"{ACCOUNT}:user/team/bob", False),
        (f"{ACCOUNT}:root", f"{ACCOUNT}:root", True),
        ("arn:aws:sts::1:federated-user/ann", "arn:aws:sts::1:federated-user/bob", False),
    ],
)
def test_owner_is_compared_without_the_session(one: str, other: str, is_same: bool) -> None:
    assert is_same_owner(owner_to_tag(one), owner_to_tag(other)) is is_same


@pytest.mark.parametrize(
    "arn",
    [
        f"{ACCOUNT}:user/a!#$%&'()*+,-./:;<=>?@[]^_`{{|}}~/ann",
        f"{ACCOUNT}:user/{'p!/' * 170}ann",
        f"{ACCOUNT}:user/{'path/' * 100}ann",
    ],
)
def test_owner_of_any_path_is_a_tag_that_stays_the_same(arn: str) -> None:
    """docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: a path has 512 characters, of ! to ~."""
    tag = owner_to_tag(arn)
    assert len(tag) <= 256
    assert not set(tag) - set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 +-=._:/@"
    )
    assert owner_to_tag(url_from_tag(tag)) == tag
    assert tag != owner_to_tag(arn + "2")
    assert url_from_tag(tag) == arn or len(owner_to_tag(arn)) > 230


def fleet(caller: str, tags: dict[str, str], **answers: Any) -> Ec2Fleet:
    """Of somebody, where a job's group, template and two machines have these owners."""

    def tagged(what: str) -> list[dict[str, str]]:
        own = [{"Key": OWNER_TAG, "Value": owner_to_tag(tags[what])}] if what in tags else []
        return [{"Key": "sc:job", "Value": "job"}, *own]

    of_group = [{"Key": "aws:autoscaling:groupName", "Value": NAME}]
    machines = [
        instance(name, state, NAME, Tags=[*of_group, *tagged(name)])
        for name, state in (("old", "terminated"), ("new", "running"))
    ]
    group = {"AutoScalingGroupName": NAME, "DesiredCapacity": 1, "Tags": tagged("group")}
    template = {"LaunchTemplateName": NAME, "Tags": tagged("template")}
    aws = FakeAws(
        **{
            "describe_auto_scaling_groups": {"AutoScalingGroups": [group]},
            "describe_instances": {"Reservations": [{"Instances": machines}]},
            "describe_launch_templates": {"LaunchTemplates": [template]},
            "get_caller_identity": {"Account": "1", "Arn": caller},
            **answers,
        }
    )
    return Ec2Fleet(None, {}, aws)


ANN, BOB = f"{SESSION}/ann", f"{ACCOUNT}:user/bob"


@pytest.mark.parametrize(
    ("tags", "other"),
    [
        ({}, ""),
        ({"group": ANN, "template": ANN, "new": f"{SESSION}/ann-again"}, ""),
        ({"old": BOB}, ""),
        ({"group": BOB}, BOB),
        ({"new": BOB}, BOB),
        ({"template": BOB}, BOB),
        ({"group": ANN, "new": BOB}, BOB),
    ],
)
def test_other_owner_is_whoever_has_something_that_is_there(
    tags: dict[str, str], other: str
) -> None:
    assert fleet(ANN, tags).other_owner(URL) == other


def test_caller_of_whom_sts_tells_nothing_is_somebody_else() -> None:
    silent = {"get_caller_identity": refused("AccessDenied")}
    assert fleet(ANN, {"group": ANN}, **silent).other_owner(URL) == ANN
    assert fleet(ANN, {}, **silent).other_owner(URL) == ""


def test_owner_that_cannot_be_asked_for_is_an_error() -> None:
    silent = {"describe_auto_scaling_groups": refused("AccessDenied")}
    with pytest.raises(CloudError):
        fleet(ANN, {"group": BOB}, **silent).other_owner(URL)
