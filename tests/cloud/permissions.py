"""Whether a role's policies allow a call: the part of IAM's rules that the policies of `sc` use.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Optional
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.cloud.signing import Request

ANY = "*"


@dataclass(frozen=True)
class Attempt:
    """Somebody wants to do something."""

    action: str
    """As in a policy: `s3:GetObject`."""
    arn: str = ANY
    """Of what; "*" for actions that know no resources (most that only describe)."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Condition keys -> values, where they are known."""


def permits(documents: Iterable[Mapping[str, Any]], attempt: Attempt) -> bool:
    """Nothing is allowed that no statement allows, or that one denies."""
    effects = {
        statement["Effect"]
        for document in documents
        for statement in _listed(document["Statement"])
        if _applies(statement, attempt)
    }
    return effects == {"Allow"}


def _applies(statement: Mapping[str, Any], attempt: Attempt) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if unknown:
        raise ValueError(f"this box knows no {sorted(unknown)} in a policy's statement")
    action = attempt.action.lower()
    if not any(fnmatchcase(action, one.lower()) for one in _listed(statement["Action"])):
        return False
    if not any(fnmatchcase(attempt.arn, _pattern(one)) for one in _listed(statement["Resource"])):
        return False
    conditions = statement.get("Condition", {}).items()
    return all(_holds(name, wanted, attempt.context) for name, wanted in conditions)


def _holds(operator: str, wanted: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    known = {name.lower(): value for name, value in context.items()}
    for name, values in wanted.items():
        found = known.get(name.lower())
        if operator == "Null":
            if (found is None) != (values == "true"):
                return False
        elif found is None:
            if not operator.endswith("IfExists"):
                return False
        elif not any(_equal(operator, found, str(value)) for value in _listed(values)):
            return False
    return True


def _equal(operator: str, found: str, value: str) -> bool:
    base = operator[: -len("IfExists")] if operator.endswith("IfExists") else operator
    if base in ("StringEquals", "Bool"):
        return found == value
    if base in ("StringLike", "ArnLike", "ArnEquals"):
        return fnmatchcase(found, _pattern(value))
    raise ValueError(f"this box knows no condition {operator}")


def _pattern(text: str) -> str:
    """IAM's wildcards are * and ?, never brackets; `${*}` is an asterisk itself.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
    """
    text = text.replace("[", "[[]")
    return re.sub(r"\$\{([*?$])\}", r"[\1]", text)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


_S3_ACTIONS = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
    "POST": "s3:PutObject",
}


def s3_attempts(request: Request) -> Sequence[Attempt]:
    """What a request to S3 needs.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    """
    parts = urlsplit(request.target)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    whole = f"arn:aws:s3:::{bucket}"
    if not bucket:
        return [Attempt("s3:ListAllMyBuckets")]
    if not key:
        if "delete" in query:
            return [
                Attempt("s3:DeleteObject", f"{whole}/{html.unescape(key)}")
                for key in re.findall("<Key>(.*?)</Key>", request.body.decode())
            ]
        action = _bucket_action(request.method, query)
        return [Attempt(action, whole, {"s3:prefix": query.get("prefix", "")})]
    arn = f"{whole}/{key}"
    if "uploadId" in query and request.method in ("GET", "DELETE"):
        return [Attempt(_OF_UPLOADS[request.method], arn)]
    attempts = [Attempt(_S3_ACTIONS[request.method], arn)]
    source = request.headers.get("x-amz-copy-source")
    if source:
        attempts.append(Attempt("s3:GetObject", "arn:aws:s3:::" + unquote(source).lstrip("/")))
    return attempts


_OF_UPLOADS = {"GET": "s3:ListMultipartUploadParts", "DELETE": "s3:AbortMultipartUpload"}


def _bucket_action(method: str, query: Mapping[str, str]) -> str:
    special: Optional[str] = next((name for name in ("location", "uploads") if name in query), None)
    if special == "location":
        return "s3:GetBucketLocation"
    if special == "uploads":
        return "s3:ListBucketMultipartUploads"
    return {"PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}.get(method, "s3:ListBucket")
