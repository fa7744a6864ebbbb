"""Whose keys have to be fetched, and for whose a person is needed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sc.storage.s3_profiles import are_fetched, need_code, profiles_of

KEYS = "[work]\naws_access_key_id = A\naws_secret_access_key = B\n"
ROLE = "role_arn = arn:aws:iam::1:role/r\n"
WEB = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}
WORK: Mapping[str, str] = {"AWS_PROFILE": "work"}


@pytest.mark.parametrize(
    ("environ", "config", "keys", "fetched", "code"),
    [
        ({}, "", "", False, False),
        (WORK, "[profile work]\nregion = x\n", KEYS, False, False),
        (WORK, f"[profile work]\n{ROLE}source_profile = me\n", "", True, False),
        (WORK, f"[profile work]\n{ROLE}source_profile = me\nmfa_serial = m\n", "", True, True),
        ({}, f"[profile work]\n{ROLE}mfa_serial = m\n", "", False, False),
        ({}, f"[default]\n{ROLE}mfa_serial = m\nsource_profile = default\n", "", True, True),
        (
            WORK,
            f"[profile work]\n{ROLE}source_profile = b\n[profile b]\n{ROLE}mfa_serial = m\n",
            "",
            True,
            True,
        ),
        (
            WORK,
            f"[profile work]\n{ROLE}source_profile = b\n[profile b]\n{ROLE}source_profile = work\n",
            "",
            True,
            False,
        ),
        (
            {**WORK, "AWS_ACCESS_KEY_ID": "A"},
            f"[profile work]\n{ROLE}mfa_serial = m\n",
            "",
            *(0, 0),
        ),
        (WORK, "", f"[work]\n{ROLE}source_profile = me\nmfa_serial = m\n", True, True),
        ({"AWS_PROFILE": "a b"}, f"[profile 'a b']\n{ROLE}mfa_serial = m\n", "", True, True),
        (
            {"AWS_DEFAULT_PROFILE": "work", "AWS_PROFILE": "b"},
            f"[profile work]\n{ROLE}mfa_serial = m\n",
            "",
            *(1, 1),
        ),
        (WORK, "[profile work]\nsso_session = s\n", "", True, False),
        (WORK, "[profile work]\nsso_start_url = s\n", KEYS, True, False),
        (WORK, "[profile work]\ncredential_process = x\n", "", True, False),
        (WORK, "[profile work]\ncredential_process = x\n", KEYS, False, False),
        (WORK, "[profile work]\nlogin_session = x\n", "", True, False),
        (WEB, "", "", True, False),
        (WORK, "role_arn without a section", "", False, False),
        (WORK, f"[profile work]\n{ROLE}[profile work]\n{ROLE}", "", False, False),
    ],
)
def test_profiles_tell_whether_keys_are_fetched_and_need_a_code(
    environ: Mapping[str, str], config: str, keys: str, fetched: bool, code: bool
) -> None:
    profiles = profiles_of(environ, config, keys)
    assert (are_fetched(environ, profiles), need_code(environ, profiles)) == (fetched, code)
