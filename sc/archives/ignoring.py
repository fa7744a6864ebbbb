"""What of a folder is not packed: caches and the like, and what its `.scignore` names.

The rules are those of `.gitignore`, read from the top folder only:

    # a comment          *.csv            such files and folders at any depth
    data/                folders only     /out or a/b    begins at the top
    **                   any depth        !keep.csv      packed all the same

The last rule that fits decides. What lies in a folder that is left out is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Optional

FILE = ".scignore"
BY_DEFAULT = (
    ".git/ .hg/ .svn/ __pycache__/ *.pyc .mypy_cache/ .pytest_cache/ .ruff_cache/ .hypothesis/ "
    ".ipynb_checkpoints/ .idea/ .vscode/ .venv/ .tox/ .nox/ .eggs/ *.egg-info/ node_modules/ .DS_Store"
)
"""Rules before those of the file, which can take them back with `!`. Separated by spaces."""


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    for_folders: bool
    keeps: bool


class Ignored:
    """The rules of one folder."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        """`lines` are those of the folder's `.scignore`."""
        rules = [*BY_DEFAULT.split(" "), *lines]
        self._rules = [rule for rule in map(_rule, rules) if rule is not None]

    def leaves_out(self, path: str, is_folder: bool) -> bool:
        """Whether the path, relative to the folder and with slashes, is not packed."""
        answer = False
        for rule in self._rules:
            if (is_folder or not rule.for_folders) and rule.pattern.fullmatch(path):
                answer = not rule.keeps
        return answer


def _rule(line: str) -> Optional[_Rule]:
    text = line.rstrip("\r\n").rstrip(" ")
    if not text or text.startswith("#"):
        return None
    keeps = text.startswith("!")
    text = text[1:] if keeps else text
    text = text[1:] if text.startswith("\\") else text  # for names that begin with # or !
    for_folders = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    anywhere = "" if "/" in text else "(?:.*/)?"
    return _Rule(re.compile(anywhere + _regex(text.lstrip("/")), re.DOTALL), for_folders, keeps)


_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|.", re.DOTALL)
_FIXED = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _regex(glob: str) -> str:
    return "".join(_FIXED.get(token) or _one(token) for token in _TOKEN.findall(glob))


def _one(token: str) -> str:
    """A character, or a set of them such as [a-z] or [!0-9]."""
    if len(token) < 2:
        return re.escape(token)
    inside = token[1:-1]
    negated = inside[:1] in ("!", "^")
    characters = (inside[1:] if negated else inside).replace("\\", r"\\").replace("[", r"\[")
    if characters.startswith("]"):
        characters = "\\" + characters
    try:
        re.compile(f"[{characters}]")
    except re.error:
        return re.escape(token)  # no set, such as [z-a]: taken as it stands
    return f"[^/{characters}]" if negated else f"[{characters}]"
