"""Secrets out of AWS's Parameter Store, read on the machine that needs them with its own role, and stored by nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sc.errors import CloudError

AT_A_TIME = 10
"""docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html: at most ten names."""


def read_parameters(names: Sequence[str]) -> Mapping[str, str]:
    """Values by name, Raises CloudError that names what is missing."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    found: dict[str, str] = {}
    try:
        client = boto3.client("ssm")
        for first in range(0, len(names), AT_A_TIME):
            answer = client.get_parameters(
                Names=list(names[first : first + AT_A_TIME]), WithDecryption=True
            )
            for one in answer["Parameters"]:
                found[one["Name"]] = one["Value"]
    except (BotoCoreError, ClientError) as error:
        raise CloudError(
            f"The parameters {', '.join(names)} could not be read from Parameter Store ({error}); "
            "the machine's role needs ssm:GetParameters for them."
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise CloudError(
            f"Parameter Store has no {', '.join(missing)}; make it, or correct environment_variables."
        )
    return found
