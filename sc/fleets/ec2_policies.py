"""The permissions that work, and no more: of the machines' role, and of the person who starts jobs. Pure.

Whatever changes or ends something is allowed only on what carries the tag `sc:job`, and of groups only on those called
`sc-…`, where AWS can tell that. See docs/aws-permissions.md for each statement's reason. What each action knows of
resources and conditions: docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html and
…/list_amazonec2autoscaling.html; tests/unit/test_ec2_policies.py holds the policies against that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Optional

from sc.fleets.ec2_names import JOB_TAG, SHARED_TAG

Policy = dict[str, Any]

_OURS = {"StringLike": {f"aws:ResourceTag/{JOB_TAG}": "*"}}
_BECOMES_OURS = {"StringLike": {f"aws:RequestTag/{JOB_TAG}": "*"}}
_BECOMES_SHARED = {"StringLike": {f"aws:RequestTag/{SHARED_TAG}": "*"}}
_MADE_OF_TEMPLATE = {**_BECOMES_OURS, "Null": {"autoscaling:LaunchConfigurationName": "true"}}
"""The older launch configurations carry no tags, so anybody's could be used."""
USER_INLINE, ROLE_INLINE, MANAGED = 2048, 10240, 6144
"""How many characters IAM takes of all inline policies of a user, or of a role, and of one managed policy:
docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html#reference_iam-quotas-entity-length"""
PARAMETERS = "/sc/"
"""The path below which machines may read Parameter Store, unless `sc setup --parameters` says otherwise."""


def trust(partition: str) -> Policy:
    """Who may take the machines' role: EC2 instances."""
    return _policy(
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": _principals(partition)[-1]},
                "Action": "sts:AssumeRole",
            }
        ]
    )


def of_bucket(partition: str, area: str) -> Policy:
    """What a machine does with its jobs' bucket, or with a prefix of it: `bucket`, `bucket/prefix`."""
    return _policy(_storage(partition, [area]))


def of_machine(partition: str, account: str) -> Policy:
    """What a machine does with itself and its job."""
    ec2 = f"arn:{partition}:ec2:*:{account}"
    group = _groups(partition, account)
    template = f"{ec2}:launch-template/*"
    return _policy(
        [
            _allow("EndMyselfAndMyJob", group, *_END_MYSELF, when=_OURS),
            _allow("RemoveTemplate", template, "ec2:DeleteLaunchTemplate", when=_OURS),
            _allow("Look", "*", *_MACHINE_LOOKS),
        ]
    )


def of_parameters(partition: str, account: str, path: str) -> Policy:
    """Which values `ssm:/name` in `environment_variables` may stand for."""
    name = path.strip("/")
    below = f"{name}/*" if name else "*"
    arn = f"arn:{partition}:ssm:*:{account}:parameter/{below}"
    return _policy([_allow("Parameters", arn, "ssm:GetParameter", "ssm:GetParameters")])


def of_user(partition: str, account: str, role: str, areas: Sequence[str]) -> Policy:
    """What the person who starts, watches and stops jobs needs; `sc setup` itself needs `setup_actions` besides.

    VPCs, subnets and security groups may be another account's, who shares them.
    """
    ec2 = f"arn:{partition}:ec2:*:{account}"
    roles = f"arn:{partition}:iam::{account}:role"
    made = [f"{ec2}:launch-template/*", f"{ec2}:security-group/*"]
    started = [f"{ec2}:instance/*", f"{ec2}:volume/*"]
    public = f"arn:{partition}:ssm:*::parameter/aws/service/*"
    group = _groups(partition, account)
    service_role = f"{roles}/aws-service-role/*"
    return _policy(
        [
            *_storage(partition, areas or ["BUCKET"]),
            _allow("Look", "*", *_USER_LOOKS),
            _allow("NewestImage", public, "ssm:GetParameter"),
            _allow("MakeTemplate", made[0], "ec2:CreateLaunchTemplate", when=_BECOMES_OURS),
            _allow("MakeSharedGroup", made[1], "ec2:CreateSecurityGroup", when=_BECOMES_SHARED),
            _allow("InVpc", f"arn:{partition}:ec2:*:*:vpc/*", "ec2:CreateSecurityGroup"),
            _allow("TagWhatIsMade", [*made, *started], "ec2:CreateTags", when=_WHILE_MAKING),
            *_run(partition, account),
            _allow("MakeGroup", group, *_MAKE_GROUP, when=_MADE_OF_TEMPLATE),
            _allow("SteerGroup", group, *_STEER_GROUP, when=_OURS),
            _allow("EndAndRemove", [*made, started[0]], *_END_ALL, when=_OURS),
            _allow("GiveRole", f"{roles}/{role}", "iam:PassRole", when=_to_ec2(partition)),
            _allow("FirstGroupEver", service_role, "iam:CreateServiceLinkedRole", when=_FIRST_EVER),
        ]
    )


def _run(partition: str, account: str) -> list[Policy]:
    """What AWS asks for when a group is made with a launch template: instances of a template of ours, and of nothing
    else. The group gives subnets and types, so those are none of the template's; which resources `sc` needs to be of
    the template are those by which an instance would become another: image, security group and key.

    docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html#iam-example-runinstances-launch-templates
    """
    ec2, run = f"arn:{partition}:ec2:*:{account}", "ec2:RunInstances"
    by_template = {"ArnLike": {"ec2:LaunchTemplate": f"{ec2}:launch-template/*"}}
    of_template = {**by_template, "Bool": {"ec2:IsLaunchTemplateResource": "true"}}
    fixed = [
        f"arn:{partition}:ec2:*::image/*",
        f"arn:{partition}:ec2:*:*:security-group/*",
        f"{ec2}:key-pair/*",
    ]
    free = [
        *(f"{ec2}:{kind}/*" for kind in ("instance", "volume", "network-interface")),
        f"arn:{partition}:ec2:*::snapshot/*",
        f"arn:{partition}:ec2:*:*:subnet/*",
    ]
    return [
        _allow("RunTemplate", f"{ec2}:launch-template/*", run, when={**_OURS, **by_template}),
        _allow("RunAsTemplateSays", fixed, run, when=of_template),
        _allow("RunWhatGroupGives", free, run, when=by_template),
    ]


def _groups(partition: str, account: str) -> str:
    return f"arn:{partition}:autoscaling:*:{account}:autoScalingGroup:*:autoScalingGroupName/sc-*"


def of_setup(partition: str, account: str, name: str) -> Policy:
    """What `sc setup` itself needs, once."""
    arns = [
        f"arn:{partition}:iam::{account}:role/{name}",
        f"arn:{partition}:iam::{account}:instance-profile/{name}",
    ]
    return _policy(
        [
            _allow(
                "RoleOfMachines",
                arns,
                "iam:CreateRole",
                "iam:GetRole",
                "iam:PutRolePolicy",
                "iam:GetRolePolicy",
                "iam:ListRolePolicies",
                "iam:CreateInstanceProfile",
                "iam:GetInstanceProfile",
                "iam:AddRoleToInstanceProfile",
                "iam:PassRole",
            )
        ]
    )


def areas_of(policy: Policy) -> list[str]:
    """Those of a policy that `of_bucket` has made: its objects say them."""
    found = []
    for statement in policy.get("Statement", []):
        if isinstance(statement, dict) and "s3:PutObject" in statement.get("Action", []):
            resources = statement.get("Resource", [])
            for arn in resources if isinstance(resources, list) else [resources]:
                area = str(arn).split(":::", 1)[-1]
                found.append(re.sub(r"\$\{([*?$])\}", r"\1", area[: -len("/*")]))
    return found


def _storage(partition: str, areas: Sequence[str]) -> list[Policy]:
    """What both do with these buckets and prefixes.

    Uploads that somebody has begun can be listed of a whole bucket only, since `s3:prefix` is no condition of it: below
    a prefix those of machines that died stay until a lifecycle rule removes them. With `s3:prefix` AWS also decides
    whether a key that is not there is told as 404 (github.com/ceph/ceph/pull/68577).
    docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
    """
    arn = f"arn:{partition}:s3:::"
    whole = [arn + area for area in areas if "/" not in area]
    prefixes: dict[str, list[str]] = {}
    for area in areas:
        bucket, slash, prefix = area.partition("/")
        if slash:
            prefixes.setdefault(bucket, []).append(f"{_literal(prefix)}/*")
    statements = [_allow("ListBucket", _one_or_all(whole), *_OF_BUCKET)] if whole else []
    for number, (bucket, below) in enumerate(sorted(prefixes.items()), 1):
        when = {"StringLike": {"s3:prefix": _one_or_all(below)}}
        statements.append(_allow(f"ListPrefix{number}", arn + bucket, "s3:ListBucket", when=when))
    objects = [f"{one}/*" for one in whole]
    objects += [f"{arn}{bucket}/{one}" for bucket, below in prefixes.items() for one in below]
    return [*statements, _allow("Objects", _one_or_all(objects), *_OF_OBJECT)]


def _one_or_all(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values


def _literal(text: str) -> str:
    """docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars"""
    return re.sub(r"([*?$])", r"${\1}", text)


def _principals(partition: str) -> list[str]:
    """What EC2 is called in policies; in China it has a name of its own (docs.amazonaws.cn, of roles for instances)."""
    names = ["ec2.amazonaws.com"]
    return [*names, "ec2.amazonaws.com.cn"] if partition == "aws-cn" else names


def _to_ec2(partition: str) -> Policy:
    return {"StringEquals": {"iam:PassedToService": _one_or_all(_principals(partition))}}


def characters(policy: Policy) -> int:
    """As IAM counts them: without white space between the words."""
    return len(json.dumps(policy, separators=(",", ":")))


def how_to_give(policy: Policy) -> str:
    """What kind of policy a person's has to be, as IAM takes no longer ones: a sentence for a line of comment."""
    count = characters(policy)
    if count <= USER_INLINE:
        return "an inline policy of the user, or a managed policy"
    told = f"it has {count:,} characters, and IAM takes {USER_INLINE:,} of all inline policies of a user"
    if count <= MANAGED:
        return f"a managed policy ({told}, {MANAGED:,} of a managed one)"
    return (
        f"two managed policies, one of the statements whose Sid begins with List or is Objects, and one of the rest "
        f"({told}, {MANAGED:,} of a managed one); fewer buckets, or prefixes of one, make it shorter"
    )


def as_text(policy: Policy) -> str:
    return json.dumps(policy, indent=2)


def _policy(statements: Sequence[dict[str, Any]]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, resource: Any, *actions: str, when: Optional[Policy] = None) -> Policy:
    statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}
    return statement if when is None else {**statement, "Condition": when}


_WHILE_MAKING = {
    "StringEquals": {
        "ec2:CreateAction": ["CreateLaunchTemplate", "CreateSecurityGroup", "RunInstances"]
    }
}
_FIRST_EVER = {
    "StringEquals": {"iam:AWSServiceName": ["autoscaling.amazonaws.com", "spot.amazonaws.com"]}
}
_OF_BUCKET = ("s3:ListBucket", "s3:ListBucketMultipartUploads")
_OF_OBJECT = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)
_END_MYSELF = (
    "autoscaling:TerminateInstanceInAutoScalingGroup",
    "autoscaling:ResumeProcesses",
    "autoscaling:SuspendProcesses",
    "autoscaling:DeleteAutoScalingGroup",
)
_MACHINE_LOOKS = (
    "autoscaling:DescribeAutoScalingGroups",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeSecurityGroups",
)
_MAKE_GROUP = ("autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags")
_STEER_GROUP = (
    "autoscaling:SuspendProcesses",
    "autoscaling:PutScheduledUpdateGroupAction",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
    "autoscaling:DeleteAutoScalingGroup",
)
_END_ALL = (
    "ec2:DeleteLaunchTemplate",
    "ec2:DeleteSecurityGroup",  # of jobs of release 0.1.0, which had one each
    "ec2:TerminateInstances",
    "ec2:GetConsoleOutput",
)
_USER_LOOKS = (
    # AWS cannot limit most of these to a resource; none of them changes anything.
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeScalingActivities",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeKeyPairs",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "iam:GetInstanceProfile",
    "pricing:GetProducts",
)
