"""`sc summarize-batch`: what became of each run of a batch."""

from __future__ import annotations

import argparse
import difflib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Callable, NamedTuple

from sc.commands.voice import result, say
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from sc.codes import Codes
    from sc.commands import Subparsers
    from sc.model import Batch, Run
    from sc.reports import Table

    Draw = Callable[[Run, int, str], str]
    """A line for a run, with its code (-1: it has not ended) and its status."""

EXAMPLES = """
Examples:
  sc summarize-batch batch.yaml                             a table: failed, completed, incomplete
  sc summarize-batch batch.yaml --status failed,incomplete  what is still to be done
  sc summarize-batch batch.yaml --json                      the same for a script
  sc summarize-batch batch.yaml --remote-output-path s3://bucket/other

Reads the status of every run from where the batch's outputs are stored; it does not matter which
machine wrote it, nor whether it was sc or Saturn Cloud's client. The exit code tells whether the
question was answered: it is 0 even if every run has failed.
"""

STATUSES = ("failed", "completed", "incomplete")
"""In the order in which they are shown."""
_FAILED, _COMPLETED, _INCOMPLETE = range(len(STATUSES))
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
        "--status", metavar="STATUS,…", help="only these: failed, completed, incomplete"
    )
    parser.add_argument("--json", action="store_true", help="an object with counts and runs")
    return parser


class Summary(NamedTuple):
    """Every run's fate, in a few bytes each."""

    batch: Batch
    codes: array[int]
    """Of each run in the order of the batch; -1 where it has not ended."""

    def counts(self) -> dict[str, int]:
        """How many have each status."""
        incomplete, completed = self.codes.count(-1), self.codes.count(0)
        failed = len(self.codes) - completed - incomplete
        return dict(zip(STATUSES, (failed, completed, incomplete)))

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
            for one, code in zip(self.batch.runs, self.codes):
                status = _status(code)
                if status in waiting:
                    waiting[status].write(draw(one, code, STATUSES[status]) + "\n")
                elif status in statuses:
                    yield draw(one, code, STATUSES[status])
            for file in waiting.values():
                file.seek(0)
                yield from (line[:-1] for line in file)


def run(args: argparse.Namespace) -> int:
    """Read the codes, then go through the batch again for each status."""
    from sc.codes import read_codes
    from sc.documents import read_batch
    from sc.storage import open_storage

    statuses = _statuses(args.status)
    storage = open_storage()
    batch = read_batch(
        args.file,
        remote_output_path=args.remote_output_path,
        fetch=storage.get_file,
        tell=lambda line: say(f"sc: {line}"),
    )
    found = read_codes(storage, batch.remote_output_path, batch.runs)
    codes, table = _look_up(batch, found, statuses)
    summary = Summary(batch, codes)
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
    for word in filter(None, str(text).replace(" ", "").split(",")):
        if word not in STATUSES:
            near = difflib.get_close_matches(word, STATUSES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--status {word!r} is none of {', '.join(STATUSES)}{hint}")
        chosen.append(STATUSES.index(word))
    return sorted(set(chosen))


def _status(code: int) -> int:
    if code == 0:
        return _COMPLETED
    return _INCOMPLETE if code < 0 else _FAILED


def _look_up(batch: Batch, found: Codes, statuses: list[int]) -> tuple[array[int], Table]:
    """Every run's code, and a table that knows how wide its columns will be."""
    from sc.reports import Table

    codes, table = array("h"), Table(*_HEADERS)
    for one in batch.runs:
        known = found.code(one.remote_output_path)
        code = -1 if known is None else known
        codes.append(code)
        status = _status(code)
        if status in statuses:
            table.measure(_cells(one, code, STATUSES[status]))
    return codes, table


def _rows(summary: Summary, table: Table, statuses: list[int]) -> Iterator[str]:
    """The table, line by line."""
    yield from table.head()
    yield from summary.ordered(statuses, lambda *run: table.row(_cells(*run)))


def _cells(one: Run, code: int, status: str) -> tuple[str, ...]:
    from sc.model import command_text
    from sc.reports import printable

    shown = "" if code < 0 else str(code)
    return status, shown, printable(one.remote_output_path), printable(command_text(one.cmd))


def _json(summary: Summary, statuses: list[int]) -> Iterator[str]:
    """One object, a line for each run."""
    from sc.reports import json_line

    yield f'{{"counts": {json_line(summary.counts())},'
    yield ' "runs": ['
    held = ""
    for line in summary.ordered(statuses, _json_run):
        if held:
            yield held + ","
        held = line
    if held:
        yield held
    yield " ]}"


def _json_run(one: Run, code: int, status: str) -> str:
    from sc.reports import json_line

    document = {
        "status": status,
        "status_code": None if code < 0 else code,
        "remote_output_path": one.remote_output_path,
        "cmd": one.cmd,
    }
    return "  " + json_line(document)


def _tell(summary: Summary, garbage: int) -> None:
    from sc.reports import counts, runs

    say(f"sc: {runs(len(summary.codes))}: {counts(summary.counts())}")
    if garbage:
        say(
            f"sc: {runs(garbage)} left something else than a code in status_code: told as incomplete"
        )
