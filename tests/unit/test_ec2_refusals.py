"""Messages that AWS has been seen to send, or that it documents, each with its source, and what is made of them."""

from __future__ import annotations

from typing import Any

import pytest

from sc.fleets.ec2_refusals import launch_failure, readable, refusal_of

NEVER = [
    # github.com/kubernetes/kops/pull/15778
    (
        (
            "You have requested more vCPU capacity than your current vCPU limit of 384 allows for the instance "
            "bucket that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit. Launching EC2 "
            "instance failed."
        ),
        "quotas",
    ),
    # github.com/ITISFoundation/osparc-simcore/pull/5408, as CreateFleet tells it for several types
    (
        (
            "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than "
            "your current vCPU limit of 0 allows for the instance bucket that the specified instance type belongs "
            "to. Launching EC2 instance failed."
        ),
        "quotas",
    ),
    # github.com/PeopleForBikes/pfb-network-connectivity/issues/342
    (
        (
            "You have requested more instances (4) than your current instance limit of 2 allows for the specified "
            "instance type. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to "
            "this limit. Launching EC2 instance failed."
        ),
        "quotas",
    ),
    # github.com/aws/aws-parallelcluster/issues/1115
    ("Max spot instance count exceeded. Launching EC2 instance failed.", "use_spot_instance"),
    # github.com/NixOS/nixops-aws/issues/41
    (
        (
            "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded. "
            "Launching EC2 instance failed."
        ),
        "use_spot_instance",
    ),
    # github.com/jojoldu/freelec-springboot2-webservice/issues/906
    (
        (
            "This account is currently blocked and not recognized as a valid account. Please contact "
            "https://support.console.aws.amazon.com/support/home?region=us-east-1#/case/create if you have "
            "questions."
        ),
        "support",
    ),
    # github.com/skyplane-project/skyplane/issues/799
    (
        (
            "Your request for accessing resources in this region is being validated, and you will not be able to "
            "launch additional resources in this region until the validation is complete. We will notify you by "
            "email once your request has been validated. While normally resolved within minutes, please allow up "
            "to 4 hours for this process to complete."
        ),
        "mail",
    ),
    # github.com/galaxyproject/cloudlaunch/issues/150
    (
        (
            "Your account is currently being verified. Verification normally takes less than 2 hours. Until your "
            "account is verified, you may not be able to launch additional instances or create additional "
            "volumes."
        ),
        "mail",
    ),
    # github.com/aws/karpenter-provider-aws/issues/7370
    (
        (
            "You are not authorized to perform this operation. User: "
            "arn:aws:sts::123456789012:assumed-role/r/1731 is not authorized to perform: ec2:RunInstances on "
            "resource: arn:aws:ec2:us-east-2:123456789012:instance/* with an explicit deny in a service control "
            "policy. Encoded authorization failure message: g4oZPBqZ4Bni8dE5dGjxYTnOZ"
        ),
        "organization",
    ),
    # github.com/aws/karpenter-provider-aws/issues/1536
    (
        (
            "UnauthorizedOperation: You are not authorized to perform this operation. Encoded authorization "
            "failure message"
        ),
        "sc setup",
    ),
    # github.com/hashicorp/terraform-provider-aws/issues/39904
    (
        (
            "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "
            "Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state"
        ),
        "kms",
    ),
    # github.com/terraform-aws-modules/terraform-aws-autoscaling/issues/109
    (
        (
            "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "
            "Client.InternalError: Client error on launch"
        ),
        "key",
    ),
    # docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
    (
        "Client.VolumeLimitExceeded: The limit on the number of EBS volumes or total storage was exceeded.",
        "disk_space",
    ),
    ("Client.VolumeLimitExceeded: Volume limit exceeded", "disk_space"),
    ("Client.InvalidSnapshot.NotFound: The specified snapshot was not found.", "snapshot"),
    # github.com/ansible/ansible/issues/43375
    (
        (
            "In order to use this AWS Marketplace product you need to accept terms and subscribe. To do so please "
            "visit https://aws.amazon.com/marketplace/pp?sku=14onryp2ljrzlajty34nw8o2z. Launching EC2 instance "
            "failed."
        ),
        "Subscribe",
    ),
    # github.com/DNXLabs/terraform-aws-ecs/pull/24
    (
        (
            "Could not launch Spot Instances. InvalidBlockDeviceMapping - Volume of size 22GB is smaller than  "
            "snapshot 'snap-0b5c5ea11d58e1fec', expect size >= 30GB. Launching EC2 instance failed."
        ),
        "disk_space",
    ),
    # docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html
    ("The security group 'sg-0123' does not exist. Launching EC2 instance failed.", "recipe"),
    ("The key pair 'mine' does not exist. Launching EC2 instance failed.", "recipe"),
    # docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-ami.html
    ("The AMI ID 'ami-0123' does not exist. Launching EC2 instance failed.", "recipe"),
    (
        (
            "AuthFailure.ServiceLinkedRoleCreationNotPermitted - The provided credentials do not have permission "
            "to create the service-linked role for EC2 Spot Instances."
        ),
        "create-service-linked-role",
    ),
]
MAY_PASS = [
    # github.com/ITISFoundation/osparc-simcore/issues/3629
    (
        "We currently do not have sufficient g4dn.8xlarge capacity in the Availability Zone you requested "
        "(us-east-1a). Our system will be working on provisioning additional capacity. Launching EC2 instance "
        "failed."
    ),
    # github.com/cortexlabs/cortex/issues/1258
    (
        "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity available that "
        "matches your request. Launching EC2 instance failed."
    ),
    # github.com/mludvig/aws-ethereum-miner/issues/23
    (
        "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request "
        "configuration. Please adjust your request and try again. Launching EC2 instance failed."
    ),
    (
        "Could not launch Spot Instances. InvalidFleetConfiguration - Your requested instance type (p3.8xlarge) "
        "is not supported in your requested Availability Zone (us-east-2c). Launching EC2 instance failed."
    ),
    # github.com/dspace-group/dspace-reference-architecture-aws/issues/100
    (
        "Could not launch On-Demand Instances. Unsupported - Your requested instance type (p3.2xlarge) is not "
        "supported in your requested Availability Zone (eu-central-1c). Please retry your request by not "
        "specifying an Availability Zone or choosing eu-central-1a, eu-central-1b. Launching EC2 instance failed."
    ),
    # github.com/gruntwork-io/intro-to-terraform/issues/6: of one zone, though it does not say so
    (
        "The requested configuration is currently not supported. Please check the documentation for supported "
        "configurations. Launching EC2 instance failed."
    ),
    # github.com/otiai10/hotsub/issues/10
    "Request limit exceeded. Launching EC2 instance failed.",
    "RequestLimitExceeded - Request limit exceeded.",
    # github.com/PrairieLearn/PrairieLearn/issues/3271
    (
        "There are not enough free addresses in subnet 'subnet-66d3dd2c' to satisfy the requested number of "
        "instances. Launching EC2 instance failed."
    ),
    # docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
    "Server.InsufficientInstanceCapacity: There was insufficient capacity available to satisfy the launch request.",
    "Server.InternalError: An internal error caused the instance to terminate during launch.",
    "An internal error has occurred",
    "",
]


@pytest.mark.parametrize(("message", "step"), NEVER)
def test_refusal_that_never_passes_has_its_next_step(message: str, step: str) -> None:
    refusal = refusal_of(message)
    assert refusal is not None
    assert step in refusal.next_step


@pytest.mark.parametrize("message", MAY_PASS)
def test_refusal_that_may_pass_is_none(message: str) -> None:
    assert refusal_of(message) is None


def test_profile_of_a_moment_ago_may_come() -> None:
    """github.com/hashicorp/terraform-provider-aws/issues/4769"""
    refusal = refusal_of(
        "Value (sc-machine) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name. "
        "Launching EC2 instance failed."
    )
    assert refusal is not None
    assert refusal.patience_seconds >= 120


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (None, ""),
        ({}, ""),
        ({"Code": "Client.InstanceInitiatedShutdown", "Message": "x"}, ""),
        ({"Code": "Client.UserInitiatedShutdown", "Message": "x"}, ""),
        ({"Code": "Client.InstanceTerminated", "Message": "x"}, ""),
        ({"Code": "pending", "Message": "pending"}, ""),
        ({"Code": "Client.InternalError"}, "Client.InternalError"),
        (
            {
                "Code": "Client.VolumeLimitExceeded",
                "Message": "Client.VolumeLimitExceeded: Volume limit exceeded",
            },
            "Client.VolumeLimitExceeded: Volume limit exceeded",
        ),
        (
            {"Code": "Server.InsufficientInstanceCapacity", "Message": "no"},
            "Server.InsufficientInstanceCapacity: no",
        ),
    ],
)
def test_state_reason_tells_of_machines_that_never_began(reason: Any, told: str) -> None:
    assert launch_failure({"StateReason": reason} if reason is not None else {}) == told


def test_encoded_half_of_a_message_is_left_out() -> None:
    said = (
        "You may not. Encoded authorization failure message: g4oZ_-= Launching EC2 instance failed."
    )
    assert readable(said) == "You may not. (…) Launching EC2 instance failed."
