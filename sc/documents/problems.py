"""The sentences about a file: collected with their places, counted all, shown in part.

Problems are told all at once, because whoever mends a file of a thousand runs wants one round trip
and not a thousand. Text that came from the file is shown short and without control characters.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

from sc.errors import InputError

SHOWN_AT_MOST = 20
_LONGEST_EXCERPT = 60


class Wrong(Exception):
    """One value cannot be used; the text says why. Never leaves this package."""


class Problems:
    """All problems of one file. Each is `<file>: <where>: <sentence>`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self._told: list[str] = []

    def add(self, where: str, sentence: str) -> None:
        self.count += 1
        if self.can_show_more:
            place = f"{self.name}: {where}" if where else self.name
            self._told.append(f"{place}: {sentence}")

    @property
    def can_show_more(self) -> bool:
        """False once further problems are only counted, so that their texts need not be made."""
        return len(self._told) < SHOWN_AT_MOST

    def error(self) -> InputError:
        """Everything collected so far, as the error to raise."""
        more = self.count - len(self._told)
        last = [f"{self.name}: … and {more} more like these"] if more else []
        return InputError(*self._told, *last)

    def raise_if_any(self) -> None:
        if self.count:
            raise self.error()


def shown(text: str, at_most: int = _LONGEST_EXCERPT) -> str:
    """A stranger's text in quotes, safe for a terminal and of bounded length."""
    clipped = text[:at_most]
    return f"{clipped!r}…" if len(text) > len(clipped) else repr(clipped)


def kind_of(value: object) -> str:
    """What a value of JSON or YAML is called in a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return shown(value)
    return "a mapping" if isinstance(value, dict) else "a list"


_OTHER_WORDS = {
    "args": "cmd",
    "cmds": "runs",
    "commands": "runs",
    "cwd": "working_directory",
    "duration": "expected_time",
    "environment": "env",
    "jobs": "runs",
    "output": "remote_output_path",
    "output_path": "remote_output_path",
    "procs": "nprocs",
    "script": "cmd",
    "tasks": "runs",
    "workdir": "working_directory",
}
"""What people of other tools write; looked at where the spelling is not near anything."""


def unknown_key(key: str, known: Collection[str]) -> str:
    """The sentence about a key that means nothing here, with the nearest one that does."""
    nearest = difflib.get_close_matches(key[:_LONGEST_EXCERPT], list(known), n=1)
    guess = nearest[0] if nearest else _OTHER_WORDS.get(key, "")
    if guess in known:
        return f"unknown key {shown(key)}, did you mean {guess}?"
    return f"unknown key {shown(key)}; the keys known here are {', '.join(sorted(known))}"
