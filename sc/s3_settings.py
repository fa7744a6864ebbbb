"""What a bucket's owner may demand of whoever writes there: encryption by the server, and who pays. Pure.

    AWS profile: sc_s3_encryption = aws:kms  <  environment: SC_S3_ENCRYPTION  <  recipe: s3_encryption

The environment is where they are kept once they are known: so every process of `sc`, and every machine, has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Callable, NamedTuple

from sc.errors import InputError

ENCRYPTION, KMS_KEY, BUCKET_KEY, PAYER = KEYS = (
    "s3_encryption",
    "s3_kms_key",
    "s3_bucket_key",
    "s3_request_payer",
)
"""As a recipe has them. In a profile they begin with `sc_`, and so in the environment, in capitals."""
_ENCRYPTIONS = ("none", "AES256", "aws:kms", "aws:kms:dsse")
_PAYERS = ("none", "requester")
_KMS = ("aws:kms", "aws:kms:dsse")
_KEY = re.compile(r"[!-~]{1,2048}")
_KEY_ARN = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:(key|alias)/[A-Za-z0-9:/_-]+", re.ASCII)
_PREFIX = "x-amz-server-side-encryption"
"""docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html"""


class Settings(NamedTuple):
    """As headers need them; empty: the bucket's own default."""

    encryption: str = ""
    """`AES256`, `aws:kms` or `aws:kms:dsse`."""
    kms_key: str = ""
    bucket_key: str = ""
    """`true` or `false`."""
    request_payer: str = ""
    """`requester`."""

    def of_all(self) -> dict[str, str]:
        """The headers of every request."""
        return {"x-amz-request-payer": self.request_payer} if self.request_payer else {}

    def of_new_objects(self) -> dict[str, str]:
        """Those of PutObject and CreateMultipartUpload besides; S3 refuses them on all others."""
        pairs = {
            _PREFIX: self.encryption,
            f"{_PREFIX}-aws-kms-key-id": self.kms_key,
            f"{_PREFIX}-bucket-key-enabled": self.bucket_key,
        }
        return {name: value for name, value in pairs.items() if value}


NO_SETTINGS = Settings()


def variable(key: str) -> str:
    """The name in the environment: SC_S3_ENCRYPTION."""
    return f"SC_{key.upper()}"


VARIABLES = tuple(map(variable, KEYS))


def read(key: str, text: str) -> str:
    """A value as S3 spells it. Raises ValueError with what is wrong, without a name and a full stop."""
    return _READERS[key](text.strip())


def of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What variables say, by key. Raises InputError."""
    return _read_all({key: environ.get(variable(key), "") for key in KEYS}, variable)


def of_profile(profile: Mapping[str, object]) -> dict[str, str]:
    """What a profile in ~/.aws/config says, by key. Raises InputError."""
    texts = {key: str(profile.get(f"sc_{key}", "")) for key in KEYS}
    return _read_all(texts, lambda key: f"sc_{key} in the AWS profile")


def merged(*sources: Mapping[str, str]) -> dict[str, str]:
    """Later ones win. One that names another encryption is not mixed with the keys of those before it."""
    result: dict[str, str] = {}
    for source in sources:
        encryption = source.get(ENCRYPTION, result.get(ENCRYPTION, ""))
        if ENCRYPTION in source and encryption not in _KMS:
            result.pop(KMS_KEY, None)
        if ENCRYPTION in source and encryption != "aws:kms":
            result.pop(BUCKET_KEY, None)
        result.update(source)
    return result


def checked(values: Mapping[str, str]) -> dict[str, str]:
    """What somebody else has written down. Raises ValueError."""
    return {key: read(key, values[key]) for key in KEYS if values.get(key)}


def settings(values: Mapping[str, str]) -> Settings:
    """Values by key, as `read` gives them. Raises InputError for those that exclude each other."""
    problem = contradiction(values)
    if problem:
        raise InputError(f"{problem}.")
    given = [values.get(key, "") for key in KEYS]
    return Settings(*("" if value == "none" else value for value in given))


def contradiction(values: Mapping[str, str]) -> str:
    """What S3 would refuse, without a full stop; or nothing."""
    encryption = values.get(ENCRYPTION, "")
    if values.get(KMS_KEY) and encryption not in _KMS:
        return (
            f"{KMS_KEY} ({variable(KMS_KEY)}) is a key of KMS, but {ENCRYPTION} is {encryption or 'not set'}: "
            f"set {ENCRYPTION} ({variable(ENCRYPTION)}) to aws:kms, or leave the key out"
        )
    if values.get(BUCKET_KEY) and encryption != "aws:kms":
        return (
            f"{BUCKET_KEY} ({variable(BUCKET_KEY)}) goes with {ENCRYPTION}: aws:kms only, and that is "
            f"{encryption or 'not set'}: leave it out"
        )
    return ""


def keep(values: Mapping[str, str], environ: MutableMapping[str, str]) -> None:
    """Let them win over what the environment says, there. Raises InputError."""
    if not values:
        return
    result = merged(of_environment(environ), values)
    settings(result)
    for key in KEYS:
        environ.pop(variable(key), None)
    environ.update(as_environment(result))


def adopt(values: Mapping[str, str], environ: MutableMapping[str, str]) -> None:
    """Let them fill in what the environment leaves open, there. Raises InputError."""
    if not values:
        return
    own = of_environment(environ)
    result = merged(values, own)
    if not contradiction(result):
        environ.update(as_environment({**result, **own}))


def as_environment(values: Mapping[str, str]) -> dict[str, str]:
    return {variable(key): value for key, value in values.items() if value}


def _read_all(texts: Mapping[str, str], name: Callable[[str], str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for key, text in texts.items():
        if text.strip():
            try:
                result[key] = read(key, text)
            except ValueError as error:
                raise InputError(f"{name(key)}: {error}.") from None
    return result


def _one_of(text: str, words: tuple[str, ...]) -> str:
    for word in words:
        if text.lower() == word.lower():
            return word
    raise ValueError(f"{_shown(text)} is not known; write one of {', '.join(words)}")


def _kms_key(text: str) -> str:
    if not _KEY.fullmatch(text) or (text.startswith("arn:") and not _KEY_ARN.fullmatch(text)):
        raise ValueError(
            f"{_shown(text)} is no key of KMS; write its id, alias/name, or its ARN, "
            "arn:aws:kms:REGION:ACCOUNT:key/ID"
        )
    return text


def _switch(text: str) -> str:
    if text.lower() in ("true", "yes", "on", "1"):
        return "true"
    if text.lower() in ("false", "no", "off", "0"):
        return "false"
    raise ValueError(f"true or false is expected, not {_shown(text)}")


def _shown(text: str) -> str:
    short = text if len(text) <= 60 else f"{text[:60]}…"
    return ascii(short) if not short.isprintable() else f"'{short}'"


_READERS: Mapping[str, Callable[[str], str]] = {
    ENCRYPTION: lambda text: _one_of(text, _ENCRYPTIONS),
    KMS_KEY: _kms_key,
    BUCKET_KEY: _switch,
    PAYER: lambda text: _one_of(text, _PAYERS),
}
