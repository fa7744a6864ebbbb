"""Secrets out of AWS's Parameter Store, read on the machine that needs them with its own role, and stored by nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sc.errors import CloudError
from sc.fleets.ec2_aws import Aws, Call

AT_A_TIME = 10
"""docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html: at most ten names."""


def read_parameters(aws: Aws, names: Sequence[str]) -> Mapping[str, str]:
    """Values by name. Raises CloudError that names what is missing."""
    found: dict[str, str] = {}
    for first in range(0, len(names), AT_A_TIME):
        some = list(names[first : first + AT_A_TIME])
        asked = Call("ssm", "get_parameters", {"Names": some, "WithDecryption": True})
        found.update((one["Name"], one["Value"]) for one in aws.send(asked)["Parameters"])
    missing = [name for name in names if name not in found]
    if missing:
        raise CloudError(
            f"Parameter Store has no {', '.join(missing)} in {aws.region}; make it, or correct environment_variables."
        )
    return found
