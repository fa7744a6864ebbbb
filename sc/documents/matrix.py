"""One run with a `matrix` -> many runs, one for every combination of its values.

`{name}` is replaced in `cmd`, `env` and the paths of a run, for the names of the matrix only: other braces stay
as they are, so that `awk '{print $1}'` survives. Around such a name doubled braces stand for single ones, as in
Python: `{{lr}}` gives `{lr}`, and `{{{lr}}}` gives `{0.1}`. `${lr}` could be meant for the shell, and is refused;
`${{lr}}` gives `${lr}`. What was filled in is not looked at again.

A `remote_output_path` that would give several combinations the same place gets the number of the
combination below it: with `out/{lr}` and the names lr and seed, `out/0.1/0`, `out/0.1/1` and so on.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sc.documents.problems import Wrong, kind_of, shown
from sc.documents.scalars import mapping, text

MOST_COMBINATIONS = 10_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_MARK = re.compile(rf"(?<!\{{)(\{{+)({_NAME.pattern})(\}}+)")
"""What may be asked for; a pattern of all names of a matrix would be slow where there are many."""
_FILLED = ("cmd", "env", "remote_output_path", "local_results_dir", "working_directory")
_MOST_NAMES = 200
"""Of a matrix, and of what is unknown in a run: so many are compared for a hint."""


class Matrix:
    """The names and values of one `matrix`. Raises Wrong for what is none."""

    def __init__(self, value: object) -> None:
        self._values = {name: _values(name, some) for name, some in mapping(value).items()}
        if not self._values:
            raise Wrong("is empty; give names, each with a list of values")
        if math.prod(map(len, self._values.values())) > MOST_COMBINATIONS:
            raise Wrong(f"has more than {MOST_COMBINATIONS:,} combinations")

    def runs(self, run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """`run` once for every combination, the last name changing fastest."""
        numbered = self._needs_numbers(run.get("remote_output_path"))
        rest = {key: value for key, value in run.items() if key != "matrix"}
        for number, combination in enumerate(itertools.product(*self._values.values())):
            texts = dict(zip(self._values, combination))
            filled = {key: self._filled(rest[key], texts) for key in _FILLED if key in rest}
            if numbered:
                filled["remote_output_path"] = f"{filled['remote_output_path']}/{number}"
            yield {**rest, **filled}

    def refused(self, run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Keys of `run` in which `${name}` stands for a name of the matrix, each with a sentence."""
        for key in _FILLED:
            for one in _texts(run.get(key)):
                name = next((mark[2] for mark in _marks(one) if self._has_two_readings(mark)), None)
                if name is not None:
                    yield (
                        key,
                        (
                            f"${{{name}}} has two readings: write {{{name}}} for the value from the matrix, "
                            f"or ${{{{{name}}}}} for a variable of the shell"
                        ),
                    )
                    break

    def unused(self, run: Mapping[str, Any]) -> list[str]:
        """The names that `run` never asks for, most likely misspelt on one side."""
        asked = self._asked(*map(run.get, _FILLED))
        return [name for name in self._values if name not in asked]

    def asked_for(self, values: Mapping[str, Any]) -> list[str]:
        """The keys of `values` in which a name is asked for."""
        return [key for key, value in values.items() if self._asked(value) & self._values.keys()]

    def misspelt(self, run: Mapping[str, Any]) -> dict[str, str]:
        """What `run` asks for and is no name, but nearly one: each with the name."""
        unknown = self._asked(*map(run.get, _FILLED)) - self._values.keys()
        names = {name.lower(): name for name in itertools.islice(self._values, _MOST_NAMES)}
        found = {}
        for one in sorted(unknown)[:_MOST_NAMES]:
            for near in difflib.get_close_matches(one.lower(), names, n=1):
                found[one] = names[near]
        return found

    def _needs_numbers(self, path: object) -> bool:
        asked = self._asked(path)
        return isinstance(path, str) and any(
            len(values) > 1 and name not in asked for name, values in self._values.items()
        )

    def _asked(self, *values: object) -> set[str]:
        return {
            mark[2]
            for value in values
            for one in _texts(value)
            for mark in _marks(one)
            if _depth(mark) % 2
        }

    def _has_two_readings(self, mark: re.Match[str]) -> bool:
        depth, begin = _depth(mark), mark.start()
        is_whole = depth == len(mark[1])
        return bool(
            depth % 2
            and is_whole
            and mark.string[begin - 1 : begin] == "$"
            and mark[2] in self._values
        )

    def _filled(self, value: Any, texts: Mapping[str, str]) -> Any:
        if isinstance(value, str):
            filled = _MARK.sub(lambda mark: _replaced(mark, texts), value)
            return filled if filled != value else value
        if isinstance(value, list):
            return [self._filled(one, texts) if isinstance(one, str) else one for one in value]
        if isinstance(value, dict):
            return {
                key: self._filled(one, texts) if isinstance(one, str) else one
                for key, one in value.items()
            }
        return value


def _texts(value: object) -> list[str]:
    """The texts of a key in which names are looked for."""
    if isinstance(value, dict):
        value = list(value.values())
    some = value if isinstance(value, list) else [value]
    return [one for one in some if isinstance(one, str)]


def _marks(text: str) -> Iterator[re.Match[str]]:
    return _MARK.finditer(text)


def _depth(mark: re.Match[str]) -> int:
    """How many pairs of braces there are around the name; an odd number asks for its value."""
    return min(len(mark[1]), len(mark[3]))


def _replaced(mark: re.Match[str], texts: Mapping[str, str]) -> str:
    opened, name, closed = mark.groups()
    if name not in texts:
        return mark.group()
    pairs, asks = divmod(_depth(mark), 2)
    middle = "{" * pairs + (texts[name] if asks else name) + "}" * pairs
    return opened[_depth(mark) :] + middle + closed[_depth(mark) :]


def _values(name: str, values: object) -> list[str]:
    if not _NAME.fullmatch(name):
        raise Wrong(f"{shown(name)} is no name; use letters, digits and _")
    if not isinstance(values, list) or not values:
        what = "an empty list" if isinstance(values, list) else kind_of(values)
        raise Wrong(f"{name}: a list of values is expected, such as [1, 2], not {what}")
    try:
        return [text(value) for value in values]
    except Wrong as wrong:
        raise Wrong(f"{name}: {wrong}") from None
