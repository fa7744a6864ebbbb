"""What everything that belongs to a job is called on AWS. Pure.

Names come from the job's URL alone, so whoever knows the URL finds the machines: a second attempt, a worker,
or `sc stop` on another laptop. Nothing has to be remembered anywhere.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any, Optional

JOB_TAG = "sc:job"
"""Carries the job's name; whatever bears it was made by `sc`."""
URL_TAG = "sc:url"
GROUP_TAG = "aws:autoscaling:groupName"
"""AWS itself puts it on each instance of a group; nobody else can."""
NONCE_TAG = "sc:nonce"
"""Of the launch that made it: another launch of the same job leaves it alone."""
OWNER_TAG = "sc:owner"
"""The ARN of whoever has started the job, in the letters of `url_to_tag`."""
SHARED_GROUP, SHARED_TAG = "sc-nothing-in", "sc:shared"
"""The security group without inbound rules that all jobs in a VPC share, and what it carries in place of `sc:job`: it
belongs to no job, and goes with none."""
PROFILE = "sc-machine"
"""The instance profile, and its role, that `sc setup` makes and a recipe has by default."""

_LONGEST_VALUE = 256
_SAFE = "/:.@+-_ "


def group_name(job_url: str) -> str:
    """The name of the Auto Scaling group and the launch template of a job, and until release 0.1.0 of a security group.

    At most 76 characters of letters, digits, `.`, `_` and `-`: all services take that.
    """
    url = job_url.rstrip("/")
    return f"sc-{job_name(url)}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def is_ours(name: str, tags: Mapping[str, str]) -> bool:
    """Whether what has this name and these tags was made for a job: its tags say that it has to be called so.

    Tags alone prove nothing, since they are copied: from an instance to its image, from a template to another one.
    For an instance `name` is that of its group. A URL that is too long for a tag leaves the job's name only.
    """
    job, url = tags.get(JOB_TAG), url_from_tag(tags.get(URL_TAG, ""))
    if job is None:
        return False
    if url:
        return job == job_name(url) and name == group_name(url)
    return re.fullmatch(rf"sc-{re.escape(job)}-[0-9a-f]{{8}}", name) is not None


def job_name(job_url: str) -> str:
    return job_url.rstrip("/").rsplit("/", 1)[-1]


def url_to_tag(job_url: str) -> Optional[str]:
    """The URL in the letters that tags of all services allow (`=2A` for `*`), or None if it is too long."""
    text = _to_tag(job_url.rstrip("/"))
    return text if len(text) <= _LONGEST_VALUE else None


def _to_tag(text: str) -> str:
    return urllib.parse.quote(text, safe=_SAFE).replace("%", "=").replace("~", "=7E")


def url_from_tag(text: str) -> str:
    return urllib.parse.unquote(text.replace("=", "%"))


def owner_to_tag(arn: str) -> str:
    """The ARN of a caller as a tag. Of one that is too long (the path of a user may have 512 letters) the end is
    replaced by a hash."""
    if len(_to_tag(arn)) <= _LONGEST_VALUE:
        return _to_tag(arn)
    end, head = f"...{hashlib.sha256(arn.encode()).hexdigest()[:16]}", arn
    while len(_to_tag(head)) > _LONGEST_VALUE - len(end):
        head = head[:-1]
    return _to_tag(head) + end


def is_same_owner(one: str, other: str) -> bool:
    """Whether two tags are of one person. The name of a role's session is not looked at: it differs at each login.

    docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
    """
    return _without_session(one) == _without_session(other)


def _without_session(owner: str) -> str:
    found = re.match(r"arn:[^:]*:sts::[^:]*:assumed-role/[^/]+", owner)
    return found[0] if found else owner


def tags(job_url: str, own: Mapping[str, str], nonce: str = "", owner: str = "") -> dict[str, str]:
    """The tags of everything made for a job: the user's own, and ours, which win."""
    theirs = {key: value for key, value in own.items() if not key.startswith("sc:")}
    ours = {
        JOB_TAG: job_name(job_url),
        URL_TAG: url_to_tag(job_url),
        NONCE_TAG: nonce,
        OWNER_TAG: owner,
    }
    known = {key: value for key, value in ours.items() if value}
    return {"Name": f"sc {job_name(job_url)}", **theirs, **known}


def shared_tags(own: Mapping[str, str]) -> dict[str, str]:
    """The tags of what all jobs share: the user's own, and ours."""
    theirs = {key: value for key, value in own.items() if not key.startswith("sc:")}
    return {"Name": SHARED_GROUP, **theirs, SHARED_TAG: "security-group"}


def tag_list(values: Mapping[str, str]) -> list[dict[str, str]]:
    """As EC2 and IAM want them."""
    return [{"Key": key, "Value": value} for key, value in values.items()]


def from_tag_list(answer: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a described resource, as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}
