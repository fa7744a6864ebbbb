"""Words that look like variables, in values that no shell ever sees: filled in, refused, or left to the letter.

a place that is a folder        `~`, `$NAME` and `${NAME}` are filled in when the file is read, on the
                                machine where it is read
a place with a scheme           to the letter: `$` and `~` are legal in a key, and `file://` is the way
                                to write a folder whose name holds them
a folder of the run's machine   `~` is filled in there; a variable is refused, since the machine that
                                reads the file does not know it
a value of `env`                to the letter, for it may well hold a `$`; `PATH: /x:$PATH` is refused
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from sc.documents.problems import Wrong, shown
from sc.documents.scalars import filled_text, variables

_VARIABLE = re.compile(r"\$(?:\{([^{}]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def has_variable(text: str) -> bool:
    """Whether `expanded` would see a variable in it."""
    return "$" in text and _VARIABLE.search(text) is not None


def expanded(folder: str) -> str:
    """A folder with `~` and variables of this environment filled in, once. Raises Wrong for what is not set.

    `$1` and `$(…)` are no variables, and stay.
    """
    if has_variable(folder):
        folder = filled_text(_VARIABLE.sub(_value, folder))
    return _with_home(folder) if folder.startswith("~") else folder


def folder_of_machine(value: object) -> str:
    """A folder of the machine where a run runs, on which `~` will be filled in."""
    folder = filled_text(value)
    match = _VARIABLE.search(folder)
    if match is not None:
        raise Wrong(
            f"{shown(match.group())} is not filled in, because the folder is one of the machine that runs "
            "the command; write its path (~ is the home folder there)"
        )
    return folder


def environment(value: object) -> Mapping[str, str]:
    """A mapping of environment variables, of which none is meant to hold what it held before."""
    result = variables(value)
    for name, content in result.items():
        if "$" in content and _refers_to(name, content):
            raise Wrong(
                f"{shown(name)}: ${name} is not filled in here, and the command would get these letters; extend "
                f'it in the command, as in cmd: {name}="…${name}" program'
            )
    return result


def known_variables(own_name: str, value: str, names: Mapping[str, object]) -> Iterator[str]:
    """What looks like a variable in a value of `env`, if another one of that name is set, here or among `names`."""
    for match in _VARIABLE.finditer(value) if "$" in value else ():
        name = match.group(1) or match.group(2)
        if name != own_name and (name in names or name in os.environ):
            yield match.group()


def dropped_names(env: Mapping[str, str]) -> str:
    """The sentence about names that /bin/sh does not hand on to what it runs; empty if there are none."""
    names = [shown(name) for name in env if not (name.isascii() and name.isidentifier())]
    if not names:
        return ""
    more = f" (and {len(names) - 3} more)" if len(names) > 3 else ""
    return (
        f"/bin/sh drops a variable of the name {', '.join(names[:3])}{more}, so that a command that is a text "
        "does not get it; write cmd as a list, which no shell runs, or use letters, digits and _ only"
    )


def _refers_to(name: str, value: str) -> bool:
    word = re.escape(name)
    return re.search(rf"\$(?:{word}|\{{{word})(?!\w)", value, re.ASCII) is not None


def _value(match: re.Match[str]) -> str:
    name = match.group(1) if match.group(2) is None else match.group(2)
    if not _SHELL_NAME.fullmatch(name):
        raise Wrong(f"{shown(match.group())} is not understood; write $NAME or ${{NAME}}")
    value = os.environ.get(name)
    if not value:
        what = "is empty" if value == "" else "is not set"
        raise Wrong(
            f"the environment variable {shown(name)} {what}; set it, or write the path "
            "(for a name with a $ in it, as file:///…)"
        )
    return value


def _with_home(folder: str) -> str:
    found = os.path.expanduser(folder)
    user = folder[1:].partition("/")[0]
    if not user and os.environ.get("HOME") == "":
        found = ""
    if not found.startswith("/"):
        whose = f"of {shown(user)}" if user else "that ~ stands for"
        raise Wrong(
            f"the home folder {whose} is not known here; write its path (for a name that begins with ~, ./~…)"
        )
    return found
