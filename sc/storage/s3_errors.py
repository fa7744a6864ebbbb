"""S3's refusals as sentences with a next step. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from sc.errors import MissingError, OutageError, StorageError

CODE_ERROR = "MfaCodeError"
"""The kind of what is wrong with a code of an MFA device. Its text has the next step."""
_CREDENTIALS = (
    "run `aws configure` or `aws sso login`, set AWS_PROFILE, or give this machine an instance role"
)


class Purpose(NamedTuple):
    """What a request is for, in the words of its errors."""

    place: str
    done: str
    """A participle: "written", "read", "listed", "removed"."""
    action: str
    """What a policy has to allow, such as `s3:PutObject`."""


_BY_CODE = {
    "NoSuchBucket": "{place} cannot be {done}, there is no bucket {bucket}: "
    "make it, or correct the name.",
    "AccessDenied": "{place} may not be {done}: these credentials lack {action} on it, "
    "which a policy of the user, the role or the bucket must allow.",
    "AllAccessDisabled": "{place} may not be {done}, all access to the bucket {bucket} is "
    "disabled: choose another place.",
    "InvalidAccessKeyId": "{place} cannot be {done}, the access key is not known there: "
    "check AWS_ACCESS_KEY_ID or the profile, and the endpoint.",
    "SignatureDoesNotMatch": "{place} cannot be {done}, the secret key does not fit the access "
    "key: check AWS_SECRET_ACCESS_KEY or the profile.",
    "InvalidToken": "{place} cannot be {done}, the session token is not valid: "
    "remove AWS_SESSION_TOKEN or get new credentials.",
    "RequestTimeTooSkewed": "{place} cannot be {done}, this machine's clock differs too much "
    "from the server's: set it.",
    "KeyTooLongError": "{place} cannot be {done}, the key is longer than the 1024 bytes that S3 "
    "allows, or a name in it longer than that storage does: choose a shorter one.",
    "EntityTooLarge": "{place} cannot be {done}, it is larger than that storage allows: "
    "split it up.",
    "QuotaExceeded": "{place} cannot be {done}, the quota of the bucket {bucket} is used up: "
    "raise it, or remove something.",
    "InvalidBucketName": "{place} cannot be {done}, {bucket} is no valid name of a bucket: "
    "correct it.",
    "InvalidObjectState": "{place} cannot be {done}, it lies in an archive: restore it first.",
    "NotImplemented": "{place} cannot be {done}, that storage does not implement what sc needs "
    "there ({action}{header}): use one that does.",
    "XMinioInvalidObjectName": "{place} cannot be {done}, that storage does not take such a name: choose another one.",
    "InvalidRequest": "{place} cannot be {done}, the storage refused the request: {message}",
    "Expired": "{place} cannot be {done}, the credentials have expired: " + _CREDENTIALS + ".",
    "NoSuchKey": "There is nothing at {place}: check the path.",
    "Nowhere": "{place} cannot be {done}, its endpoint knows no such bucket, or is no S3: "
    "check the name of the bucket, and AWS_ENDPOINT_URL if it is set.",
}
_SAME = {
    "AccountProblem": "AccessDenied",
    "Forbidden": "AccessDenied",
    "ExpiredToken": "Expired",
    "ExpiredTokenException": "Expired",
    "TokenRefreshRequired": "Expired",
    "RequestExpired": "Expired",
    "InvalidTokenException": "InvalidToken",
    "InvalidObjectName": "XMinioInvalidObjectName",
    "KeyTooLong": "KeyTooLongError",
    "XMinioStorageFull": "QuotaExceeded",
    "NoSuchUpload": "NoSuchKey",
}
_LONGEST_TOLD = 200
"""Characters of a place that is too long for a key, and for a sentence."""
_FINAL = frozenset(
    [
        "AccessDenied",
        "Forbidden",
        "EntityTooLarge",
        "InvalidObjectName",
        "KeyTooLong",
        "InvalidArgument",
        "InvalidObjectState",
        "InvalidRequest",
        "InvalidURI",
        "KeyTooLongError",
        "MethodNotAllowed",
        "NotImplemented",
        "XMinioInvalidObjectName",
        "XMinioInvalidResourceName",
    ]
)
"""Refusals of one request for what it is: they would be the same in an hour. Not among them is what passes when
somebody sees to it, and concerns all requests alike: credentials that are unknown, expired or do not fit, a clock that
is wrong, a quota, a bucket that is not there (any more), and a 401 or 403 without a code, which may be a proxy's."""
_FINAL_STATUSES = frozenset([405, 413, 414, 501])
_BY_STATUS = {401: "AccessDenied", 403: "AccessDenied", 404: "NoSuchKey", 501: "NotImplemented"}


def refusal(
    purpose: Purpose, bucket: str, status: int, code: str, message: str, header: str = ""
) -> StorageError:
    """The error for a final no. `header` names a condition that the request carried."""
    error = _refusal(purpose, bucket, status, code, message, header)
    error.is_final = code in _FINAL or status in _FINAL_STATUSES
    return error


def _refusal(
    purpose: Purpose, bucket: str, status: int, code: str, message: str, header: str
) -> StorageError:
    demand = _demand(purpose, bucket, status, code, message)
    if demand:
        return StorageError(demand)
    known = _SAME.get(code, code)
    if known == "KeyTooLongError" and len(purpose.place) > _LONGEST_TOLD:
        purpose = purpose._replace(place=f"{purpose.place[:_LONGEST_TOLD]}…")
    if known not in _BY_CODE:
        known = _BY_STATUS.get(status, known) if not code else known
    if known == "NoSuchKey" and purpose.done != "read":
        known = "Nowhere"
    kind = MissingError if known == "NoSuchKey" else StorageError
    sentence = _BY_CODE.get(known)
    if sentence is None:
        reason = f"{code or 'status ' + str(status)}{': ' + message if message else ''}"
        return StorageError(
            f"{purpose.place} cannot be {purpose.done}, the storage refused {purpose.action} "
            f"({reason.rstrip('.')}): look that up in the storage's documentation."
        )
    text = sentence.format(
        **purpose._asdict(),
        bucket=bucket,
        message=message or "it gave no reason.",
        header=f" with {header}" if header else "",
    )
    may_be_demand = known == "AccessDenied" and purpose.action == "s3:PutObject"
    return kind(text + (_MAY_BE_DEMAND if may_be_demand else ""))


_SETTING = (
    "s3_encryption: AES256, or aws:kms with s3_kms_key, in the recipe, as SC_S3_ENCRYPTION and SC_S3_KMS_KEY, or as "
    "sc_s3_encryption and sc_s3_kms_key in the AWS profile"
)
_MAY_BE_DEMAND = (
    " If the bucket demands encryption: set s3_encryption in the recipe, or SC_S3_ENCRYPTION."
)
"""Of a bucket in another organization S3 does not tell which policy it was."""
_DENIED_BY = re.compile(
    r"explicit deny in (?:an? )?((?:resource-based|identity-based|service control|resource control|session|"
    r"VPC endpoint) policy|permissions boundary)"
)
_ENCRYPTION = re.compile(r"server.side.encryption", re.IGNORECASE)
_KMS_ACTION = re.compile(r"kms:\w+")


def _demand(purpose: Purpose, bucket: str, status: int, code: str, message: str) -> str:
    """What a bucket, or its key, demands of whoever writes there; nothing for another refusal. AWS's words are from
    docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
    """
    cannot, may_not = (f"{purpose.place} {word} not be {purpose.done}" for word in ("can", "may"))
    cannot, told = cannot.replace("can not", "cannot"), message.rstrip(". ")
    action = _KMS_ACTION.search(message)
    if code.startswith(("KMS.", "Kms")):
        return (
            f"{cannot}, its key of KMS cannot be used ({code}: {told}): "
            "correct s3_kms_key (SC_S3_KMS_KEY), or see to the key."
        )
    if action and status == 403:
        return (
            f"{may_not}: these credentials lack {action.group()} on the bucket's key of KMS ({told}): "
            "have the key's policy and theirs allow it, or name another key as s3_kms_key (SC_S3_KMS_KEY)."
        )
    if purpose.action != "s3:PutObject":
        return ""
    if status in (400, 501) and _ENCRYPTION.search(message):
        return (
            f"{cannot}, the storage does not take that encryption, or the bucket {bucket} wants another ({told}): "
            f"leave it to the bucket's default, or set {_SETTING}."
        )
    if status == 400 and "Object Lock" in message and "hecksum" in message:
        return f"{cannot}, its checksum does not arrive ({told}): look at the proxy on the way to the bucket {bucket}."
    denied = _DENIED_BY.search(message) if status == 403 else None
    if denied:
        whose = denied.group(1)
        whose = "the bucket's policy" if whose == "resource-based policy" else f"a {whose}"
        return (
            f"{may_not}: {whose} denies {purpose.action} to these credentials, or to what is not encrypted as it "
            f"demands; for the latter set {_SETTING}."
        )
    return ""


def no_answer(purpose: Purpose, url: str, reason: str, seconds: float, met: bool) -> OutageError:
    """The error for an endpoint that gives no answer, after `seconds` of asking."""
    again = "try again later" if met else "check the network, AWS_ENDPOINT_URL and the region"
    after = f"in {seconds:.0f} seconds" if seconds >= 1 else "at once"
    how = "could not be reached" if not met else "gave no answer"
    return OutageError(
        f"{purpose.place} cannot be {purpose.done}, {url} {how} {after} ({reason}): {again}."
    )


def kept_failing(purpose: Purpose, url: str, reason: str, seconds: float) -> OutageError:
    """The error for a server that answers with trouble only."""
    return OutageError(
        f"{purpose.place} cannot be {purpose.done}, {url} answered with errors only for "
        f"{seconds:.0f} seconds (the last one was {reason}): try again later."
    )


def distrusted(purpose: Purpose, url: str, reason: str) -> StorageError:
    """The error for a certificate that does not hold."""
    return StorageError(
        f"{purpose.place} cannot be {purpose.done}, {url} cannot be trusted ({reason}): "
        "set AWS_CA_BUNDLE to the file with the certificate of its authority."
    )


def account_trouble(purpose: Purpose, error: Exception) -> StorageError:
    """The error for credentials, profiles and regions that botocore cannot use, by their name.

    By name, because this module shall not import botocore, and to stand newer versions.
    """
    kind, text = type(error).__name__, " ".join(str(error).split()).rstrip(".")
    start = f"{purpose.place} cannot be {purpose.done}, "
    if kind == "NoCredentialsError":
        return StorageError(f"{start}there are no AWS credentials: {_CREDENTIALS}.")
    if kind == CODE_ERROR:
        return StorageError(f"{start}{text}.")
    if kind == "PartialCredentialsError":
        return StorageError(
            f"{start}the AWS credentials are not complete ({text}): "
            "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither."
        )
    if kind == "UnusableKeysError":
        return StorageError(
            f"{start}{text}: correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, "
            "or the profile."
        )
    if kind == "ProfileNotFound":
        return StorageError(
            f"{start}{text[0].lower() + text[1:]}: correct AWS_PROFILE, or add the profile "
            "to ~/.aws/config."
        )
    if "SSO" in kind or "Login" in kind or kind == "TokenRetrievalError":
        return StorageError(f"{start}the AWS login has ended ({text}): run `aws sso login`.")
    if kind in ("InvalidRegionError", "NoRegionError", "UnknownRegionError"):
        return StorageError(f"{start}{text}: set AWS_DEFAULT_REGION to a region such as us-east-1.")
    if kind in ("ConfigParseError", "ConfigNotFound"):
        return StorageError(f"{start}{text}: repair that file.")
    if kind != "EndpointConnectionError" and ("endpoint" in text.lower() or "URL" in text):
        return StorageError(f"{start}{text}: correct AWS_ENDPOINT_URL, such as http://host:9000.")
    return StorageError(f"{start}its credentials cannot be had ({text or kind}): {_CREDENTIALS}.")
