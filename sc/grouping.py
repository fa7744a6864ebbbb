"""Failures that are alike, counted together: by the last line that each wrote to stderr, with all that differs folded.

KeyError: 'user-17' in /data/17.csv  ─┐
KeyError: 'user-903' in /tmp/x/9.csv ─┴─▶  KeyError: 'user-#' in /…   2, the first is out/17
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sc.last_words import BAR, LONGEST, visible, without_bars
from sc.model import Outcome

GROUPS = 8
"""So many kinds of failure are told apart by one worker; what comes later is counted as `OTHERS`."""
OTHERS = "other errors"

_NAME = r"[^\s/'\"`:;,()<>\[\]{}]+"
_FOLDS = (
    # Places first, since there may be numbers in them.
    (re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\",;)\]}>]*[^\s'\",;:)\]}>]"), "…"),
    (re.compile(rf"(?<![\w/…])(?:~|\.{{1,2}})?(?:/{_NAME})+/?"), "/…"),
    # A relative path is told from "and/or" by a digit or dot in it, or a second slash.
    (re.compile(rf"(?<![\w/…])(?=[^\s:]*[\d.]|{_NAME}/{_NAME}/)[\w.@-]+(?:/{_NAME})+/?"), "/…"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "#"),
    (re.compile(r"\b0[xX][0-9a-fA-F]+"), "#"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{6,}\b"), "#"),
    (re.compile(r"\d+(?:[.,:]\d+)*(?:[eE][+-]?\d+)?"), "#"),
    (re.compile(r"#\s?(?:[kKMGT]i?)?B\b"), "#B"),
    (re.compile(r"#\s?(?:[nuµm]?s|sec|min|m|h)\b"), "#s"),
    (re.compile(r"([=*.~_+-])\1{3,}"), r"\1\1\1"),  # as long as a terminal is wide
    (re.compile(r"#(?:[-_T ]?#)+"), "#"),
    (re.compile(r"\s+"), " "),
)
"""In this order: each leaves the signs of those before it alone."""


_OF_SHELLS = {  # what sh(1) means by them; it has run, so that "could not be started" would be wrong
    126: " (command cannot be executed)",
    127: " (command not found)",
}


def fold(line: str) -> str:
    """The line without what makes two of a kind differ: numbers and hex are `#`, paths `/…`, URLs `…`, progress bars
    `[…]`; colours are gone."""
    text = without_bars(visible(line)[:LONGEST]).strip()
    for pattern, sign in _FOLDS:
        text = pattern.sub(sign, text)
    return text


def why(outcome: Outcome) -> str:
    """In a few words, why a run has failed or was not ended; without what it printed."""
    return outcome.reason or {
        "exit": f"exit code {outcome.code}" + _OF_SHELLS.get(outcome.code or 0, ""),
        "signal": f"ended by signal {(outcome.code or 128) - 128}",
        "timeout": "took longer than its timeout",
        "oom": "the machine ran out of memory",
        "not-started": "could not be started",
        "upload": "could not be stored",
        "lost": "was lost",
    }.get(outcome.cause, outcome.cause)


def kind_of(outcome: Outcome) -> str:
    """The text by which a failed run is counted: its own last words, unless the way it ended says more."""
    said = fold(outcome.error_line)
    said = "" if said == BAR else said  # how far it came does not tell why it failed
    if said and outcome.cause in ("exit", "not-started"):
        return said
    if said and outcome.cause == "signal":
        return f"{said} ({why(outcome)})"
    return fold(outcome.reason) if outcome.reason else why(outcome)


@dataclass(frozen=True)
class Group:
    """Failures of one kind."""

    count: int
    text: str
    """What they have in common, folded."""
    example: str
    """The output path of one of them."""


class Groups:
    """Counts kinds of failures in bounded memory."""

    def __init__(self, most: int = GROUPS) -> None:
        self._most = most
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    def add(self, text: str, example: str, count: int = 1) -> None:
        """So many more of a kind. Once there are `most` kinds, a new one is counted among the others."""
        if text not in self._counts and len(self._counts) >= self._most:
            text = OTHERS
        self._counts[text] = self._counts.get(text, 0) + count
        self._examples.setdefault(text, example)

    def add_all(self, groups: Iterable[Group]) -> None:
        """What another has counted."""
        for group in groups:
            self.add(group.text, group.example, group.count)

    def sorted(self) -> Sequence[Group]:
        """The most frequent first, the others last."""
        found = [Group(count, text, self._examples[text]) for text, count in self._counts.items()]
        return sorted(found, key=lambda one: (one.text == OTHERS, -one.count, one.text))
