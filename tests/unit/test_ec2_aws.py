"""What AWS says no with, as sentences with the next step."""

from __future__ import annotations

import pytest

from sc.fleets.ec2_aws import Call, permission, refusal, unreached

CALL = Call("ec2", "create_launch_template", {})


@pytest.mark.parametrize(
    ("code", "next_step"),
    [
        (
            "UnauthorizedOperation",
            "You need the permission ec2:CreateLaunchTemplate; `sc setup` prints",
        ),
        ("AccessDenied", "You need the permission"),
        ("ExpiredToken", "Log in again"),
        ("InvalidClientTokenId", "aws sts get-caller-identity"),
        ("VcpuLimitExceeded", "Service Quotas"),
        ("Strange", "AWS said no to ec2 create launch template: why (Strange)"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, next_step: str) -> None:
    assert next_step in refusal(CALL, code, "why")


@pytest.mark.parametrize(
    ("kind", "next_step"),
    [
        ("NoCredentialsError", "Run `aws configure`"),
        ("ProfileNotFound", "AWS_PROFILE"),
        ("EndpointConnectionError", "Is the network up"),
    ],
)
def test_no_answer_says_what_to_do(kind: str, next_step: str) -> None:
    assert next_step in unreached(CALL, kind, "why")


def test_the_permission_of_a_call() -> None:
    assert permission(Call("s3", "head_bucket", {})) == "s3:ListBucket"
    call = Call("autoscaling", "terminate_instance_in_auto_scaling_group", {})
    assert permission(call) == "autoscaling:TerminateInstanceInAutoScalingGroup"
