"""Sessions of botocore that find keys as the AWS CLI does, and ask for codes where we say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Optional

from sc.storage.s3_errors import CODE_ERROR
from sc.storage.s3_signing import Keys

CLI_CACHE = "~/.aws/cli/cache"
"""Where the AWS CLI keeps the keys of roles:
https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-role.html#cli-configure-role-cache"""


class Refusal(NamedTuple):
    """Why there are no keys."""

    kind: str
    """The class of botocore's error, or CODE_ERROR."""
    text: str


def refusal_of(error: Exception) -> Refusal:
    """The same of what botocore, or a program of the user's, has raised."""
    return Refusal(type(error).__name__, " ".join(str(error).split()))


def told_error(refusal: Refusal) -> Exception:
    """As botocore would have raised it here."""
    from botocore.exceptions import BotoCoreError

    error: Exception = type(refusal.kind, (BotoCoreError,), {"fmt": "{text}"})(text=refusal.text)
    return error


def no_terminal(text: str) -> Refusal:
    """Where botocore wants to ask, with this text, and nobody is there."""
    serial = text.replace("Enter MFA code for", "").strip().rstrip(":")
    return Refusal(
        CODE_ERROR,
        f"AWS wants a code of {serial}, and there is no terminal to ask for it on: call "
        f"`{cli_call()}` on one, whose keys sc takes, or use a profile that needs no code",
    )


def cli_call() -> str:
    """By which the AWS CLI asks for a code, and keeps what it gets for it."""
    profile = os.environ.get("AWS_DEFAULT_PROFILE") or os.environ.get("AWS_PROFILE")
    return f"aws sts get-caller-identity{' --profile ' + profile if profile else ''}"


def new_session(
    prompt: Optional[Callable[[str], str]],
    lend: Optional[Callable[[], Optional[Keys]]] = None,
    rejected: str = "",
) -> Any:
    """`prompt` is asked for codes, None: botocore does so. `lend` gives the keys in place of all that is configured.
    Keys with the id `rejected` are not taken from what the AWS CLI keeps."""
    import botocore.session
    from botocore.exceptions import UnknownCredentialError

    session = botocore.session.Session()
    with suppress(UnknownCredentialError):
        resolver = session.get_component("credential_provider")
        roles = resolver.get_provider("assume-role")
        roles.cache = _CliCache(rejected)
        if prompt is not None:
            roles._prompter = prompt  # botocore has no other way to it
        if lend is not None:
            resolver.insert_before("env", _provider(lend))
    return session


def _provider(lend: Callable[[], Optional[Keys]]) -> Any:
    from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials

    class Lent(Credentials):
        """Always those of the moment."""

        def __init__(self, keys: Keys) -> None:
            super().__init__(*keys, method="sc")
            self._last = keys

        def get_frozen_credentials(self) -> Any:
            self._last = lend() or self._last
            return ReadOnlyCredentials(*self._last)

    class Provider(CredentialProvider):
        METHOD = CANONICAL_NAME = "sc"

        def load(self) -> Any:
            keys = lend()
            return None if keys is None else Lent(keys)

    return Provider()


class _CliCache:
    """What the AWS CLI has got for a code that somebody has just typed is as good for us. Nothing is written there:
    commands that sc runs could read it."""

    def __init__(self, rejected: str) -> None:
        self._rejected = rejected
        self._own: dict[str, Any] = {}

    def __contains__(self, key: str) -> bool:
        return self._found(key) is not None

    def __getitem__(self, key: str) -> Any:
        found = self._found(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: str, value: Any) -> None:
        self._own[key] = value

    def _found(self, key: str) -> Any:
        if key in self._own:
            return self._own[key]
        path = os.path.join(os.path.expanduser(CLI_CACHE), f"{key}.json")
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            keys = found["Credentials"]
            is_whole = all(
                isinstance(keys[name], str)
                for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return found if is_whole and keys["AccessKeyId"] != self._rejected else None
