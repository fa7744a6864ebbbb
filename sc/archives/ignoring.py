"""What of a folder is not packed: caches and the like, and what a `.scignore` names.

The rules are those of `.gitignore`, in any folder, for what lies below it:

    # a comment          *.csv            such files and folders at any depth
    data/                folders only     /out or a/b    begins at the folder of the file
    **                   any depth        !keep.csv      packed all the same

The last rule that fits decides; those of a deeper folder come last. What lies in a folder that is left out is not
looked at. As git does, names are compared byte by byte: `?` is one byte.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Optional, Union

FILE = ".scignore"
BY_DEFAULT = (
    ".git/ .hg/ .svn/ __pycache__/ *.pyc .mypy_cache/ .pytest_cache/ .ruff_cache/ .hypothesis/ "
    ".ipynb_checkpoints/ .idea/ .vscode/ .venv/ .tox/ .nox/ .eggs/ *.egg-info/ node_modules/ .DS_Store "
    ".sc-sync/ .sc-sync-*/"
)
"""Rules before those of the files, which can take them back with `!`. Separated by spaces."""


class _Rule(NamedTuple):
    names: Sequence[Optional[re.Pattern[bytes]]]
    """What each name of a path has to be; None stands for any number of names."""
    for_folders: bool
    keeps: bool

    def fits(self, names: Sequence[bytes]) -> bool:
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


class _Level:
    """The rules of one folder."""

    def __init__(self, depth: int, lines: Iterable[Union[str, bytes]]) -> None:
        self.depth = depth
        self.rules = list(_rules(lines))
        self._quick = _any_of(self.rules)

    def may_fit(self, name: bytes) -> bool:
        """False for nearly every name, and soon."""
        return self._quick is None or self._quick.fullmatch(name) is not None


class Ignored:
    """The rules of one folder, and of those that it lies in."""

    def __init__(self, lines: Iterable[Union[str, bytes]] = ()) -> None:
        """`lines` are those of the top folder's `.scignore`."""
        self._levels = [_Level(0, BY_DEFAULT.split(" "))]
        self._add(_Level(0, lines))

    def below(self, depth: int, lines: Iterable[Union[str, bytes]]) -> Ignored:
        """With the rules of a folder so many names below the top as well."""
        deeper = Ignored()
        deeper._levels = list(self._levels)
        deeper._add(_Level(depth, lines))
        return deeper

    def _add(self, level: _Level) -> None:
        if level.rules:
            self._levels.append(level)

    def leaves_out(self, path: str, is_folder: bool) -> bool:
        """Whether the path, relative to the top folder and with slashes, is not packed."""
        names = os.fsencode(path).split(b"/")
        for level in reversed(self._levels):
            if level.may_fit(names[-1]):
                inside = names[level.depth :]
                for rule in reversed(level.rules):
                    if (is_folder or not rule.for_folders) and rule.fits(inside):
                        return not rule.keeps
        return False

    def leaves_out_all_of(self, path: str, is_folder: bool) -> bool:
        """Whether the path is not packed, or lies in a folder that is not."""
        names = path.split("/")
        above = ("/".join(names[:count]) for count in range(1, len(names)))
        return any(self.leaves_out(one, True) for one in above) or self.leaves_out(path, is_folder)


def _any_of(rules: Sequence[_Rule]) -> Optional[re.Pattern[bytes]]:
    """What fits a name if one of the rules does; None if more than the last name decides, or may."""
    patterns: list[bytes] = []
    for rule in rules:
        last = rule.names[-1]
        if last is None or b"(?P<" in last.pattern:
            return None
        patterns.append(b"(?:%b)" % last.pattern)
    return re.compile(b"|".join(patterns), re.DOTALL)


def _rules(lines: Iterable[Union[str, bytes]]) -> Iterator[_Rule]:
    for number, line in enumerate(lines):
        data = os.fsencode(line) if isinstance(line, str) else line
        yield from _rules_of(data[3:] if number == 0 and data.startswith(b"\xef\xbb\xbf") else data)


_ODD = re.compile(rb"(/?[^*?\[\\]*[^*?\[\\/])\*\*+(\\?)/")


def _rules_of(line: bytes) -> Iterator[_Rule]:
    text = line[:-1] if line.endswith(b"\n") else line
    text = text[:-1] if text.endswith(b"\r") else text
    text = b"" if text.startswith(b"#") else _without_last_spaces(text.split(b"\0")[0])
    keeps = text.startswith(b"!")
    text = text[1:] if keeps else text
    for_folders = text.endswith(b"/")
    text = text[:-1] if for_folders else text
    is_path = b"/" in text
    odd = _ODD.match(text)
    texts = [text]
    if odd:
        # In git `ab**/c` is also `abc` and `ab*/**/c`: what follows plain text is looked at as if it were all.
        rest = text[odd.end() :]
        texts = [*([] if odd[2] else [odd[1] + rest]), odd[1] + b"*/**/" + rest]
    for one in filter(None, texts):
        names = _names(one[1:] if one.startswith(b"/") else one, is_path)
        if names is not None:
            yield _Rule(names if is_path else [None, *names], for_folders, keeps)


def _without_last_spaces(text: bytes) -> bytes:
    """But one that a backslash stands before is kept."""
    kept = re.match(rb"(?:(?:\\.|[^\\ ]|\\\Z)| +(?! |\Z))*", text, re.DOTALL)
    return kept.group() if kept else b""


_TOKEN = re.compile(rb"(?P<stars>\*+)|(?P<any>\?)|\\(?P<escaped>.)|(?P<plain>[^\\\[])", re.DOTALL)
_EVERY = re.compile(b".*", re.DOTALL)


def _names(text: bytes, is_path: bool) -> Optional[list[Optional[re.Pattern[bytes]]]]:
    """A pattern for each name; None if the rule fits nothing, such as one with half a set."""
    names: list[Optional[re.Pattern[bytes]]] = []
    pieces, raw, place = [b""], b"", 0
    while place < len(text):
        if text[place : place + 1] == b"[":
            found = _set(text, place)
            if found is None:
                return None
            piece, end = found
            pieces[-1] += piece
        else:
            match = _TOKEN.match(text, place)
            if match is None:
                return None  # a backslash at the end
            end = match.end()
            if (match["plain"] or match["escaped"]) == b"/":
                name = _name(raw, pieces, is_path)
                # `**\/` is at least one name, in git.
                names += [_EVERY, None] if name is None and match["escaped"] else [name]
                pieces, raw, place = [b""], b"", end
                continue
            if match["stars"]:
                pieces.append(b"")
            else:
                pieces[-1] += (
                    b"." if match["any"] else re.escape(match["plain"] or match["escaped"])
                )
        raw += text[place:end]
        place = end
    if (
        is_path and len(raw) > 1 and not raw.strip(b"*")
    ):  # what lies below, and not the folder itself
        names.append(None)
        raw, pieces = b"*", [b"", b""]
    names.append(_name(raw, pieces, is_path))
    return _without_twins(names)


def _without_twins(
    names: Iterable[Optional[re.Pattern[bytes]]],
) -> list[Optional[re.Pattern[bytes]]]:
    """`**/**` is `**`."""
    kept: list[Optional[re.Pattern[bytes]]] = []
    for name in names:
        if name is not None or kept[-1:] != [None]:
            kept.append(name)
    return kept


def _is_name(pattern: Optional[re.Pattern[bytes]], name: bytes) -> bool:
    return pattern is not None and pattern.fullmatch(name) is not None


def _name(raw: bytes, pieces: Sequence[bytes], is_path: bool) -> Optional[re.Pattern[bytes]]:
    """The pattern of one name, of which `pieces` are what stands between its stars.

    Each is taken where it comes first, and that is not thought over, since a look-ahead keeps
    what it has found (as in the standard library's fnmatch): else a long name and a glob of many stars take years.
    """
    if is_path and len(raw) > 1 and not raw.strip(b"*"):
        return None
    begin, *others = pieces
    if not others:
        return re.compile(begin, re.DOTALL)
    *middle, end = others
    found = (b"(?=(?P<g%d>.*?%b))(?P=g%d)" % (one, piece, one) for one, piece in enumerate(middle))
    return re.compile(b"%b%b.*%b" % (begin, b"".join(found), end), re.DOTALL)


_CLASSES = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"!-~",
    b"lower": rb"a-z",
    b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t\n\r",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}


def _set(text: bytes, start: int) -> Optional[tuple[bytes, int]]:
    """The pattern of a set such as [a-z] or [!0-9], and where it ends; None if it does not."""
    place = start + 1
    negated = text[place : place + 1] in (b"!", b"^")
    place += negated
    parts, before, is_first = b"", b"", True
    while is_first or text[place : place + 1] != b"]":
        is_first = False
        named = re.compile(rb"\[:([^\]]*):\]").match(text, place)
        if named is not None:
            if named[1] not in _CLASSES:
                return None
            parts, before, place = parts + _CLASSES[named[1]], b"", named.end()
            continue
        is_range = (
            text[place : place + 1] == b"-"
            and before
            and text[place + 1 : place + 2] not in (b"", b"]")
        )
        place += bool(is_range)
        place += text[place : place + 1] == b"\\"
        one = text[place : place + 1]
        if not one:
            return None
        if is_range:
            parts += re.escape(before) + b"-" + re.escape(one) if before <= one else b""
        else:
            parts += re.escape(one)
        before = b"" if is_range else one
        place += 1
    if negated:
        return b"[^/%b]" % parts, place + 1
    return b"(?!/)[%b]" % parts if parts else b"(?!)", place + 1
