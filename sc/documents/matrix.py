"""One run with a `matrix` -> many runs, one for every combination of its values.

`{name}` is replaced in `cmd`, `env` and `remote_output_path`, for the names of the matrix only: other
braces stay as they are, so that `awk '{print $1}'` survives. What was filled in is not looked at again.

A `remote_output_path` that would give several combinations the same place gets the number of the
combination below it: with `out/{lr}` and the names lr and seed, `out/0.1/0`, `out/0.1/1` and so on.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sc.documents.problems import Wrong, kind_of, shown
from sc.documents.scalars import mapping, text

MOST_COMBINATIONS = 10_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_MARK = re.compile(rf"\{{{_NAME.pattern}\}}")
"""What may be asked for; a pattern of all names of a matrix would be slow where there are many."""
_FILLED = ("cmd", "env", "remote_output_path")


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
            texts = {f"{{{name}}}": one for name, one in zip(self._values, combination)}
            filled = {key: self._filled(rest[key], texts) for key in _FILLED if key in rest}
            if numbered:
                filled["remote_output_path"] = f"{filled['remote_output_path']}/{number}"
            yield {**rest, **filled}

    def unused(self, run: Mapping[str, Any]) -> list[str]:
        """The names that `run` never asks for, most likely misspelt on one side."""
        asked: set[str] = set()
        for key in _FILLED:
            asked |= self._marks_in(run.get(key))
        return [name for name in self._values if f"{{{name}}}" not in asked]

    def _needs_numbers(self, path: object) -> bool:
        asked = self._marks_in(path)
        return isinstance(path, str) and any(
            len(values) > 1 and f"{{{name}}}" not in asked for name, values in self._values.items()
        )

    def _marks_in(self, value: object) -> set[str]:
        if isinstance(value, dict):
            value = list(value.values())
        some = value if isinstance(value, list) else [value]
        return {mark for one in some if isinstance(one, str) for mark in _MARK.findall(one)}

    def _filled(self, value: Any, texts: Mapping[str, str]) -> Any:
        if isinstance(value, str):
            filled = _MARK.sub(lambda mark: texts.get(mark.group(), mark.group()), value)
            return filled if filled != value else value
        if isinstance(value, list):
            return [self._filled(one, texts) if isinstance(one, str) else one for one in value]
        if isinstance(value, dict):
            return {
                key: self._filled(one, texts) if isinstance(one, str) else one
                for key, one in value.items()
            }
        return value


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
