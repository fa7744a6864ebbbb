"""`sc summarize-batch`: what became of each run of a batch."""

from __future__ import annotations

import argparse
import difflib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import compress, islice
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Callable, NamedTuple

from sc.codes import CHANGED, NONE, NOT_STORED
from sc.commands.voice import result, say
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from sc.codes import Codes
    from sc.commands import Subparsers
    from sc.model import Batch, Run
    from sc.reports import Table
    from sc.standing import Commands

    Draw = Callable[[Run, int, str, str], str]
    """A line for a run, with its code (below 0: it has none of its own), its status, and what else there is to tell."""

EXAMPLES = """
Examples:
  sc summarize-batch batch.yaml                             a table: failed, not stored, completed, incomplete
  sc summarize-batch batch.yaml --status failed,incomplete  what is still to be done
  sc summarize-batch batch.yaml --json                      the same for a script
  sc summarize-batch batch.yaml --remote-output-path s3://bucket/other

Reads the status of every run from where the batch's outputs are stored; it does not matter which
machine wrote it, nor whether it was sc or Saturn Cloud's client. A run whose command, folder, environment
or GPUs have changed since is incomplete: what is stored there is of another command. The exit code tells
whether the question was answered: it is 0 even if every run has failed.
"""

STATUSES = ("failed", "not stored", "completed", "incomplete")
"""In the order in which they are shown."""
_FAILED, _NOT_STORED, _COMPLETED, _INCOMPLETE = range(len(STATUSES))
_MARKS = ("ended_processes", "unstored_files")
_TOLD = 5
"""Of runs that left processes, or files that could not be stored, so many are told by name."""
IN_MEMORY = 4 << 20
"""Characters, about, before what waits goes to a file."""
_HEADERS = ("status", "status_code", "remote_output_path", "cmd")


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc summarize-batch`."""
    parser = subparsers.add_parser("summarize-batch", description=EXAMPLES)
    parser.add_argument("file", metavar="FILE", help="the batch: a path, s3://…, or -")
    parser.add_argument(
        "--remote-output-path", metavar="PLACE", help="instead of the one that the batch names"
    )
    parser.add_argument(
        "--status", metavar="STATUS,…", help="only these: failed, not-stored, completed, incomplete"
    )
    parser.add_argument("--json", action="store_true", help="an object with counts and runs")
    return parser


class Summary(NamedTuple):
    """Every run's fate, in a few bytes each."""

    batch: Batch
    codes: array[int]
    """Of each run in the order of the batch; NONE where it has not ended, NOT_STORED or CHANGED where that was so."""
    remarks: Sequence[int]
    """Which of `texts` belongs to each run."""
    texts: Sequence[str]
    """What there is to tell beside codes, nothing first."""
    marked: Mapping[str, int]
    """How many runs left processes, or files that could not be stored."""

    @property
    def changed(self) -> int:
        """How many have the outputs of another command."""
        return self.codes.count(CHANGED)

    def counts(self) -> dict[str, int]:
        """How many have each status."""
        incomplete, completed = self.codes.count(NONE) + self.changed, self.codes.count(0)
        not_stored = self.codes.count(NOT_STORED)
        failed = len(self.codes) - completed - incomplete - not_stored
        return dict(zip(STATUSES, (failed, not_stored, completed, incomplete)))

    def ordered(self, statuses: Sequence[int], draw: Draw) -> Iterator[str]:
        """A line for each run, one status after the other, in one pass over the batch.

        Lines that come later wait in temporary files, for a batch may be too large for memory and is
        slow to read.
        """
        with ExitStack() as stack:
            waiting: dict[int, IO[str]] = {
                status: stack.enter_context(SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8"))
                for status in statuses[1:]
            }
            for one, code, remark in zip(self.batch.runs, self.codes, self.remarks):
                status = _status(code)
                if status in waiting:
                    line = draw(one, code, STATUSES[status], self.texts[remark])
                    waiting[status].write(line + "\n")
                elif status in statuses:
                    yield draw(one, code, STATUSES[status], self.texts[remark])
            for file in waiting.values():
                file.seek(0)
                yield from (line[:-1] for line in file)


def run(args: argparse.Namespace) -> int:
    """Read the codes, then go through the batch again for each status."""
    from sc.documents import read_batch
    from sc.standing import read_all
    from sc.storage import open_storage

    statuses = _statuses(args.status)
    storage = open_storage()
    batch = read_batch(
        args.file,
        remote_output_path=args.remote_output_path,
        fetch=storage.get_file,
        tell=lambda line: say(f"sc: {line}"),
        at_once=1,
    )
    found, commands = read_all(storage, batch)
    summary, table = _look_up(batch, found, commands, statuses)
    lines = _json(summary, statuses) if args.json else _rows(summary, table, statuses)
    for line in lines:
        result(line)
    _tell(summary, found.garbage)
    return ExitCode.OK


def _statuses(text: object) -> list[int]:
    """Positions in STATUSES. Raises InputError for a word that is none of them."""
    if text is None:
        return list(range(len(STATUSES)))
    chosen = []
    words = [status.replace(" ", "-") for status in STATUSES]
    for word in filter(None, (one.strip() for one in str(text).split(","))):
        plain = word.replace(" ", "-").replace("_", "-")
        if plain not in words:
            near = difflib.get_close_matches(plain, words, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--status {word!r} is none of {', '.join(words)}{hint}")
        chosen.append(words.index(plain))
    return sorted(set(chosen))


def _status(code: int) -> int:
    if code == 0:
        return _COMPLETED
    if code > 0:
        return _FAILED
    return _NOT_STORED if code == NOT_STORED else _INCOMPLETE


def _look_up(
    batch: Batch, found: Codes, commands: Commands, statuses: list[int]
) -> tuple[Summary, Table]:
    """What became of every run, and a table that knows how wide its columns will be."""
    from sc.reports import Table

    codes, remarks, table = array("h"), array("I"), Table(*_HEADERS)
    numbers, marked = {"": 0}, dict.fromkeys(_MARKS, 0)
    for one, known in commands.judge_all(found):
        codes.append(known.code)
        remarks.append(0)
        if known.remark:
            remarks[-1] = numbers.setdefault(known.remark, len(numbers))
        if known.ended_processes or known.unstored_files:
            for mark in _MARKS:
                marked[mark] += getattr(known, mark)
        status = _status(known.code)
        if status in statuses:
            table.measure(_cells(one, known.code, STATUSES[status]))
    return Summary(batch, codes, remarks, list(numbers), marked), table


def _rows(summary: Summary, table: Table, statuses: list[int]) -> Iterator[str]:
    """The table, line by line."""
    yield from table.head()
    yield from summary.ordered(statuses, lambda *run: table.row(_cells(*run[:3])))


def _cells(one: Run, code: int, status: str) -> tuple[str, ...]:
    from sc.model import command_text
    from sc.reports import printable

    shown = "" if code < 0 else str(code)
    return status, shown, printable(one.remote_output_path), printable(command_text(one.cmd))


def _json(summary: Summary, statuses: list[int]) -> Iterator[str]:
    """One object, a line for each run."""
    from sc.reports import json_line

    counts = {word.replace(" ", "_"): count for word, count in summary.counts().items()}
    counts.update({f"runs_with_{mark}": count for mark, count in summary.marked.items()})
    counts["runs_with_changed_command"] = summary.changed
    yield f'{{"counts": {json_line(counts)},'
    yield ' "runs": ['
    held = ""
    for line in summary.ordered(statuses, _json_run):
        if held:
            yield held + ","
        held = line
    if held:
        yield held
    yield " ]}"


def _json_run(one: Run, code: int, status: str, reason: str) -> str:
    from sc.reports import json_line

    document = {
        "status": status,
        "status_code": None if code < 0 else code,
        "remote_output_path": one.remote_output_path,
        "cmd": one.cmd,
        **({"reason": reason} if reason else {}),
    }
    return "  " + json_line(document)


def _tell(summary: Summary, garbage: int) -> None:
    from sc.reports import another_command, counts, remarks, runs

    total = len(summary.codes)
    say(f"sc: {runs(total)}: {counts(summary.counts())}")
    if garbage:
        say(
            f"sc: {runs(garbage)} left something else than a code in status_code: told as incomplete"
        )
    if summary.changed:
        say(f"sc: {another_command(summary.changed)}: told as incomplete")
    for line in remarks(total, *summary.marked.values()):
        say(f"sc: {line}")
    told = compress(zip(summary.batch.runs, summary.remarks), summary.remarks)
    for one, remark in islice(told, _TOLD):
        say(f"sc:   {one.remote_output_path}: {summary.texts[remark]}")
