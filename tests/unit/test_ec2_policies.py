"""What the policies allow and what they do not, and that AWS understands each of their words.

`iam_reference.json` is an excerpt of AWS's Service Authorization Reference
(docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html): of
each action the resources it knows, which of them it cannot do without, and the condition keys. It came by way of
`parliament` 1.6.4, whose own findings were looked through once: it knows no policy that spreads the resources of one
action over several statements.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sc.fleets import Launch
from sc.fleets.ec2 import Ec2Fleet
from sc.fleets.ec2_aws import Call, permission
from sc.fleets.ec2_policies import of_bucket, of_machine, of_parameters, of_setup, of_user
from sc.model import Recipe
from tests.cloud.permissions import Attempt, permits, s3_attempts
from tests.cloud.signing import Request
from tests.fakes.aws import FakeAws
from tests.unit.test_ec2_remove import World

ACCOUNT, OWNER = "123456789012", "999999999999"
EC2 = f"arn:aws:ec2:eu-west-1:{ACCOUNT}"
OURS = {"aws:ResourceTag/sc:job": "iris"}
MADE = {"aws:RequestTag/sc:job": "iris"}
SHARED = {"aws:RequestTag/sc:shared": "security-group"}
REFERENCE: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("iam_reference.json").read_text(encoding="utf-8")
)
USER = of_user("aws", ACCOUNT, "sc-machine", ["data"])
MACHINE = [
    of_machine("aws", ACCOUNT),
    of_bucket("aws", "data"),
    of_parameters("aws", ACCOUNT, "/sc/"),
]
POLICIES = {
    "user": USER,
    "machine": MACHINE[0],
    "bucket": MACHINE[1],
    "parameters": MACHINE[2],
    "bucket with a prefix": of_bucket("aws", "data/team"),
    "user of prefixes": of_user("aws", ACCOUNT, "sc-machine", ["data/a", "data/b", "other", "c/d"]),
    "setup": of_setup("aws", ACCOUNT, "sc-machine"),
    "user of China": of_user("aws-cn", ACCOUNT, "sc-machine", ["data"]),
    "machine of GovCloud": of_machine("aws-us-gov", ACCOUNT),
}


def group(name: str, account: str = ACCOUNT) -> str:
    return (
        f"arn:aws:autoscaling:eu-west-1:{account}:autoScalingGroup:1-2:autoScalingGroupName/{name}"
    )


class Pair(NamedTuple):
    """An action and one resource, as one statement has them."""

    action: str
    resource: str
    conditions: Mapping[str, Mapping[str, Any]]

    def types(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The kinds of resources of this action that it is about."""
        for name, about in REFERENCE[self.action]["resources"].items():
            if self.resource == "*" or fnmatchcase(self.resource, about["arn"]):
                yield name, about


def pairs(policy: Mapping[str, Any]) -> Iterator[Pair]:
    for statement in policy["Statement"]:
        resources = statement["Resource"]
        for resource in resources if isinstance(resources, list) else [resources]:
            for action in statement["Action"]:
                yield Pair(action, resource, statement.get("Condition", {}))


@pytest.mark.parametrize("name", POLICIES)
def test_policy_words_are_those_of_the_reference(name: str) -> None:
    covered: dict[str, set[str]] = {}
    for pair in pairs(POLICIES[name]):
        assert pair.action in REFERENCE, pair.action
        found = dict(pair.types())
        covered.setdefault(pair.action, set()).update(found)
        for operator, wanted in pair.conditions.items():
            for key in wanted:
                known = re.sub(r"(Tag)/.*", r"\1/${TagKey}", key)
                keys = [*REFERENCE[pair.action]["keys"]]
                keys += [one for about in found.values() for one in about["keys"]]
                assert operator == "Null" or not found or known in keys, (pair, key)
    for action, types in covered.items():
        needed = {t for t, a in REFERENCE[action]["resources"].items() if a["is_needed"]}
        assert needed <= types, (action, needed - types)


@pytest.mark.parametrize("name", POLICIES)
def test_policy_gives_every_statement_a_resource_of_its_actions(name: str) -> None:
    for statement in POLICIES[name]["Statement"]:
        of_statement = list(pairs({"Statement": [statement]}))
        for resource in {pair.resource for pair in of_statement} - {"*"}:
            assert any([*pair.types()] for pair in of_statement if pair.resource == resource)
        for action in statement["Action"]:
            assert any([*pair.types()] for pair in of_statement if pair.action == action) or (
                statement["Resource"] == "*"
            ), (statement["Sid"], action)


@pytest.mark.parametrize("name", POLICIES)
def test_policy_is_about_everything_only_where_it_looks(name: str) -> None:
    for pair in pairs(POLICIES[name]):
        is_look = re.match(r"[a-z0-9]+:(Describe|Get|List)", pair.action)
        assert is_look or pair.resource != "*", pair


def run(**of: Attempt) -> list[Attempt]:
    """RunInstances as Auto Scaling has it checked for a group: all must be allowed. `of` replaces some."""
    template = f"{EC2}:launch-template/lt-1"
    given = {"ec2:LaunchTemplate": template, "ec2:IsLaunchTemplateResource": "false"}
    fixed = {**given, "ec2:IsLaunchTemplateResource": "true"}
    subnet = f"arn:aws:ec2:eu-west-1:{OWNER}:subnet/subnet-1"
    parts = {
        "template": Attempt("ec2:RunInstances", template, {**given, **OURS}),
        "image": Attempt("ec2:RunInstances", "arn:aws:ec2:eu-west-1::image/ami-1", fixed),
        "security_group": Attempt("ec2:RunInstances", f"{EC2}:security-group/sg-1", fixed),
        "key": Attempt("ec2:RunInstances", f"{EC2}:key-pair/mine", fixed),
        "snapshot": Attempt("ec2:RunInstances", "arn:aws:ec2:eu-west-1::snapshot/snap-1", given),
        "subnet": Attempt("ec2:RunInstances", subnet, given),
        **{
            kind: Attempt("ec2:RunInstances", f"{EC2}:{kind}/*", given)
            for kind in ("instance", "volume", "network-interface")
        },
    }
    return list({**parts, **of}.values())


def alone(attempt: Attempt, **context: str) -> Attempt:
    """The same with only these conditions."""
    return Attempt(attempt.action, attempt.arn, context)


def steering(action: str, name: str, **context: str) -> list[Attempt]:
    return [Attempt(f"autoscaling:{action}", group(name), {**context})]


STEERS = (
    "SuspendProcesses",
    "PutScheduledUpdateGroupAction",
    "SetDesiredCapacity",
    "TerminateInstanceInAutoScalingGroup",
    "DeleteAutoScalingGroup",
)
USER_MAY = {
    "run machines of a template of ours": run(),
    "make a group": [
        Attempt("autoscaling:CreateAutoScalingGroup", group("sc-iris-12345678"), MADE),
        Attempt("autoscaling:CreateOrUpdateTags", group("sc-iris-12345678"), MADE),
    ],
    **{one: [Attempt(f"autoscaling:{one}", group("sc-iris-12345678"), OURS)] for one in STEERS},
    "make a template": [
        Attempt("ec2:CreateLaunchTemplate", f"{EC2}:launch-template/*", MADE),
        Attempt(
            "ec2:CreateTags",
            f"{EC2}:launch-template/*",
            {**MADE, "ec2:CreateAction": "CreateLaunchTemplate"},
        ),
    ],
    "make the security group of all jobs": [
        Attempt("ec2:CreateSecurityGroup", f"{EC2}:security-group/*", SHARED),
        Attempt("ec2:CreateSecurityGroup", f"arn:aws:ec2:eu-west-1:{OWNER}:vpc/vpc-1"),
        Attempt(
            "ec2:CreateTags",
            f"{EC2}:security-group/*",
            {**SHARED, "ec2:CreateAction": "CreateSecurityGroup"},
        ),
    ],
    "remove a security group of release 0.1.0": [
        Attempt("ec2:DeleteSecurityGroup", f"{EC2}:security-group/sg-1", OURS)
    ],
    "have machines tagged": [
        Attempt("ec2:CreateTags", f"{EC2}:instance/*", {"ec2:CreateAction": "RunInstances"})
    ],
    "end a machine": [Attempt("ec2:TerminateInstances", f"{EC2}:instance/i-1", OURS)],
    "remove a template": [Attempt("ec2:DeleteLaunchTemplate", f"{EC2}:launch-template/lt-1", OURS)],
    "hand over the role": [
        Attempt(
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/sc-machine",
            {"iam:PassedToService": "ec2.amazonaws.com"},
        )
    ],
    "write outputs": [Attempt("s3:PutObject", "arn:aws:s3:::data/iris/0/stdout")],
    "look at groups": [Attempt("autoscaling:DescribeAutoScalingGroups")],
}
WEB = group("web-production")
FREE = {"ec2:LaunchTemplate": f"{EC2}:launch-template/lt-1"}
USER_MAY_NOT = {
    "tag somebody's group": [Attempt("autoscaling:CreateOrUpdateTags", WEB, MADE)],
    "tag a group with something else": [
        Attempt(
            "autoscaling:CreateOrUpdateTags",
            group("sc-iris-12345678"),
            {"aws:RequestTag/team": "x"},
        )
    ],
    **{f"{one} of somebody": [Attempt(f"autoscaling:{one}", WEB, OURS)] for one in STEERS},
    **{f"{one} untagged": [Attempt(f"autoscaling:{one}", group("sc-x"))] for one in STEERS},
    "make a group with another name": [Attempt("autoscaling:CreateAutoScalingGroup", WEB, MADE)],
    "make a group without our tag": [
        Attempt("autoscaling:CreateAutoScalingGroup", group("sc-iris-12345678"))
    ],
    "make a group of a launch configuration": [
        Attempt(
            "autoscaling:CreateAutoScalingGroup",
            group("sc-iris-12345678"),
            {**MADE, "autoscaling:LaunchConfigurationName": "admin"},
        )
    ],
    "change a group": [Attempt("autoscaling:UpdateAutoScalingGroup", group("sc-x"), OURS)],
    "attach to a group": [Attempt("autoscaling:AttachInstances", group("sc-x"), OURS)],
    "run without a template": [alone(one) for one in run() if ":launch-template/" not in one.arn],
    "run of an untagged template": run(
        template=Attempt("ec2:RunInstances", f"{EC2}:launch-template/lt-1", FREE)
    ),
    "run of a foreign account's template": run(
        instance=Attempt(
            "ec2:RunInstances",
            f"{EC2}:instance/*",
            {"ec2:LaunchTemplate": f"arn:aws:ec2:eu-west-1:{OWNER}:launch-template/lt-1"},
        )
    ),
    "run another image": run(
        image=Attempt(
            "ec2:RunInstances",
            "arn:aws:ec2:eu-west-1::image/ami-2",
            {**FREE, "ec2:IsLaunchTemplateResource": "false"},
        )
    ),
    "run in another security group": run(
        security_group=Attempt(
            "ec2:RunInstances",
            f"{EC2}:security-group/sg-2",
            {**FREE, "ec2:IsLaunchTemplateResource": "false"},
        )
    ),
    "run with another key": run(key=Attempt("ec2:RunInstances", f"{EC2}:key-pair/x", FREE)),
    "add a version to a template": [
        Attempt("ec2:CreateLaunchTemplateVersion", f"{EC2}:launch-template/lt-1", OURS)
    ],
    "make an untagged template": [
        Attempt("ec2:CreateLaunchTemplate", f"{EC2}:launch-template/*", {"aws:RequestTag/a": "b"})
    ],
    "tag what is there": [Attempt("ec2:CreateTags", f"{EC2}:instance/i-1", MADE)],
    "end somebody's machine": [Attempt("ec2:TerminateInstances", f"{EC2}:instance/i-1")],
    "stop a machine": [Attempt("ec2:StopInstances", f"{EC2}:instance/i-1", OURS)],
    "read a console of somebody": [Attempt("ec2:GetConsoleOutput", f"{EC2}:instance/i-1")],
    "remove somebody's template": [
        Attempt("ec2:DeleteLaunchTemplate", f"{EC2}:launch-template/lt-1")
    ],
    "open a security group": [
        Attempt("ec2:AuthorizeSecurityGroupIngress", f"{EC2}:security-group/sg-1", OURS)
    ],
    "make an untagged security group": [
        Attempt("ec2:CreateSecurityGroup", f"{EC2}:security-group/*", MADE)
    ],
    "remove the security group of all jobs": [
        Attempt(
            "ec2:DeleteSecurityGroup",
            f"{EC2}:security-group/sg-1",
            {"aws:ResourceTag/sc:shared": "security-group"},
        )
    ],
    "move a machine": [Attempt("ec2:ModifyInstanceAttribute", f"{EC2}:instance/i-1", OURS)],
    "hand over another role": [
        Attempt(
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/admin",
            {"iam:PassedToService": "ec2.amazonaws.com"},
        )
    ],
    "hand the role to another service": [
        Attempt(
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/sc-machine",
            {"iam:PassedToService": "lambda.amazonaws.com"},
        )
    ],
    "change a role": [Attempt("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/sc-machine")],
    "make another service's role": [
        Attempt(
            "iam:CreateServiceLinkedRole",
            f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/x/y",
            {"iam:AWSServiceName": "ecs.amazonaws.com"},
        )
    ],
    "read another bucket": [Attempt("s3:GetObject", "arn:aws:s3:::other/key")],
    "read a secret": [
        Attempt("ssm:GetParameter", f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/sc/key")
    ],
}


def may(documents: list[Any], attempts: list[Attempt]) -> bool:
    return all(permits(documents, attempt) for attempt in attempts)


@pytest.mark.parametrize("what", USER_MAY)
def test_user_may(what: str) -> None:
    assert may([USER], USER_MAY[what])


@pytest.mark.parametrize("what", USER_MAY_NOT)
def test_user_may_not(what: str) -> None:
    assert not may([USER], USER_MAY_NOT[what])


LEAVE = ("TerminateInstanceInAutoScalingGroup", "ResumeProcesses", "SuspendProcesses")
MACHINE_MAY = {
    **{
        one: [Attempt(f"autoscaling:{one}", group("sc-iris-12345678"), OURS)]
        for one in (*LEAVE, "DeleteAutoScalingGroup")
    },
    "remove the template": [
        Attempt("ec2:DeleteLaunchTemplate", f"{EC2}:launch-template/lt-1", OURS)
    ],
    "write outputs": [Attempt("s3:PutObject", "arn:aws:s3:::data/iris/0/stdout")],
    "list": [Attempt("s3:ListBucket", "arn:aws:s3:::data", {"s3:prefix": "iris/"})],
    "read a value": [
        Attempt("ssm:GetParameters", f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/sc/key")
    ],
    "look at machines": [Attempt("ec2:DescribeInstances")],
}
MACHINE_MAY_NOT = {
    **{f"{one} of somebody": [Attempt(f"autoscaling:{one}", WEB, OURS)] for one in LEAVE},
    **{f"{one} untagged": [Attempt(f"autoscaling:{one}", group("sc-x"))] for one in LEAVE},
    **{
        one: [Attempt(f"autoscaling:{one}", group("sc-iris-12345678"), OURS)]
        for one in ("SetDesiredCapacity", "UpdateAutoScalingGroup", "CreateOrUpdateTags")
    },
    "end a machine": [Attempt("ec2:TerminateInstances", f"{EC2}:instance/i-1", OURS)],
    "go into another security group": [
        Attempt("ec2:ModifyInstanceAttribute", f"{EC2}:instance/i-1", OURS)
    ],
    "put machines into a security group": [
        Attempt("ec2:ModifyInstanceAttribute", f"{EC2}:security-group/sg-1", OURS)
    ],
    "change a network interface": [
        Attempt("ec2:ModifyNetworkInterfaceAttribute", f"{EC2}:network-interface/eni-1", OURS)
    ],
    "remove a security group": [
        Attempt("ec2:DeleteSecurityGroup", f"{EC2}:security-group/sg-1", OURS)
    ],
    "make a security group": [
        Attempt("ec2:CreateSecurityGroup", f"{EC2}:security-group/*", SHARED)
    ],
    "run machines": run(),
    "make a template": [Attempt("ec2:CreateLaunchTemplate", f"{EC2}:launch-template/*", MADE)],
    "open a security group": [
        Attempt("ec2:AuthorizeSecurityGroupIngress", f"{EC2}:security-group/sg-1", OURS)
    ],
    "read a template": [
        Attempt("ec2:DescribeLaunchTemplateVersions", f"{EC2}:launch-template/lt-1")
    ],
    "hand over its role": [
        Attempt(
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/sc-machine",
            {"iam:PassedToService": "ec2.amazonaws.com"},
        )
    ],
    "read another bucket": [Attempt("s3:GetObject", "arn:aws:s3:::other/key")],
    "change a bucket": [Attempt("s3:PutBucketPolicy", "arn:aws:s3:::data")],
    "read another value": [
        Attempt("ssm:GetParameter", f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/prod/key")
    ],
}


@pytest.mark.parametrize("what", MACHINE_MAY)
def test_machine_may(what: str) -> None:
    assert may(MACHINE, MACHINE_MAY[what])


@pytest.mark.parametrize("what", MACHINE_MAY_NOT)
def test_machine_may_not(what: str) -> None:
    assert not may(MACHINE, MACHINE_MAY_NOT[what])


PREFIX = "a*b/${x}/t?"
BELOW = {
    "bucket": [of_bucket("aws", f"data/{PREFIX}")],
    "user": [of_user("aws", ACCOUNT, "sc-machine", ["other", f"data/{PREFIX}", "data/second"])],
}


def listing(prefix: str) -> Attempt:
    return Attempt("s3:ListBucket", "arn:aws:s3:::data", {"s3:prefix": prefix})


@pytest.mark.parametrize("who", BELOW)
def test_prefix_is_all_of_the_bucket_that_may_be_used(who: str) -> None:
    documents = BELOW[who]
    for action in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload"):
        arn = "arn:aws:s3:::data"
        assert permits(documents, Attempt(f"s3:{action}", f"{arn}/{PREFIX}/.sc/job/parts/0.json"))
        for key in (f"{PREFIX}x/key", PREFIX, "key", "axb/${x}/tt/key", "a/b"):
            assert not permits(documents, Attempt(f"s3:{action}", f"{arn}/{key}")), key
    for prefix in (f"{PREFIX}/", f"{PREFIX}/.sc/job/claims/"):
        assert permits(documents, listing(prefix))
    for prefix in ("", PREFIX, f"{PREFIX}x/", "axb/", "axb/${x}/tt/"):
        assert not permits(documents, listing(prefix)), prefix
    head = Attempt("s3:ListBucket", "arn:aws:s3:::data")
    assert not permits(documents, head)
    assert not permits(documents, Attempt("s3:ListBucketMultipartUploads", "arn:aws:s3:::data"))


def test_several_objects_are_removed_only_where_each_may_be() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html: each key has an answer of its own."""
    documents = [of_bucket("aws", "data/a&b")]
    one, other = (
        b"<Object><Key>a&amp;b/1</Key></Object>",
        b"<Object><Key>c/2</Key></Object>",
    )
    for body, expected in ((one, True), (other, False), (one + other, False)):
        request = Request("POST", "/data?delete", {}, b"<Delete>" + body + b"</Delete>")
        assert may(documents, list(s3_attempts(request))) is expected


def needed(call: Call) -> list[Attempt]:
    """What AWS asks for before it carries a call out, by the tags that the call gives or its resources have."""
    action, asked = permission(call), call.parameters
    if call.operation == "create_auto_scaling_group":
        made = group(asked["AutoScalingGroupName"])
        given = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in asked["Tags"]}
        return [
            Attempt(action, made, given),
            Attempt("autoscaling:CreateOrUpdateTags", made, given),
            *run(),
        ]
    if "AutoScalingGroupName" in asked and not call.operation.startswith("describe"):
        return [Attempt(action, group(asked["AutoScalingGroupName"]), OURS)]
    if call.operation in ("create_security_group", "create_launch_template"):
        (spec,) = asked["TagSpecifications"]
        given = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in spec["Tags"]}
        arn = f"{EC2}:{spec['ResourceType']}/*"
        making = {**given, "ec2:CreateAction": action.partition(":")[2]}
        vpc = [Attempt(action, f"arn:aws:ec2:eu-west-1:{OWNER}:vpc/vpc-1")] * ("VpcId" in asked)
        return [Attempt(action, arn, given), Attempt("ec2:CreateTags", arn, making), *vpc]
    arn = {
        "head_bucket": "arn:aws:s3:::data",
        "get_parameter": f"arn:aws:ssm:eu-west-1::parameter{asked.get('Name')}",
        "terminate_instances": f"{EC2}:instance/i-1",
        "delete_launch_template": f"{EC2}:launch-template/lt-1",
        "delete_security_group": f"{EC2}:security-group/sg-1",
    }.get(call.operation, "*")
    return [Attempt(action, arn, OURS)]


@pytest.mark.parametrize("types", [("r6a.xlarge",), ("r6a.xlarge", "u-6tb1.metal")])
def test_user_may_all_that_a_launch_and_a_stop_ask_for(types: tuple[str, ...]) -> None:
    url = "s3://data/out/.sc/job"
    starting, there = FakeAws(), World()
    fleet = Ec2Fleet(None, {}, starting, lambda: 1.0, lambda seconds: None)
    recipe = Recipe("job", types, 2, tags={"team": "x"}, key_name="mine")
    fleet.launch(Launch(url, recipe, 2, "/sc.pyz", "a" * 64, {}), lambda line: None)
    stopping = Ec2Fleet(None, {}, there.aws, lambda: 1.0, lambda seconds: None)
    assert stopping.stop("job", lambda line: None) == []
    calls = [*starting.calls, *there.aws.calls]
    assert {"create_security_group", "create_auto_scaling_group", "delete_security_group"} <= {
        call.operation for call in calls
    }
    refused = [
        (call.operation, attempt)
        for call in calls
        if call.service != "sts"
        for attempt in needed(call)
        if not permits([USER], attempt)
    ]
    assert refused == []
