"""Settings of AWS as they come out of environments and files."""

from __future__ import annotations

import pytest

from sc.commands.aws_variables import trim_aws_variables
from sc.storage.aws_keys import trimmed, unusable

ROUND = ["\n", "\r\n", " ", "\t", "\xa0", "\ufeff", "\u200b", " \ufeff\n"]


@pytest.mark.parametrize("more", ROUND, ids=ascii)
def test_what_stands_round_a_key_goes(more: str) -> None:
    assert trimmed(f"{more}AKIA+/x=") == trimmed(f"AKIA+/x={more}") == "AKIA+/x="


def test_variables_of_aws_are_trimmed_and_no_others() -> None:
    environ = {
        "AWS_REGION": "eu-west-1\r\n",
        "AWS_SESSION_TOKEN": "\n",
        "AWS_PROFILE": "me",
        "PS1": "$ ",
    }
    trim_aws_variables(environ)
    assert environ == {
        "AWS_REGION": "eu-west-1",
        "AWS_SESSION_TOKEN": "",
        "AWS_PROFILE": "me",
        "PS1": "$ ",
    }


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("AK\nIA", "s", None), r"character 3 of the access key is '\n'"),
        (("AK IA", "s", None), "character 3 of the access key is ' '"),
        (("AKé", "s", None), r"character 3 of the access key is '\xe9'"),
        (("AKIA", "s\r\nt", None), r"character 2 of the secret key is '\r'"),
        (("AKIA", "s\udce9", None), r"character 2 of the secret key is '\udce9'"),
        (("AKIA", "s", "t\x00"), r"character 2 of the session token is '\x00'"),
    ],
)
def test_what_no_key_can_hold_is_told_without_the_key(
    keys: tuple[str, str, str], told: str
) -> None:
    assert unusable(*keys) == f"{told}, which no key has"


def test_keys_as_they_are_are_good() -> None:
    assert unusable("AKIA0", "a/b+c= ü!", "FwoG//=") == ""
