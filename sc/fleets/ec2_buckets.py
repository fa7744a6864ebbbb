"""What a bucket keeps of what `sc` replaces and never completes, and the lifecycle rule that removes it.

A claim is renewed every 30 seconds, a heartbeat is written every 20, and what a run prints is stored again and again
while it grows: for one of ten hours some 130 times. Without versions that costs nothing; with them all of it stays.
docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html
"""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from sc.errors import InputError
from sc.fleets.ec2_aws import Aws, AwsRefused, Call
from sc.storage.places import Bucket, resolve

OLD_VERSION_DAYS = 7
UPLOAD_DAYS = 7
_RULE = "sc: old versions, unfinished uploads"
_UPLOADS_RULE = "sc: unfinished uploads"
_LONGEST_ID = 255
_NOT_THERE = (
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "ObjectLockConfigurationNotFound",
)
_ODD_SIZES = "varies_by_storage_class"
"""What put-bucket-lifecycle-configuration would replace by its default, if it is not given."""


class Advice(NamedTuple):
    """About one bucket."""

    bucket: str
    sentences: Sequence[str]
    document: Optional[Mapping[str, Any]] = None
    """All rules that the bucket should have, those that it has included; None if nothing is missing."""
    command: str = ""
    """What sets the document, once it is in the file lifecycle.json."""


class _Seen(NamedTuple):
    """What the bucket tells of itself; None where it could not be asked."""

    versioning: Optional[Mapping[str, Any]]
    lifecycle: Optional[Mapping[str, Any]]
    lock: Optional[Mapping[str, Any]]
    untold: Sequence[str]


def advise(aws: Aws, words: Iterable[str]) -> Iterator[Advice]:
    """Look at each bucket: `name`, `name/prefix` or `s3://name/prefix`. A refusal is no error, but a sentence."""
    prefixes: dict[str, list[str]] = {}
    for word in words:
        place = resolve(word if "://" in word else f"s3://{word}", {})
        if not isinstance(place, Bucket):
            raise InputError(f"setup: {word!r} is not the name of an S3 bucket")
        prefixes.setdefault(place.name, []).append(f"{place.key}/" if place.key else "")
    for bucket, below in prefixes.items():
        yield advice(bucket, _outermost(below), _look(aws, bucket))


def advice(bucket: str, prefixes: Sequence[str], seen: _Seen) -> Advice:
    """Pure."""
    status = (seen.versioning or {}).get("Status")
    keeps = status == "Enabled"
    sentences = [*seen.untold, *_told(bucket, seen, keeps)]
    if seen.versioning is None and seen.lifecycle is None:
        return Advice(bucket, sentences)
    present = [_modern(rule) for rule in (seen.lifecycle or {}).get("Rules", [])]
    missing = [
        rule
        for prefix in prefixes
        if (rule := _missing_rule(prefix, present, keeps, _days(seen.lock)))
    ]
    if not missing or (seen.versioning or {}).get("MFADelete") == "Enabled":
        return Advice(bucket, sentences)
    ids = {rule["ID"] for rule in missing}
    rules = [*(rule for rule in present if rule.get("ID") not in ids), *missing]
    sizes = (seen.lifecycle or {}).get("TransitionDefaultMinimumObjectSize")
    sentences.append(_how(bucket, present, seen.lifecycle is not None, keeps))
    return Advice(bucket, sentences, {"Rules": rules}, _command(bucket, str(sizes or "")))


def as_text(document: Mapping[str, Any]) -> str:
    """JSON as the AWS CLI takes it."""
    return json.dumps(document, indent=2, default=_date)


def _told(bucket: str, seen: _Seen, keeps: bool) -> Iterator[str]:
    days = _days(seen.lock)
    if keeps:
        yield (
            f"The bucket {bucket} keeps old versions: each renewal of a claim, each heartbeat, and each upload of a "
            "growing log stays there until a lifecycle rule removes it (ten hours of a run that prints leave some 130 "
            "versions of its stdout, ten hours of a machine some 3,000 tiny ones)."
        )
    if days:
        yield (
            f"Object Lock keeps each version of an object in {bucket} for {days} day{'' if days == 1 else 's'}: "
            "what sc replaces or removes until then goes on to cost."
        )
    if (seen.versioning or {}).get("MFADelete") == "Enabled":
        yield (
            f"MFA Delete is on for {bucket}, with which S3 takes no lifecycle rules: use another bucket, or remove old "
            "versions by hand."
        )


def _how(bucket: str, present: Sequence[Any], is_known: bool, keeps: bool) -> str:
    what = (
        "removes old versions, delete markers without versions, and uploads that were never completed"
        if keeps
        else f"ends, after {UPLOAD_DAYS} days, uploads that were never completed, whose parts cost and no listing shows"
    )
    if not is_known:
        return (
            f"This document for {bucket} has a rule that {what}; the command replaces all rules of the bucket, "
            "so add those that it has now first."
        )
    with_present = f", together with the {len(present)} that it has now" if present else ""
    return (
        f"This document for {bucket} has a rule that {what}{with_present}; the command replaces all rules of the "
        "bucket by those of the document."
    )


def _missing_rule(
    prefix: str, present: Sequence[Mapping[str, Any]], keeps: bool, lock_days: int
) -> Optional[dict[str, Any]]:
    covering = [rule for rule in present if _covers(rule, prefix)]
    has_uploads = any("AbortIncompleteMultipartUpload" in rule for rule in covering)
    has_versions = any(
        "NoncurrentDays" in rule.get("NoncurrentVersionExpiration", {}) for rule in covering
    )
    rule: dict[str, Any] = {}
    if keeps and not has_versions:
        days = max(OLD_VERSION_DAYS, lock_days)
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
        if not any("Expiration" in one for one in covering):
            rule["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    if not has_uploads:
        rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": UPLOAD_DAYS}
    if not rule:
        return None
    name = _RULE if "NoncurrentVersionExpiration" in rule else _UPLOADS_RULE
    name = f"{name} below {prefix}"[:_LONGEST_ID] if prefix else name
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **rule}


def _covers(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether the rule is in force for every object below the prefix."""
    found = rule.get("Filter", {})
    is_plain = not found.keys() - {"Prefix"}
    return (
        rule.get("Status") == "Enabled" and is_plain and prefix.startswith(found.get("Prefix", ""))
    )


def _modern(rule: Mapping[str, Any]) -> dict[str, Any]:
    """With its prefix in a filter: S3 does not take rules of both forms in one document."""
    result = dict(rule)
    prefix = result.pop("Prefix", None)
    if "Filter" not in result:
        result["Filter"] = {"Prefix": prefix or ""}
    return result


def _outermost(prefixes: Iterable[str]) -> list[str]:
    """Without those that lie below others."""
    result: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not any(prefix.startswith(one) for one in result):
            result.append(prefix)
    return result


def _days(lock: Optional[Mapping[str, Any]]) -> int:
    """Of the default retention."""
    configuration = (lock or {}).get("ObjectLockConfiguration", {})
    retention = configuration.get("Rule", {}).get("DefaultRetention", {})
    return int(retention.get("Days", 0)) + 365 * int(retention.get("Years", 0))


def _command(bucket: str, sizes: str) -> str:
    more = f" --transition-default-minimum-object-size {sizes}" if sizes == _ODD_SIZES else ""
    return (
        f"aws s3api put-bucket-lifecycle-configuration --bucket {shlex.quote(bucket)}"
        f" --lifecycle-configuration file://lifecycle.json{more}"
    )


def _look(aws: Aws, bucket: str) -> _Seen:
    untold: list[str] = []

    def ask(operation: str, what: str, action: str) -> Optional[Mapping[str, Any]]:
        try:
            return dict(aws.send(Call("s3", operation, {"Bucket": bucket})))
        except AwsRefused as error:
            if error.code in _NOT_THERE:
                return {}
            untold.append(
                f"The {what} of the bucket {bucket} could not be looked at ({error.code}): for that you need {action}."
            )
            return None

    versioning = ask("get_bucket_versioning", "versioning", "s3:GetBucketVersioning")
    if untold and "NoSuchBucket" in untold[0]:
        return _Seen(None, None, None, [f"There is no bucket {bucket} yet: make it."])
    lifecycle = ask(
        "get_bucket_lifecycle_configuration", "lifecycle rules", "s3:GetLifecycleConfiguration"
    )
    lock = None
    if (versioning or {}).get("Status") == "Enabled":  # without versions there is no lock
        action = "s3:GetBucketObjectLockConfiguration"
        lock = ask("get_object_lock_configuration", "Object Lock", action)
    return _Seen(versioning, lifecycle, lock, untold)


def _date(value: object) -> str:
    """Of a rule that says when: midnight, UTC."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)
