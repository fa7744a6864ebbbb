"""Secrets out of AWS's Parameter Store, read on the machine that needs them with its own role, and stored by nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sc.errors import CloudError
from sc.fleets.ec2_aws import Aws, Call

AT_A_TIME = 10
"""docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html: at most ten names."""


def read_parameters(aws: Aws, names: Sequence[str]) -> Mapping[str, str]:
    """Values by name, as it was asked for: `/a/b`, `/a/b:3`, `/a/b:label`, or the ARN of a parameter that another
    account shares, with either too. Raises CloudError that names what is missing.
    """
    found: dict[str, str] = {}
    for asked in _batches(names):
        call = Call("ssm", "get_parameters", {"Names": [*asked.values()], "WithDecryption": True})
        for one in aws.send(call)["Parameters"]:
            name = asked.get(_plain(str(one["Name"])))
            if name is not None:
                found[name] = str(one["Value"])
    missing = [name for name in names if name not in found]
    if missing:
        raise CloudError(
            f"Parameter Store has no {', '.join(missing)} in {aws.region}; make it, or correct environment_variables."
        )
    return found


def _batches(names: Sequence[str]) -> list[dict[str, str]]:
    """What is asked for together, each by its plain name. The answer names a parameter without the version or label
    that was asked for, and one that was asked for by its ARN by its name: so no two of a batch have the same.
    """
    batches: list[dict[str, str]] = []
    for name in names:
        plain = _plain(name)
        fitting = (one for one in batches if len(one) < AT_A_TIME and plain not in one)
        batch = next(fitting, None)
        if batch is None:
            batches.append({plain: name})
        else:
            batch[plain] = name
    return batches


def _plain(name: str) -> str:
    """Without ARN, version and label."""
    if name.startswith("arn:"):
        name = name.partition(":parameter")[2]
    return name.partition(":")[0].lstrip("/")
