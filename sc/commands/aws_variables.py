"""The settings of AWS in the environment, without what a file or a secret store has put round them."""

from __future__ import annotations

from collections.abc import MutableMapping

from sc.storage.aws_keys import trimmed


def trim_aws_variables(environ: MutableMapping[str, str]) -> None:
    """Take the white space from both ends of every `AWS_…` variable, for sc and all that it starts.

    `export AWS_SECRET_ACCESS_KEY="$(cat key)"` has none, but a Kubernetes secret, a CI variable or a file with Windows'
    ends of lines often has; and nothing that AWS knows begins or ends with any.
    """
    for name, value in list(environ.items()):
        if name.startswith("AWS_") and trimmed(value) != value:
            environ[name] = trimmed(value)
