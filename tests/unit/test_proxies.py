"""The proxy of machines: what they are told of it, and what is refused."""

from __future__ import annotations

import urllib.request

import pytest

from sc.fleets.proxies import METADATA_ADDRESS, excluding_metadata, machine_proxies, proxy_problems

PROXY = "http://proxy.example.com:3128"


def both(**values: str) -> dict[str, str]:
    return {spelled: value for name, value in values.items() for spelled in (name, name.upper())}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {}),
        ({"NO_PROXY": "a"}, {}),
        ({"HTTPS_PROXY": ""}, {}),
        ({"HTTPS_PROXY": "ssm:/sc/proxy"}, {}),
        ({"HTTPS_PROXY": PROXY}, both(https_proxy=PROXY, no_proxy=METADATA_ADDRESS)),
        (
            {"http_proxy": PROXY, "HTTPS_PROXY": "proxy:80", "no_proxy": "a.lan,10.0.0.0/8"},
            both(
                http_proxy=PROXY,
                https_proxy="proxy:80",
                no_proxy=f"a.lan,10.0.0.0/8,{METADATA_ADDRESS}",
            ),
        ),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, both(http_proxy=PROXY, no_proxy="*")),
        (
            {"HTTP_PROXY": PROXY, "NO_PROXY": f"{METADATA_ADDRESS}, b"},
            both(http_proxy=PROXY, no_proxy=f"{METADATA_ADDRESS}, b"),
        ),
    ],
)
def test_machine_gets_the_proxy_of_the_recipe_in_both_spellings(
    given: dict[str, str], told: dict[str, str]
) -> None:
    assert machine_proxies({"OTHER": "x", **given}) == told
    assert proxy_problems(given) == []


def test_metadata_is_never_asked_through_a_proxy() -> None:
    for hosts in ("", "a.lan", "*"):
        variables = {"HTTP_PROXY": PROXY, "NO_PROXY": hosts, "no_proxy": hosts}
        machine = machine_proxies(variables)
        for told in (machine, {**machine, **excluding_metadata(variables)}):
            for name in ("no_proxy", "NO_PROXY"):
                given = {"http": told["HTTP_PROXY"], "no": told[name]}
                assert urllib.request.proxy_bypass_environment(METADATA_ADDRESS, given)  # type: ignore[attr-defined]


def test_variables_of_runs_stay_as_they_are_otherwise() -> None:
    given = {"A": "1", "HTTPS_PROXY": PROXY, "NO_PROXY": "a", "no_proxy": "ssm:/sc/hosts"}
    assert excluding_metadata(given) == {**given, "NO_PROXY": f"a,{METADATA_ADDRESS}"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("http://ann:secret@proxy:3128", "password"),
        ("http://ann@proxy:3128", "password"),
        ("ann:secret@proxy:3128", "password"),
        ("https://proxy:3128", "begins with https://,"),
        ("socks5://proxy:1080", "begins with socks5://,"),
        ("http://", "no address"),
        ("http://proxy:port", "no address"),
        ("http://proxy:3128/path", "no address"),
        ("http://pro xy:3128", "no address"),
        ("http://proxy:3128\nSC_PROXY\nreboot", "no address"),
        ("http://proxy:80'; reboot; '", "no address"),
        ("http://$(reboot):80", "no address"),
    ],
)
def test_proxy_that_machines_cannot_use_is_refused_without_being_shown(
    value: str, why: str
) -> None:
    for name in ("HTTPS_PROXY", "http_proxy"):
        (problem,) = proxy_problems({name: value})
        assert why in problem
        assert "secret" not in problem
    assert proxy_problems({"NO_PROXY": "a\nb"}) != []
