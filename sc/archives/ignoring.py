"""What of a folder is not packed: caches and the like, and what its `.scignore` names.

The rules are those of `.gitignore`, read from the top folder only:

    # a comment          *.csv            such files and folders at any depth
    data/                folders only     /out or a/b    begins at the top
    **                   any depth        !keep.csv      packed all the same

The last rule that fits decides. What lies in a folder that is left out is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

FILE = ".scignore"
BY_DEFAULT = (
    ".git/ .hg/ .svn/ __pycache__/ *.pyc .mypy_cache/ .pytest_cache/ .ruff_cache/ .hypothesis/ "
    ".ipynb_checkpoints/ .idea/ .vscode/ .venv/ .tox/ .nox/ .eggs/ *.egg-info/ node_modules/ .DS_Store"
)
"""Rules before those of the file, which can take them back with `!`. Separated by spaces."""


class _Rule(NamedTuple):
    names: Sequence[Optional[re.Pattern[str]]]
    """What each name of a path has to be; None stands for any number of names."""
    for_folders: bool
    keeps: bool

    def fits(self, names: Sequence[str]) -> bool:
        """Whether the path of these names is meant.

        All ways to share names out are followed at once: one after the other there may be more than anybody waits for.
        """
        if self.names[0] is None and len(self.names) == 2:  # nearly all rules: at any depth
            return _is_name(self.names[1], names[-1])
        at = self._behind_any({0})
        for name in names:
            stay = {place for place in at if place < len(self.names) and self.names[place] is None}
            on = {
                place + 1
                for place in at - stay
                if place < len(self.names) and _is_name(self.names[place], name)
            }
            at = self._behind_any(stay | on)
        return len(self.names) in at

    def _behind_any(self, at: set[int]) -> set[int]:
        return at | {place + 1 for place in at if self.names[place : place + 1] == [None]}


class Ignored:
    """The rules of one folder."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        """`lines` are those of the folder's `.scignore`."""
        rules = [*BY_DEFAULT.split(" "), *lines]
        self._rules = [rule for rule in map(_rule, rules) if rule is not None]

    def leaves_out(self, path: str, is_folder: bool) -> bool:
        """Whether the path, relative to the folder and with slashes, is not packed."""
        answer, names = False, path.split("/")
        for rule in self._rules:
            if (is_folder or not rule.for_folders) and rule.fits(names):
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
    globs = text.lstrip("/").split("/") if "/" in text else ["**", text]
    if globs[-1] == "**":  # what lies below, and not the folder itself
        globs.append("*")
    names = [
        None if glob == "**" and number < len(globs) - 1 else _name(glob)
        for number, glob in enumerate(globs)
    ]
    return _Rule(_without_twins(names), for_folders, keeps)


def _without_twins(
    names: Iterable[Optional[re.Pattern[str]]],
) -> Sequence[Optional[re.Pattern[str]]]:
    """`**/**` is `**`."""
    kept: list[Optional[re.Pattern[str]]] = []
    for name in names:
        if name is not None or kept[-1:] != [None]:
            kept.append(name)
    return kept


def _is_name(pattern: Optional[re.Pattern[str]], name: str) -> bool:
    return pattern is not None and pattern.fullmatch(name) is not None


_TOKEN = re.compile(r"\*+|\?|\[[!^]?\]?[^\]]*\]|.", re.DOTALL)


def _name(glob: str) -> re.Pattern[str]:
    """The pattern of one name.

    What stands between two stars is taken where it comes first, and that is not thought over, since a look-ahead keeps
    what it has found (as in the standard library's fnmatch): else a long name and a glob of many stars take years.
    """
    begin, *pieces = _between_stars(glob)
    if not pieces:
        return re.compile(begin, re.DOTALL)
    *middle, end = pieces
    found = (f"(?=(?P<g{number}>.*?{piece}))(?P=g{number})" for number, piece in enumerate(middle))
    return re.compile(f"{begin}{''.join(found)}.*{end}", re.DOTALL)


def _between_stars(glob: str) -> list[str]:
    pieces = [""]
    for token in _TOKEN.findall(glob):
        if token.startswith("*"):
            pieces.append("")
        else:
            pieces[-1] += "." if token == "?" else _one(token)
    return pieces


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
    return f"[^{characters}]" if negated else f"[{characters}]"
