"""Where AWS keys come from, as the environment and the two configuration files tell. Pure, and without botocore.

The order is botocore's (`botocore.credentials.create_credential_resolver`): variables, a role, a web identity, SSO,
keys in the credentials file, a login, a process.
https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html
"""

from __future__ import annotations

import configparser
import os
import shlex
from collections.abc import Mapping
from typing import NamedTuple

Profile = Mapping[str, str]

_WORDS = ("role_arn", "sso_", "login_session", "credential_process", "web_identity")
"""One of these is in the files of everybody whose keys are fetched."""


class Profiles(NamedTuple):
    """What the two files say."""

    chosen: str
    """The name of the profile that is used."""
    merged: Mapping[str, Profile]
    """By name. The credentials file goes before the configuration, as in botocore."""
    with_keys: frozenset[str]
    """Those with keys in the credentials file."""


def read_profiles(environ: Mapping[str, str]) -> Profiles:
    """Nothing, where a file is missing or no such file: botocore then tells what is wrong with it."""
    config = _read(environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    keys = _read(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
    return profiles_of(environ, config, keys)


def profiles_of(environ: Mapping[str, str], config: str, keys: str) -> Profiles:
    """The profiles in the texts of the two files."""
    chosen = environ.get("AWS_DEFAULT_PROFILE") or environ.get("AWS_PROFILE") or "default"
    if not any(word in text for word in _WORDS for text in (config, keys)):
        return Profiles(chosen, {}, frozenset())
    merged = {_name_of(section): values for section, values in _sections(config).items()}
    found = _sections(keys)
    for name, values in found.items():
        merged[name] = {**merged.get(name, {}), **values}
    with_keys = (name for name, values in found.items() if "aws_access_key_id" in values)
    return Profiles(chosen, merged, frozenset(with_keys))


def are_fetched(environ: Mapping[str, str], profiles: Profiles) -> bool:
    """Whether somebody has to be asked for the keys: AWS itself, a program, or a person.

    Not so of keys that are written down, nor of those that a machine or a container is given: each process may look
    at these by itself, at no cost.
    """
    if environ.get("AWS_ACCESS_KEY_ID"):
        return False
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environ.get("AWS_ROLE_ARN"):
        return True
    profile = profiles.merged.get(profiles.chosen, {})
    if any(name == "role_arn" or name.startswith("sso_") for name in profile):
        return True
    if profiles.chosen in profiles.with_keys:
        return False
    return "credential_process" in profile or "login_session" in profile


def need_code(environ: Mapping[str, str], profiles: Profiles) -> bool:
    """Whether AWS wants a code of an MFA device for the keys, each time that they are fetched."""
    if not are_fetched(environ, profiles):
        return False
    seen: set[str] = set()
    name = profiles.chosen
    while name and name not in seen:
        seen.add(name)
        profile = profiles.merged.get(name, {})
        if "role_arn" in profile and "mfa_serial" in profile:
            return True
        name = profile.get("source_profile", "") if "role_arn" in profile else ""
    return False


def _read(path: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as file:
            return file.read(1 << 22)
    except OSError:
        return ""


def _sections(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(default_section="\0none")
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _name_of(section: str) -> str:
    """`[profile NAME]` of the configuration file, where only the default one stands alone."""
    try:
        words = shlex.split(section)
    except ValueError:
        return section
    return words[1] if len(words) == 2 and words[0] == "profile" else section
