"""A batch file -> Batch.

    file ─▶ Source ─▶ Document ─▶ head (all keys but `runs`) ─▶ Defaults ─┐
                          └─────▶ raw runs ──────────────────▶ RunReader ─┴▶ Run, Run, Run …

A large file is read through three times and never kept: for its head, which may come after the
runs; for the check, which keeps no more than hashes of the output paths; and whenever somebody
iterates over `Batch.runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple, Optional

from sc.documents.formats import Document, document_of, head_of
from sc.documents.outputs import Clashes, OutputPaths, absolute
from sc.documents.problems import Problems, Wrong, kind_of, unknown_key
from sc.documents.runs import SHARED, Defaults, RunReader
from sc.documents.scalars import Plain, whole
from sc.documents.source import Source
from sc.model import Batch, Run

MOST_SLOTS = 100_000
_HEAD_KEYS = ("nprocs", "remote_output_path", "runs", *SHARED)
_MANY_NOTES = 5
_UNKNOWN = "/unknown"
"""Stands for an output path that is wrong, so that the runs below it can be looked at all the same."""


class _Checked(NamedTuple):
    """What is known of the runs once each was looked at."""

    length: int = 0
    has_expected_times: bool = False


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
    document = document_of(source, tell)
    problems = Problems(source.name)
    head = head_of(document, source)
    defaults = _defaults(head, folder, remote_output_path, problems)
    slots = _slots(head, nprocs, problems)
    for key in head:
        if key not in _HEAD_KEYS:
            problems.add("", unknown_key(key, _HEAD_KEYS))
    reader = RunReader(defaults, document.place)
    checked = _Checked()
    if isinstance(head.get("runs"), list):
        has_place = defaults.remote_output_path != _UNKNOWN
        checked = _check_runs(document, reader, has_place, problems, tell)
    else:
        what = "nothing" if head.get("runs") is None else kind_of(head["runs"])
        problems.add("runs", f"a list of runs is expected, not {what}")
    problems.raise_if_any()
    return Batch(
        remote_output_path=defaults.remote_output_path,
        runs=Runs(document, reader, source.name, checked.length),
        nprocs=slots,
        has_expected_times=checked.has_expected_times,
    )


def _defaults(
    head: dict[str, Any], folder: str, override: Optional[str], problems: Problems
) -> Defaults:
    values: dict[str, Any] = {"remote_output_path": _UNKNOWN}
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


def _check_runs(
    document: Document,
    reader: RunReader,
    has_place: bool,
    problems: Problems,
    tell: Callable[[str], None],
) -> _Checked:
    """Look at every run once, and twice where outputs may clash.

    Without `has_place` the runs' places are not the real ones, and not compared.
    """
    length, has_expected_times = 0, False
    paths = OutputPaths()
    for _, run in reader.runs(_noted(document, reader, problems.name, tell), problems):
        length += 1
        has_expected_times |= run.expected_time is not None
        paths.add(run.remote_output_path)
    if length == 0 and not problems.count:
        problems.add("runs", "there is none; a batch has at least one run")
    suspects = paths.suspects() if has_place else frozenset()
    if suspects:
        clashes = Clashes(suspects)
        for number, run in reader.runs(document.raw_runs(), Problems(problems.name)):
            clashes.add(number, run.remote_output_path)
        clashes.tell(problems, document.place)
    return _Checked(length, has_expected_times)


def _noted(
    document: Document, reader: RunReader, name: str, tell: Callable[[str], None]
) -> Iterator[Any]:
    """The raw runs; tells on the way what is allowed but odd."""
    told = 0
    for number, raw in enumerate(document.raw_runs()):
        if type(raw) is dict and "matrix" in raw and told < _MANY_NOTES:
            for note in reader.matrix_notes(number, raw):
                tell(f"{name}: {note}")
                told += 1
        yield raw
