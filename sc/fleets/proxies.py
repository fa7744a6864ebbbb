"""The proxy that machines of a job go through, as the recipe's `environment_variables` name it. Pure.

`HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in capitals or not, are handed to a machine before anything else: to its
package manager, the courier, the worker, and every run. Those of the laptop are not: where its proxy is another
network's, machines would find nothing through it. The metadata service is at an address of the machine's own link and
is never behind a proxy (docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

METADATA_ADDRESS = "169.254.169.254"
_NAMES = ("http_proxy", "https_proxy")
_PARAMETER = "ssm:"
_SAFE = re.compile(r"[A-Za-z0-9.,:/_\[\]*% -]+")
"""What names of hosts, addresses and their lists are made of: no quotes, and no end of a line."""


def machine_proxies(variables: Mapping[str, str]) -> dict[str, str]:
    """What a machine gets, in both spellings (curl reads `http_proxy` only, others HTTP_PROXY); nothing if no proxy is
    named. A value of Parameter Store is read by the worker, and so is for the runs alone."""
    given = {name: _given(variables, name) for name in _NAMES}
    known = {name: value for name, value in given.items() if value}
    if not known:
        return {}
    known["no_proxy"] = _without_metadata(_given(variables, "no_proxy"))
    return {spelled: known[name] for name in known for spelled in (name, name.upper())}


def excluding_metadata(variables: Mapping[str, str]) -> dict[str, str]:
    """A recipe's variables for its runs, none of which sends a proxy to ask for the machine's metadata."""
    return {
        name: _without_metadata(value)
        if name.lower() == "no_proxy" and not value.startswith(_PARAMETER)
        else value
        for name, value in variables.items()
    }


def proxy_problems(variables: Mapping[str, str]) -> list[str]:
    """Why a proxy that the recipe names cannot be handed to machines."""
    problems = []
    for name in _NAMES:
        value = _given(variables, name)
        reason = _wrong(value) if value else ""
        if reason:
            problems.append(
                f"environment_variables: {name.upper()} {reason}. Machines need it for all that they do, so let it be "
                "http://HOST:PORT; if only the runs need it, name it in the batch's `env`."
            )
    if _given(variables, "no_proxy") and not _SAFE.fullmatch(_given(variables, "no_proxy")):
        problems.append(
            "environment_variables: NO_PROXY is no list of hosts, such as a.example.com,10.0.0.0/8."
        )
    return problems


def _given(variables: Mapping[str, str], name: str) -> str:
    value = variables.get(name) or variables.get(name.upper()) or ""
    return "" if value.startswith(_PARAMETER) else value.strip()


def _without_metadata(hosts: str) -> str:
    listed = [host.strip() for host in hosts.split(",")]
    if METADATA_ADDRESS in listed or "*" in listed:
        return hosts
    return f"{hosts},{METADATA_ADDRESS}" if hosts.strip() else METADATA_ADDRESS


def _wrong(value: str) -> str:
    """What is wrong with a proxy's address, or ""."""
    try:
        at = urlsplit(value if "//" in value else f"//{value}", scheme="http")
        port = at.port
    except ValueError:
        return "is no address of a proxy"
    if at.username is not None or at.password is not None:
        return "holds a user's name or password, which everybody on a machine could read in its user-data"
    if at.scheme != "http":
        return f"begins with {at.scheme}://, which not all programs of a machine can use"
    if not at.hostname or port == 0 or at.path.strip("/") or at.query:
        return "is no address of a proxy"
    return "" if _SAFE.fullmatch(value) and " " not in value else "is no address of a proxy"
