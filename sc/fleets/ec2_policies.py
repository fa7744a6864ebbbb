"""The permissions that work, and no more: of the machines' role, and of the person who starts jobs. Pure.

Whatever changes or ends something is allowed only on what carries the tag `sc:job`, where AWS can tell that. See
docs/aws-permissions.md for each statement's reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sc.fleets.ec2_names import JOB_TAG

Policy = dict[str, Any]

_OURS = {"StringLike": {f"aws:ResourceTag/{JOB_TAG}": "*"}}
_BECOMES_OURS = {"StringLike": {f"aws:RequestTag/{JOB_TAG}": "*"}}
PARAMETERS = "/sc/"
"""The path below which machines may read Parameter Store, unless `sc setup --parameters` says otherwise."""


def trust() -> Policy:
    """Who may take the machines' role: EC2 instances."""
    return _policy(
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ]
    )


def of_bucket(partition: str, bucket: str) -> Policy:
    """What a machine does with the bucket of its jobs."""
    arn = f"arn:{partition}:s3:::{bucket}"
    return _policy(
        [
            _allow("ListBucket", arn, *(f"s3:{name}" for name in _OF_BUCKET)),
            _allow("Objects", f"{arn}/*", *(f"s3:{name}" for name in _OF_OBJECT)),
        ]
    )


def of_machine(partition: str, account: str) -> Policy:
    """What a machine does with itself and its job."""
    ec2 = f"arn:{partition}:ec2:*:{account}"
    group = f"arn:{partition}:autoscaling:*:{account}:autoScalingGroup:*:autoScalingGroupName/sc-*"
    instance = _allow("LeaveSecurityGroup", f"{ec2}:instance/*", "ec2:ModifyInstanceAttribute")
    return _policy(
        [
            {
                **_allow(
                    "EndMyselfAndMyJob",
                    group,
                    "autoscaling:TerminateInstanceInAutoScalingGroup",
                    "autoscaling:ResumeProcesses",
                    "autoscaling:SuspendProcesses",
                    "autoscaling:DeleteAutoScalingGroup",
                ),
                "Condition": _OURS,
            },
            {
                **_allow(
                    "RemoveWhatWasMade",
                    [f"{ec2}:launch-template/*", f"{ec2}:security-group/*"],
                    "ec2:DeleteLaunchTemplate",
                    "ec2:DeleteSecurityGroup",
                ),
                "Condition": _OURS,
            },
            {**instance, "Condition": _OURS},
            # The default group that the last machine goes over into carries no tag of ours.
            _allow("ForDefaultGroup", f"{ec2}:security-group/*", "ec2:ModifyInstanceAttribute"),
            _allow(
                "Look",
                "*",
                "autoscaling:DescribeAutoScalingGroups",
                "ec2:DescribeInstances",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribeSecurityGroups",
            ),
        ]
    )


def of_parameters(partition: str, account: str, path: str) -> Policy:
    """Which values `ssm:/name` in `environment_variables` may stand for."""
    name = path.strip("/")
    below = f"{name}/*" if name else "*"
    arn = f"arn:{partition}:ssm:*:{account}:parameter/{below}"
    return _policy([_allow("Parameters", arn, "ssm:GetParameter", "ssm:GetParameters")])


def of_user(partition: str, account: str, role: str, buckets: Sequence[str]) -> Policy:
    """What the person who starts, watches and stops jobs needs; `sc setup` itself needs `setup_actions` besides."""
    ec2 = f"arn:{partition}:ec2:*:{account}"
    names = buckets or ["BUCKET"]
    arns = [f"arn:{partition}:s3:::{name}" for name in names]
    roles = f"arn:{partition}:iam::{account}:role"
    return _policy(
        [
            _allow("Bucket", arns, *(f"s3:{name}" for name in _OF_BUCKET)),
            _allow("Objects", [f"{arn}/*" for arn in arns], *(f"s3:{name}" for name in _OF_OBJECT)),
            _allow("Look", "*", *_LOOK),
            {
                **_allow(
                    "MakeTagged",
                    [f"{ec2}:launch-template/*", f"{ec2}:security-group/*"],
                    "ec2:CreateLaunchTemplate",
                    "ec2:CreateSecurityGroup",
                ),
                "Condition": _BECOMES_OURS,
            },
            _allow("InVpc", f"{ec2}:vpc/*", "ec2:CreateSecurityGroup"),
            {
                **_allow("TagWhatIsMade", f"{ec2}:*/*", "ec2:CreateTags"),
                "Condition": {
                    "StringEquals": {
                        "ec2:CreateAction": [
                            "CreateLaunchTemplate",
                            "CreateSecurityGroup",
                            "RunInstances",
                        ]
                    }
                },
            },
            _allow(
                "RunThroughTheGroup",
                [f"arn:{partition}:ec2:*::image/*", f"{ec2}:*/*"],
                "ec2:RunInstances",
            ),
            {
                **_allow(
                    "MakeGroup",
                    "*",
                    "autoscaling:CreateAutoScalingGroup",
                    "autoscaling:CreateOrUpdateTags",
                ),
                "Condition": _BECOMES_OURS,
            },
            {
                **_allow(
                    "SteerGroup",
                    "*",
                    "autoscaling:SuspendProcesses",
                    "autoscaling:PutScheduledUpdateGroupAction",
                    "autoscaling:SetDesiredCapacity",
                    "autoscaling:DeleteAutoScalingGroup",
                ),
                "Condition": _OURS,
            },
            {
                **_allow(
                    "EndAndRemove",
                    f"{ec2}:*/*",
                    "ec2:TerminateInstances",
                    "ec2:DeleteLaunchTemplate",
                    "ec2:DeleteSecurityGroup",
                    "ec2:GetConsoleOutput",
                ),
                "Condition": _OURS,
            },
            {
                **_allow("GiveRole", f"{roles}/{role}", "iam:PassRole"),
                "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            },
            {
                **_allow(
                    "FirstGroupEver", f"{roles}/aws-service-role/*", "iam:CreateServiceLinkedRole"
                ),
                "Condition": {
                    "StringEquals": {
                        "iam:AWSServiceName": [
                            "autoscaling.amazonaws.com",
                            "spot.amazonaws.com",
                        ]
                    }
                },
            },
        ]
    )


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


def as_text(policy: Policy) -> str:
    return json.dumps(policy, indent=2)


def _policy(statements: Sequence[dict[str, Any]]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, resource: Any, *actions: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


_OF_BUCKET = ("ListBucket", "ListBucketMultipartUploads")
_OF_OBJECT = (
    "GetObject",
    "PutObject",
    "DeleteObject",
    "AbortMultipartUpload",
    "ListMultipartUploadParts",
)
_LOOK = (
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
    "ssm:GetParameter",
)
