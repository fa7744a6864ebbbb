"""`sc setup`: prepare an AWS account, once."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from sc.commands.voice import result, say
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sc.commands import Subparsers
    from sc.fleets.ec2_buckets import Advice
    from sc.fleets.ec2_setup import State

EXAMPLES = """
Examples:
  sc setup --bucket my-bucket             make the machines' role and give it the bucket
  sc setup --bucket my-bucket/team        only what lies below team/ in it
  sc setup --bucket my-bucket --dry-run   only tell what is missing
  sc setup                                show what is there
  sc setup --parameters /team/            machines may also read these values: ssm:/team/key
  sc setup --json                         the policies, for other tools

Makes the IAM role and instance profile that machines on EC2 run with, with the least permissions
that work, and prints the policy that you need yourself to start jobs. Tells of a bucket that keeps old versions, or
parts of unfinished uploads, and prints the lifecycle rules that remove them. Can be repeated: it changes only
what is missing. Needs the rights to make roles; an administrator may run it for you.
"""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc setup`."""
    parser = subparsers.add_parser("setup", description=EXAMPLES)
    parser.add_argument(
        "--bucket",
        metavar="B",
        action="append",
        default=[],
        help="a bucket that jobs write to, or B/PREFIX; may be given several times, earlier ones stay",
    )
    parser.add_argument(
        "--profile-name", metavar="N", help="of the instance profile and its role (sc-machine)"
    )
    parser.add_argument(
        "--parameters",
        metavar="PATH",
        help="the path of Parameter Store below which values may be read (/sc/ at first)",
    )
    parser.add_argument("--region", help="where to ask; roles belong to the whole account")
    parser.add_argument("--dry-run", action="store_true", help="change nothing, only tell")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one object: account, profile, role, buckets, missing, machine_policies, user_policy, "
        "user_policy_kind, bucket_lifecycle",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Look, make what is missing, print the policies."""
    from sc.fleets.ec2_aws import Boto3
    from sc.fleets.ec2_buckets import advise
    from sc.fleets.ec2_names import PROFILE
    from sc.fleets.ec2_policies import PARAMETERS
    from sc.fleets.ec2_setup import Wish, carry_out, look

    aws = Boto3(_region(args))
    state = look(aws, _wish(args, Wish, PROFILE), PARAMETERS)
    for step in state.missing:
        say(f"{'Missing' if args.dry_run else 'Now'}: {step.text}")
    if not state.missing:
        say(
            f"The role {state.role} and the instance profile {state.profile} are as they should be."
        )
    if not args.dry_run:
        carry_out(aws, state.missing)
    buckets = list(advise(aws, args.bucket or state.buckets))
    _tell(state, args.json, buckets)
    return ExitCode.OK


def _region(args: argparse.Namespace) -> str:
    """Roles belong to the whole account, but China's and the government's regions are worlds of their own."""
    from sc.fleets.ec2_aws import Boto3

    try:
        return Boto3(args.region or os.environ.get("AWS_REGION")).region
    except InputError:
        return "us-east-1"


def _wish(args: argparse.Namespace, wish: Any, profile: str) -> Any:
    buckets = tuple(_area(text) for text in args.bucket)
    return wish(args.profile_name or profile, buckets, args.parameters)


def _area(text: str) -> str:
    """A bucket's name, or `bucket/prefix`, also out of `s3://bucket/prefix`."""
    from sc.storage.places import Bucket, resolve

    place = resolve(text if "://" in text else f"s3://{text}", {})
    if not isinstance(place, Bucket):
        raise InputError(f"setup: --bucket {text!r} is not the name of an S3 bucket")
    if not all(" " <= letter <= "\xff" and letter != "\x7f" for letter in place.key):
        raise InputError(
            f"setup: --bucket {text!r} cannot stand in a policy of IAM, which takes letters of Latin-1 only: "
            "name a shorter prefix."
        )
    return f"{place.name}/{place.key}" if place.key else place.name


def _tell_buckets(buckets: Sequence[Advice]) -> None:
    """What a bucket keeps, and the lifecycle rules that it should have."""
    from sc.fleets.ec2_buckets import as_text
    from sc.reports import printable

    for one in buckets:
        for sentence in one.sentences:
            say(printable(sentence))
        if one.document is not None:
            result(f"# lifecycle.json for: {printable(one.command)}")
            result(as_text(one.document))


def _tell(state: State, as_json: bool, buckets: Sequence[Advice]) -> None:
    from sc.fleets.ec2_buckets import as_text as lifecycle_text
    from sc.fleets.ec2_policies import as_text, how_to_give
    from sc.reports import printable

    if as_json:
        document = {
            "account": state.account,
            "profile": state.profile,
            "role": state.role,
            "buckets": list(state.buckets),
            "missing": [step.text for step in state.missing],
            "machine_policies": state.machine_policies,
            "user_policy": state.user_policy,
            "user_policy_kind": how_to_give(state.user_policy),
            "setup_policy": state.setup_policy,
            "bucket_advice": {one.bucket: list(one.sentences) for one in buckets},
            "bucket_lifecycle": {
                one.bucket: json.loads(lifecycle_text(one.document))
                for one in buckets
                if one.document is not None
            },
        }
        result(json.dumps(document, indent=1))
        return
    if state.buckets:
        say(f"Machines may use: {', '.join(printable(area) for area in state.buckets)}")
        for sentence in state.wider:
            say(printable(sentence))
    else:
        say("Machines may use no bucket yet: say which with `sc setup --bucket NAME`.")
    for name, policy in state.machine_policies.items():
        result(f"# Of the machines' role {printable(state.role)}: {printable(name)}")
        result(as_text(policy))
    kind = how_to_give(state.user_policy)
    result(f"# What you need to start, watch and stop jobs; make it {kind}:")
    result(as_text(state.user_policy))
    _tell_buckets(buckets)
