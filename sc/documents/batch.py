"""A batch file -> Batch.

    file ─▶ Source ─▶ Document ─▶ head (all keys but `runs`) ─▶ Defaults ─┐
                          └─────▶ raw runs ──────────────────▶ RunReader ─┴▶ Run, Run, Run …

A large file is read through three times and never kept: for its head, which may come after the
runs; for the check, which keeps no more than hashes of the output paths; and whenever somebody
iterates over `Batch.runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any, NamedTuple, Optional

from sc.documents.formats import Document, document_of, head_of
from sc.documents.outputs import Clashes, OutputPaths, absolute, results_folder
from sc.documents.problems import Problems, Wrong, kind_of, unknown_key
from sc.documents.runs import SHARED, Defaults, RunReader, env_notes, is_notable
from sc.documents.scalars import Plain, whole
from sc.documents.source import Source
from sc.model import NO_GPUS, Batch, GpuNeeds, Run

MOST_SLOTS = 100_000
_HEAD_KEYS = ("nprocs", "remote_output_path", "runs", *SHARED)
_MANY_NOTES = 5
_OWN_FOLDERS = (
    "; two runs that are live at once cannot share it: give each a folder of its own (in a matrix by {name}), "
    "leave it out, or run one at a time with nprocs: 1"
)
_UNKNOWN = "/unknown"
"""Stands for an output path that is wrong, so that the runs below it can be looked at all the same."""


class _Checked(NamedTuple):
    """What is known of the runs once each was looked at."""

    length: int = 0
    has_expected_times: bool = False
    gpus: GpuNeeds = NO_GPUS


class _Gpus:
    """Of the runs that ask for GPUs."""

    def __init__(self) -> None:
        self._count, self._most, self._most_at, self._share = 0, 0.0, 0, 1.0

    def add(self, number: int, amount: float) -> None:
        self._count += 1
        self._share = min(self._share, amount)
        if amount > self._most:
            self._most, self._most_at = amount, number

    def needs(self, runs: int, place: Callable[[int], str]) -> GpuNeeds:
        if not self._count:
            return NO_GPUS
        return GpuNeeds(self._most, self._share, self._count == runs, place(self._most_at))


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
    at_once: Optional[int] = None,
) -> Batch:
    """Read, check and describe. Raises InputError with all problems.

    `folder` is where a relative path begins; the next two are options that win over the file. `at_once` is how
    many runs may be live at a time on one machine, if that is not what the batch says.
    """
    document = document_of(source, tell)
    problems = Problems(source.name)
    head = head_of(document, source)
    defaults = _defaults(head, folder, remote_output_path, problems)
    slots = _slots(head, nprocs, problems)
    _check_keys(head, problems, tell)
    reader = RunReader(defaults, document.place)
    checked = _Checked()
    if isinstance(head.get("runs"), list):
        has_place = defaults.remote_output_path != _UNKNOWN
        shares = (at_once or slots) == 1
        seen = _Seen(has_place, None if shares else folder)
        checked = _check_runs(document, reader, seen, problems, tell)
    else:
        what = "nothing" if head.get("runs") is None else kind_of(head["runs"])
        problems.add("runs", f"a list of runs is expected, not {what}")
    problems.raise_if_any()
    return Batch(
        remote_output_path=defaults.remote_output_path,
        runs=Runs(document, reader, source.name, checked.length),
        nprocs=slots,
        has_expected_times=checked.has_expected_times,
        gpus=checked.gpus,
        width=source.width,
    )


def _check_keys(head: dict[str, Any], problems: Problems, tell: Callable[[str], None]) -> None:
    for key in head:
        if key not in _HEAD_KEYS:
            problems.add("", unknown_key(key, _HEAD_KEYS))
    for note in islice(env_notes(f"{problems.name}: env", head.get("env")), _MANY_NOTES):
        tell(note)


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


class _Seen:
    """The places of the runs seen so far, and whether two are in each other's way.

    Without `has_place` output paths are not the real ones, and not compared. `folder` is where a relative
    `local_results_dir` begins; None: never two runs are live at once, and they may share one.
    """

    def __init__(self, has_place: bool, folder: Optional[str]) -> None:
        self._outputs = OutputPaths() if has_place else None
        self._results = OutputPaths() if folder is not None else None
        self._folder = folder or ""

    def add(self, run: Run) -> None:
        if self._outputs is not None:
            self._outputs.add(run.remote_output_path)
        if self._results is not None and run.local_results_dir is not None:
            self._results.add(results_folder(run.local_results_dir, self._folder))

    def look_again(
        self,
        runs: Callable[[], Iterator[tuple[int, Run]]],
        problems: Problems,
        place: Callable[[int], str],
    ) -> None:
        """Tell what clashes; goes through the runs once more if anything may."""
        outputs = Clashes(self._outputs.suspects() if self._outputs else frozenset())
        suspects = self._results.suspects() if self._results else frozenset()
        results = Clashes(suspects, "local_results_dir", _OWN_FOLDERS)
        if not (outputs.has_suspects or results.has_suspects):
            return
        for number, run in runs():
            outputs.add(number, run.remote_output_path)
            if results.has_suspects and run.local_results_dir is not None:
                results.add(number, results_folder(run.local_results_dir, self._folder))
        outputs.tell(problems, place)
        results.tell(problems, place)


def _check_runs(
    document: Document,
    reader: RunReader,
    seen: _Seen,
    problems: Problems,
    tell: Callable[[str], None],
) -> _Checked:
    """Look at every run once, and twice where places may clash."""
    length, has_expected_times = 0, False
    gpus = _Gpus()
    for number, run in reader.runs(_noted(document, reader, problems.name, tell), problems):
        length += 1
        has_expected_times |= run.expected_time is not None
        seen.add(run)
        if run.gpus is not None:
            gpus.add(number, run.gpus)
    if length == 0 and not problems.count:
        problems.add("runs", "there is none; a batch has at least one run")
    seen.look_again(
        lambda: reader.runs(document.raw_runs(), Problems(problems.name)), problems, document.place
    )
    return _Checked(length, has_expected_times, gpus.needs(length, document.place))


def _noted(
    document: Document, reader: RunReader, name: str, tell: Callable[[str], None]
) -> Iterator[Any]:
    """The raw runs; tells on the way what is allowed but odd."""
    told = 0
    for number, raw in enumerate(document.raw_runs()):
        if told < _MANY_NOTES and type(raw) is dict and is_notable(raw):
            for note in islice(reader.notes(number, raw), _MANY_NOTES - told):
                tell(f"{name}: {note}")
                told += 1
        yield raw
