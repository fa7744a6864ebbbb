"""Names of parameters in AWS's Parameter Store, as `environment_variables` refer to them.

    ssm:/team/key     ssm:/team/key:3     ssm:/team/key:stable
    ssm:arn:aws:ssm:eu-west-1:123456789012:parameter/team/key, and with a version or label

docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html tells names and ARNs, API_PutParameter
what a name is made of, and API_LabelParameterVersion what a label is.
"""

from __future__ import annotations

import re

from sc.documents.problems import Wrong, shown

SECRET = "ssm:"
"""A value that begins so is the name of a parameter."""
_ARN = re.compile(r"arn:aws[a-z-]*:ssm:[a-z0-9-]+:\d{12}:parameter(/.*)", re.ASCII | re.DOTALL)
_NAME = re.compile(r"/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", re.ASCII)
_REFERENCE = re.compile(r"/aws/reference/secretsmanager/[A-Za-z0-9/_+=.@!-]+", re.ASCII)
"""A secret of Secrets Manager, which Parameter Store hands out."""
_STAGE = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)
"""Of a secret: AWSCURRENT and the like, or the id of a version.
docs.aws.amazon.com/systems-manager/latest/userguide/integration-ps-secretsmanager.html"""
_VERSION = re.compile(r"[1-9]\d{0,18}", re.ASCII)
_LABEL = re.compile(r"(?!aws|ssm)[A-Za-z_.-][A-Za-z0-9_.-]{0,99}", re.ASCII | re.IGNORECASE)
_MOST_LEVELS = 15
_LONGEST = 2048


def check_parameter(value: str) -> None:
    """Of a value of `environment_variables`. Raises Wrong if it is to be a parameter's name, and is none."""
    if not value.startswith(SECRET):
        return
    written = value[len(SECRET) :]
    name = written
    if written.startswith("arn:"):
        found = _ARN.fullmatch(written)
        if found is None:
            raise Wrong(
                f"{shown(value)}: an ARN of a parameter is arn:aws:ssm:REGION:ACCOUNT:parameter/NAME"
            )
        name = found.group(1)
    name, colon, selector = name.partition(":")
    is_name = _NAME.fullmatch(name) or _REFERENCE.fullmatch(name)
    if not is_name or name.count("/") > _MOST_LEVELS or len(written) > _LONGEST:
        raise Wrong(
            f"{shown(value)}: what follows ssm: is no name of a parameter; write one such as ssm:/team/key, which has "
            "letters, digits and _ . - between slashes"
        )
    kinds = (_STAGE,) if _REFERENCE.fullmatch(name) else (_VERSION, _LABEL)
    if colon and not any(kind.fullmatch(selector) for kind in kinds):
        raise Wrong(
            f"{shown(value)}: {shown(selector)} is neither a version of the parameter, such as 3, nor a label, "
            "which begins with a letter and has letters, digits and _ . -"
        )
