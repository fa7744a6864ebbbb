"""What AWS says when it starts no machine: whether it will say the same for ever, and what to do then. Pure.

The words are those of scaling activities (`StatusMessage`), of errors of RunInstances and CreateFleet that stand in
them, and of an instance's `StateReason`; `tests/unit/test_ec2_refusals.py` has whole messages with their sources.
docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
docs.aws.amazon.com/autoscaling/ec2/userguide/CHAP_Troubleshooting.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

PROPAGATION_SECONDS = 300.0
"""What `sc setup`, or the launch itself, has made a moment ago may not be known everywhere for some minutes:
docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html (eventually consistent)."""


class Refusal(NamedTuple):
    """Words of AWS that mean: no machine, however long one waits."""

    words: tuple[str, ...]
    """Any of them, in capitals or not."""
    next_step: str
    patience_seconds: float = 0.0
    """For so long after the launch it may pass by itself."""


_QUOTAS = "https://console.aws.amazon.com/servicequotas/home/services"
_REFUSALS = (
    Refusal(
        (
            "explicit deny in a service control policy",
            "with an explicit deny in a resource control",
        ),
        "A policy of your organization forbids it: ask its administrators, or take a type, region or tags that it "
        "allows.",
    ),
    Refusal(
        ("Max spot instance count exceeded", "MaxSpotInstanceCountExceeded"),
        "Ask for more of the quota 'All … Spot Instance Requests' of your instance family at "
        f"{_QUOTAS}/ec2/quotas, or leave out use_spot_instance.",
    ),
    Refusal(
        ("VcpuLimitExceeded", "vCPU limit", "InstanceLimitExceeded", "current instance limit"),
        "Ask for more of the quota 'Running On-Demand … instances' of your instance family at "
        f"{_QUOTAS}/ec2/quotas, or take a smaller instance_type.",
    ),
    Refusal(
        ("VolumeLimitExceeded", "volume limit", "storage limit", "MaxIOPSLimitExceeded"),
        f"Ask for more of the quota 'Storage for … (gp3) volumes' at {_QUOTAS}/ebs/quotas, delete volumes that nobody "
        "uses, or lower disk_space.",
    ),
    Refusal(
        ("NetworkInterfaceLimitExceeded", "maximum number of network interfaces"),
        f"Ask for more of the quota 'Network interfaces per Region' at {_QUOTAS}/vpc/quotas.",
    ),
    Refusal(
        (
            "account is currently blocked",
            "not recognized as a valid account",
            "account is suspended",
        ),
        "AWS has blocked the account: look for its message at https://console.aws.amazon.com/support/home.",
    ),
    Refusal(
        ("PendingVerification", "is being validated", "is currently being verified"),
        "AWS is looking at the account, which takes minutes to some hours, and writes a mail when that is done: "
        "start the job again then.",
    ),
    Refusal(
        ("OptInRequired", "accept terms and subscribe", "not subscribed to this service"),
        "Subscribe to the image at that address, or name another as `image`.",
    ),
    Refusal(
        ("InvalidKMSKey", "KMS key", "KMSKeyNotAccessible", "InvalidSnapshot.NotFound"),
        "The disk is encrypted with a key that is disabled, deleted or not yours: look at it at "
        "https://console.aws.amazon.com/kms/home, at the default key for EBS in the EC2 console (EBS encryption), and "
        "at the image's snapshots.",
    ),
    Refusal(
        ("Client.InternalError", "Client error on launch"),
        "That is mostly a KMS key that Auto Scaling may not use: give its service-linked role the key "
        "(docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html).",
    ),
    Refusal(
        ("ServiceLinkedRoleCreationNotPermitted", "create the service-linked role"),
        "Somebody with administrator rights runs, once: aws iam create-service-linked-role --aws-service-name "
        "spot.amazonaws.com",
    ),
    Refusal(
        ("Invalid IAM Instance Profile",),
        "Run `sc setup`, or correct instance_profile.",
        PROPAGATION_SECONDS,
    ),
    Refusal(
        ("tag policy",),
        "A tag policy of your organization wants other `tags` in the recipe.",
    ),
    Refusal(
        ("not authorized", "UnauthorizedOperation", "AuthFailure", "AccessDenied"),
        "`sc setup` prints the permissions that are needed; `aws autoscaling describe-scaling-activities` tells the "
        "whole message, and `aws sts decode-authorization-message` what is encoded in it.",
    ),
    Refusal(
        (
            "does not match the architecture",
            "enabled for ENA",
            "boot mode",
            "virtualization type",
            "InvalidBlockDeviceMapping",
            "expect size >=",
        ),
        "The image does not fit the instance type or the disk: take another `image`, instance_type or disk_space.",
    ),
    Refusal(
        (
            "does not exist",
            "no longer available",
            "InvalidAMIID",
            "InvalidSubnetID",
            "InvalidKeyPair",
        ),
        "Something that the recipe names, or the launch has made, was removed: correct it, and start the job again.",
        60.0,
    ),
)
_ANOTHER_ZONE = ("not supported in your requested Availability Zone",)
_OF_MACHINE = ("Client.InstanceInitiatedShutdown", "Client.UserInitiated", "Client.InstanceTerm")
"""Codes of a `StateReason` by which an instance has begun before it ended."""


def refusal_of(message: str) -> Optional[Refusal]:
    """What kind of refusal that never passes this is; None if it may pass: lack of capacity, throttling, a zone that
    lacks a type, and whatever nobody has seen yet."""
    said = message.lower()
    if any(words.lower() in said for words in _ANOTHER_ZONE):
        return None
    return next((one for one in _REFUSALS if any(w.lower() in said for w in one.words)), None)


def readable(message: str) -> str:
    """Without the encoded half of it, which is longer than a screen and another one each time."""
    return re.sub(r" ?Encoded authorization failure message: \S+", " (…)", message)


def is_about_one_zone(message: str) -> bool:
    """Whether it says nothing of the other zones."""
    return any(words in message for words in _ANOTHER_ZONE)


def launch_failure(instance: Mapping[str, Any]) -> str:
    """Why AWS ended an instance before it had begun, out of DescribeInstances; "" if it ended otherwise."""
    reason = instance.get("StateReason") or {}
    code, message = str(reason.get("Code") or ""), str(reason.get("Message") or "")
    if not code.startswith(("Client.", "Server.")) or code.startswith(_OF_MACHINE):
        return ""
    return message if message.startswith(code) else f"{code}: {message}".rstrip(": ")


def cannot_start(message: str, refusal: Refusal) -> str:
    """The sentence that ends a wait."""
    return f"AWS cannot start these machines: {message.rstrip('. ')}. {refusal.next_step}"
