"""The formats of a batch file: JSON, YAML, and a list of commands.

JSON and lists of commands are read anew each time somebody asks for the runs. YAML is kept as plain
values, since reading it takes long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

from sc.documents.json_text import JsonError, read_json
from sc.documents.problems import kind_of
from sc.documents.scalars import LONGEST_ARGUMENT
from sc.documents.source import Source
from sc.documents.yaml_text import PythonParser, YamlError, read_yaml, yaml_parser
from sc.errors import InputError

_MUCH_YAML = 5 * 1024**2
_TOO_MUCH_YAML = 256 * 1024**2
_JSON_BEGINS = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\"{\]])")
_YAML_KEY = re.compile(r"^(?:runs|nprocs|remote_output_path)[ \t]*:", re.MULTILINE)
_KINDS = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".txt": "text"}


class Document(Protocol):
    """One file of runs, of any format."""

    def head(self) -> dict[str, Any]:
        """All keys of the top level; `runs` is an empty list if it is a list."""

    def raw_runs(self) -> Iterator[Any]:
        """The elements of `runs`, as often as one asks."""

    def place(self, number: int) -> str:
        """Where a person finds the element of that number, counted from 0."""


class JsonDocument:
    def __init__(self, source: Source) -> None:
        self._source = source

    def head(self) -> dict[str, Any]:
        try:
            elements = read_json(self._source.text(), streamed="runs")
            return {one.key: one.value for one in elements if not one.is_slice}
        except JsonError as error:
            raise InputError(f"{self._source.name}: {error}") from None

    def raw_runs(self) -> Iterator[Any]:
        try:
            for _, value, is_slice in read_json(self._source.text(), streamed="runs"):
                if is_slice:
                    yield from value
        except JsonError as error:
            raise InputError(f"{self._source.name}: {error}") from None

    def place(self, number: int) -> str:
        return f"runs[{number}]"


class YamlDocument:
    def __init__(self, source: Source, tell: Callable[[str], None]) -> None:
        size = source.size / 1024**2
        if source.size > _TOO_MUCH_YAML:
            raise InputError(
                f"{source.name}: {size:,.0f} MiB of YAML would not fit into memory; "
                "write the batch as JSON, which is read piece by piece."
            )
        if source.size > _MUCH_YAML:
            factor = "thirty" if yaml_parser() is PythonParser else "three"
            tell(
                f"{source.name}: {size:,.0f} MiB of YAML take a while to read; "
                f"as JSON they would be read about {factor} times faster."
            )
        try:
            value = read_yaml(source.text())
        except YamlError as error:
            raise InputError(f"{source.name}: {error}") from None
        if not isinstance(value, dict):
            what = "is empty" if value is None else f"holds {kind_of(value)}"
            raise InputError(
                f"{source.name}: {what}; a batch is a mapping with remote_output_path and runs."
            )
        runs = value.get("runs")
        self._runs: list[Any] = runs if isinstance(runs, list) else []
        self._head = {**value, "runs": []} if isinstance(runs, list) else value

    def head(self) -> dict[str, Any]:
        return self._head

    def raw_runs(self) -> Iterator[Any]:
        return iter(self._runs)

    def place(self, number: int) -> str:
        return f"runs[{number}]"


class TextDocument:
    """One command per line; blank lines and lines that begin with `#` are skipped."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def head(self) -> dict[str, Any]:
        return {"runs": []}

    def raw_runs(self) -> Iterator[Any]:
        for _, command in self._commands():
            yield {"cmd": command}

    def place(self, number: int) -> str:
        line, _ = next(islice(self._commands(), number, None))
        return f"line {line}"

    def _commands(self) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(_lines(self._source), start=1):
            command = line.strip()
            if command and not command.startswith("#"):
                yield number, command


def _lines(source: Source) -> Iterator[str]:
    """Lines without their ends; of one longer than any command can be, only the beginning."""
    rest = ""
    for piece in source.text():
        first, *others = piece.split("\n")
        rest += first if len(rest) <= LONGEST_ARGUMENT else ""
        for other in others:
            yield rest
            rest = other
    yield rest


def document_of(source: Source, tell: Callable[[str], None]) -> Document:
    """By the name's ending, or else by what the text looks like."""
    ending = os.path.splitext(source.name)[1].lower()
    kind = _KINDS.get(ending) or _kind_by_looks(source.beginning())
    if kind == "yaml":
        return YamlDocument(source, tell)
    return JsonDocument(source) if kind == "json" else TextDocument(source)


def _kind_by_looks(beginning: str) -> str:
    if _JSON_BEGINS.match(beginning):
        return "json"
    return "yaml" if _YAML_KEY.search(beginning) else "text"
