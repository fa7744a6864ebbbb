"""A batch file -> Batch.

    file ─▶ Source ─▶ Document ─▶ head (all keys but `runs`) ─▶ Defaults ─┐
                          └─────▶ raw runs ──────────────────▶ RunReader ─┴▶ Run, Run, Run …

A JSON or text file is read through three times and never kept: for its head, which may come
after the runs; for the check, which keeps no more than hashes of the output paths; and whenever
somebody iterates over `Batch.runs`. YAML is kept as plain values, since reading it takes long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Optional, Protocol

from sc.documents.json_text import JsonError, read_json
from sc.documents.outputs import Clashes, OutputPaths, absolute
from sc.documents.problems import Problems, Wrong, kind_of, unknown_key
from sc.documents.runs import SHARED, Defaults, RawRun, RunReader, matrix_notes, where
from sc.documents.scalars import LONGEST_ARGUMENT, Plain, whole
from sc.documents.source import Source
from sc.documents.yaml_text import YamlError, read_yaml
from sc.errors import InputError
from sc.model import Batch, Run

MOST_SLOTS = 100_000
_MUCH_YAML = 5 * 1024**2
_TOO_MUCH_YAML = 256 * 1024**2
_HEAD_KEYS = ("nprocs", "remote_output_path", "runs", *SHARED)
_MANY_NOTES = 5
_JSON_BEGINS = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\"{\]])")
_YAML_KEY = re.compile(r"^(?:runs|nprocs|remote_output_path)[ \t]*:", re.MULTILINE)
_KINDS = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".txt": "text"}


class Document(Protocol):
    """One file of runs, of any format."""

    def head(self) -> dict[str, Any]:
        """All keys of the top level; `runs` is an empty list if it is a list."""

    def raw_runs(self) -> Iterator[RawRun]:
        """The elements of `runs`, as often as one asks."""


class JsonDocument:
    def __init__(self, source: Source) -> None:
        self._source = source

    def head(self) -> dict[str, Any]:
        try:
            elements = read_json(self._source.text(), streamed="runs")
            return {one.key: one.value for one in elements if one.number is None}
        except JsonError as error:
            raise InputError(f"{self._source.name}: {error}") from None

    def raw_runs(self) -> Iterator[RawRun]:
        try:
            for _, number, value in read_json(self._source.text(), streamed="runs"):
                if number is not None:
                    yield RawRun("runs[{}]", number, value)
        except JsonError as error:
            raise InputError(f"{self._source.name}: {error}") from None


class YamlDocument:
    def __init__(self, source: Source, tell: Callable[[str], None]) -> None:
        size = source.size / 1024**2
        if source.size > _TOO_MUCH_YAML:
            raise InputError(
                f"{source.name}: {size:,.0f} MiB of YAML would not fit into memory; "
                "write the batch as JSON, which is read piece by piece."
            )
        if source.size > _MUCH_YAML:
            tell(
                f"{source.name}: {size:,.0f} MiB of YAML take a while to read; "
                "as JSON the same batch would be read many times faster."
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

    def raw_runs(self) -> Iterator[RawRun]:
        for number, value in enumerate(self._runs):
            yield RawRun("runs[{}]", number, value)


class TextDocument:
    """One command per line; blank lines and lines that begin with `#` are skipped."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def head(self) -> dict[str, Any]:
        return {"runs": []}

    def raw_runs(self) -> Iterator[RawRun]:
        for number, line in enumerate(_lines(self._source), start=1):
            command = line.strip()
            if command and not command.startswith("#"):
                yield RawRun("line {}", number, {"cmd": command})


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


class Runs(Collection[Run]):
    """The runs of a checked document, read from it anew at each iteration."""

    def __init__(self, document: Document, reader: RunReader, name: str, length: int) -> None:
        self._document = document
        self._reader = reader
        self._name = name
        self._length = length

    def __iter__(self) -> Iterator[Run]:
        problems = Problems(self._name)
        for _, run in self._reader.runs(self._document.raw_runs(), problems):
            yield run
        problems.raise_if_any()

    def __len__(self) -> int:
        return self._length

    def __contains__(self, run: object) -> bool:
        return any(one == run for one in self)


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


def batch_of(
    source: Source,
    folder: str,
    remote_output_path: Optional[str],
    nprocs: Optional[int],
    tell: Callable[[str], None],
) -> Batch:
    """Read, check and describe. Raises InputError with all problems.

    `folder` is where a relative output path begins; the other two are options that win over the file.
    """
    if source.size == 0:
        raise InputError(f"{source.name}: is empty; it has to hold at least one run.")
    document = document_of(source, tell)
    problems = Problems(source.name)
    head = dict(document.head())
    defaults = _defaults(head, folder, remote_output_path, problems)
    slots = _slots(head, nprocs, problems)
    for key in head:
        if key not in _HEAD_KEYS:
            problems.add("", unknown_key(key, _HEAD_KEYS))
    reader = RunReader(defaults)
    length = 0
    if not isinstance(head.get("runs"), list):
        what = kind_of(head["runs"]) if head.get("runs") is not None else "nothing"
        problems.add("runs", f"a list of runs is expected, not {what}")
    else:
        length = _checked(document, reader, problems, tell)
        if length == 0 and not problems.count:
            problems.add("runs", "there is none; a batch has at least one run")
    problems.raise_if_any()
    return Batch(
        remote_output_path=defaults.remote_output_path,
        runs=Runs(document, reader, source.name, length),
        nprocs=slots,
    )


def _defaults(
    head: dict[str, Any], folder: str, override: Optional[str], problems: Problems
) -> Defaults:
    values: dict[str, Any] = {"remote_output_path": "/unknown"}
    where_path = "--remote-output-path" if override is not None else "remote_output_path"
    written = override if override is not None else head.get("remote_output_path")
    try:
        if written is None:
            add = "" if problems.name.lower().endswith(".txt") else "add it, or "
            raise Wrong(f"is missing; {add}give --remote-output-path PLACE")
        values["remote_output_path"] = absolute(written, folder)
    except Wrong as wrong:
        problems.add(where_path, str(wrong))
    for key, read in SHARED.items():
        if head.get(key) is not None:
            try:
                values[key] = read(head[key])
            except Wrong as wrong:
                problems.add(key, str(wrong))
    return Defaults(**values)


def _slots(head: dict[str, Any], override: Optional[int], problems: Problems) -> Optional[int]:
    slots = None
    written = {"nprocs": head.get("nprocs"), "--nprocs": override}
    for place, value in written.items():
        if value is not None:
            try:
                slots = whole(Plain(value) if type(value) is int else value, 1, MOST_SLOTS)
            except Wrong as wrong:
                problems.add(place, str(wrong))
    return slots


def _checked(
    document: Document, reader: RunReader, problems: Problems, tell: Callable[[str], None]
) -> int:
    """Look at every run once; returns how many there are."""
    count = 0
    paths = OutputPaths()
    notes: list[str] = []

    def noted() -> Iterator[RawRun]:
        for raw in document.raw_runs():
            if len(notes) < _MANY_NOTES:
                notes.extend(matrix_notes(raw))
            yield raw

    for _, run in reader.runs(noted(), problems):
        count += 1
        paths.add(run.remote_output_path)
    for note in notes:
        tell(f"{problems.name}: {note}")
    suspects = paths.suspects()
    if suspects:
        clashes = Clashes(suspects)
        for raw, run in reader.runs(document.raw_runs(), Problems(problems.name)):
            clashes.add(where(raw), run.remote_output_path)
        clashes.tell(problems)
    return count
