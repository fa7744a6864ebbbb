"""Preparing an AWS account, once: the role of the machines, and the instance profile that hands it to them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from sc.errors import InputError
from sc.fleets.ec2_aws import Aws, AwsRefused, Call
from sc.fleets.ec2_policies import (
    ROLE_INLINE,
    Policy,
    areas_of,
    characters,
    of_bucket,
    of_machine,
    of_parameters,
    of_setup,
    of_user,
    trust,
)

_MACHINE, _PARAMETERS, _BUCKET = "sc-machine", "sc-parameters", "sc-bucket-"
_LONGEST_NAME = 128


@dataclass(frozen=True)
class Wish:
    """What `sc setup` was asked for."""

    profile: str
    buckets: tuple[str, ...]
    """Each a bucket, or `bucket/prefix`."""
    parameters: Optional[str]
    """The path in Parameter Store; None: as it is, or the default the first time."""


@dataclass(frozen=True)
class Step:
    """One change that is missing, as a line for people and the call that makes it."""

    text: str
    call: Call


@dataclass(frozen=True)
class State:
    """What is there, what is missing, and what results."""

    account: str
    profile: str
    role: str
    missing: tuple[Step, ...]
    machine_policies: dict[str, Policy]
    user_policy: Policy
    setup_policy: Policy
    buckets: tuple[str, ...]
    """Those that the role may use, afterwards, as in `Wish`."""
    wider: tuple[str, ...] = ()
    """A sentence for each policy of the role that gives more than a prefix that was wished for."""


def look(aws: Aws, wish: Wish, default_parameters: str) -> State:
    """Read what there is; changes nothing."""
    identity = aws.send(Call("sts", "get_caller_identity", {}))
    account, partition = str(identity["Account"]), str(identity["Arn"]).split(":")[1]
    profile = _ask(aws, "get_instance_profile", {"InstanceProfileName": wish.profile})
    roles = profile["InstanceProfile"]["Roles"] if profile else []
    role = str(roles[0]["RoleName"]) if roles else wish.profile
    about = roles[0] if roles else (_ask(aws, "get_role", {"RoleName": role}) or {}).get("Role")
    has_role = about is not None
    present = _policies(aws, role) if has_role else {}
    wanted = {_MACHINE: of_machine(partition, account)}
    for area in wish.buckets:
        wanted[policy_name(area)] = of_bucket(partition, area)
    if wish.parameters is not None or _PARAMETERS not in present:
        path = default_parameters if wish.parameters is None else wish.parameters
        wanted[_PARAMETERS] = of_parameters(partition, account, path)
    after = {**present, **wanted}
    if after != present:
        _check_size(role, after)
    by_name = {name: areas_of(after[name]) for name in after if name.startswith(_BUCKET)}
    buckets = tuple(sorted({area for areas in by_name.values() for area in areas}))
    steps = [] if has_role else [_make_role(role, partition)]
    steps += _policy_steps(role, present, wanted)
    steps += _profile_steps(wish.profile, role, bool(profile), bool(roles))
    return State(
        account=account,
        profile=wish.profile,
        role=role,
        missing=tuple(steps),
        machine_policies={name: after[name] for name in sorted(after)},
        user_policy=of_user(partition, account, _with_path(role, about), buckets),
        setup_policy=of_setup(partition, account, wish.profile),
        buckets=buckets,
        wider=tuple(_wider(role, by_name, wish.buckets)),
    )


def _with_path(role: str, about: Optional[Mapping[str, Any]]) -> str:
    """As it stands in the role's ARN: a role that somebody else has made may have a path."""
    return str((about or {}).get("Path") or "/")[1:] + role


def _check_size(role: str, policies: Mapping[str, Policy]) -> None:
    total = sum(characters(policy) for policy in policies.values())
    if total > ROLE_INLINE:
        raise InputError(
            f"The inline policies of the role {role} would have {total:,} characters, and IAM takes {ROLE_INLINE:,} "
            "of a role: name fewer buckets, or make another role for some with --profile-name. "
            f"`aws iam list-role-policies --role-name {role}` lists what is there."
        )


def policy_name(area: str) -> str:
    """Of the role's policy for a bucket, or for a prefix of one, in the letters that IAM takes, another for each.

    docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html
    """
    name = _BUCKET + area.replace("/", "+")
    if re.fullmatch(r"[\w.@-]+", area.replace("/", ""), re.ASCII) and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(area.encode()).hexdigest()[:16]
    return f"{re.sub(r'[^a-zA-Z0-9_.@+-]', '_', name)[: _LONGEST_NAME - 17]}={digest}"


def _wider(role: str, present: dict[str, list[str]], wished: Sequence[str]) -> Iterator[str]:
    """Earlier policies stay, and one for the whole bucket takes a prefix its sense."""
    for area in wished:
        for name, others in present.items():
            for other in others:
                if area.startswith(f"{other}/"):
                    yield (
                        f"The role {role} may still use all of {other}. If it shall not: "
                        f"aws iam delete-role-policy --role-name {role} --policy-name {name}"
                    )


def carry_out(aws: Aws, steps: Sequence[Step]) -> None:
    """Make what is missing. Can be repeated: what somebody else made meanwhile is as good."""
    for step in steps:
        try:
            aws.send(step.call)
        except AwsRefused as error:
            if error.code != "EntityAlreadyExists":
                raise


def _make_role(role: str, partition: str) -> Step:
    return _step(
        f"make the role {role}",
        "create_role",
        RoleName=role,
        AssumeRolePolicyDocument=json.dumps(trust(partition)),
        Description="Machines that sc starts: see sc setup",
    )


def _policy_steps(role: str, present: dict[str, Policy], wanted: dict[str, Policy]) -> list[Step]:
    return [
        _step(
            f"{'change' if name in present else 'give'} the role {role} the policy {name}",
            "put_role_policy",
            RoleName=role,
            PolicyName=name,
            PolicyDocument=json.dumps(policy),
        )
        for name, policy in wanted.items()
        if present.get(name) != policy
    ]


def _profile_steps(profile: str, role: str, has_profile: bool, is_joined: bool) -> list[Step]:
    make, join = "create_instance_profile", "add_role_to_instance_profile"
    steps = []
    if not has_profile:
        text = f"make the instance profile {profile}"
        steps.append(_step(text, make, InstanceProfileName=profile))
    if not is_joined:
        text = f"put the role {role} into the instance profile {profile}"
        steps.append(_step(text, join, InstanceProfileName=profile, RoleName=role))
    return steps


def _step(text: str, operation: str, **parameters: str) -> Step:
    return Step(text, Call("iam", operation, parameters))


def _policies(aws: Aws, role: str) -> dict[str, Policy]:
    """The role's own policies by name; botocore has made dictionaries of them already."""
    names = aws.pages(Call("iam", "list_role_policies", {"RoleName": role}), "PolicyNames")
    found: dict[str, Policy] = {}
    for name in names:
        asked = {"RoleName": role, "PolicyName": name}
        document = aws.send(Call("iam", "get_role_policy", asked))["PolicyDocument"]
        found[str(name)] = json.loads(document) if isinstance(document, str) else dict(document)
    return found


def _ask(aws: Aws, operation: str, parameters: dict[str, str]) -> Any:
    """The answer, or None if IAM has no such thing."""
    try:
        return aws.send(Call("iam", operation, parameters))
    except AwsRefused as error:
        if error.code != "NoSuchEntity":
            raise
        return None
