"""`sc pull`: the outputs of a batch, in a folder of this machine."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sc.commands import at_hand
from sc.commands.progress import Progress
from sc.commands.voice import is_terminal, result, tell
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.model import Batch
    from sc.pulling import Pulled
    from sc.storage import Storage

EXAMPLES = """
Examples:
  sc pull batch.yaml outputs                          everything, below ./outputs
  sc pull batch.yaml failures --failed                of the runs that failed
  sc pull batch.yaml outputs --only results           only what runs left in their results folders
  sc pull s3://bucket/out/.sc/backfill outputs --only stdout --only stderr

BATCH is a batch file, a commands folder of split, or a job's URL. A second pull into the same folder
fetches what has changed since. Of runs that were executed again it removes what an earlier pull had
fetched and they have no more; all else in the folder stays. Exit code: 0 all of it is there, 2 bad input,
3 the storage said no, or a name cannot be kept in a folder; 130 interrupted.
"""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc pull`."""
    parser = subparsers.add_parser("pull", description=EXAMPLES)
    parser.add_argument("batch", metavar="BATCH", help=at_hand.HELP)
    parser.add_argument("dest", metavar="DEST", help="a folder, made if it is not there")
    parser.add_argument("--failed", action="store_true", help="only the runs that failed")
    parser.add_argument(
        "--only",
        metavar="WHAT,…",
        action="append",
        default=[],
        help="results, stdout, stderr, status_code or attempts; repeatable",
    )
    parser.add_argument(
        "--remote-output-path", metavar="PLACE", help="instead of the one that the batch names"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="an object: runs, objects, fetched, bytes, unchanged, gone, removed, unplaced, seconds",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Find the runs, fetch what they left, tell."""
    from sc.pulling import Pull
    from sc.pulling.selection import Selection
    from sc.storage import open_storage

    only = _kinds(args.only)
    storage = open_storage()
    batch = at_hand.read_at_hand(args.batch, storage, args.remote_output_path).batch
    runs = _failed(storage, batch) if args.failed else lambda: _all(batch)
    selection = Selection(batch.remote_output_path, runs(), len(batch.runs), only)
    shown = _Shown(Progress(is_terminal(os.environ)))
    pull = Pull(storage, open_storage, selection, os.path.abspath(args.dest), shown.show, runs)
    try:
        pulled = pull.run()
    except BaseException:
        shown.progress.clear()
        tell(f"{pull.pulled.fetched:,} objects were fetched; call it again for the rest")
        raise
    finally:
        shown.progress.clear()
    _tell(args, selection.runs, pulled, shown.elapsed())
    return ExitCode.REFUSED if pulled.unplaced else ExitCode.OK


def _kinds(words: list[str]) -> list[str]:
    from sc.pulling.selection import KINDS

    chosen = [word for text in words for word in text.replace(" ", "").split(",") if word]
    for word in chosen:
        if word not in KINDS:
            raise InputError(f"--only {word!r} is none of {', '.join(KINDS)}")
    return chosen


def _all(batch: Batch) -> Iterator[str]:
    return (run.remote_output_path for run in batch.runs)


def _failed(storage: Storage, batch: Batch) -> Callable[[], Iterator[str]]:
    from sc.codes import each_code, read_codes

    codes = read_codes(storage, batch.remote_output_path, batch.runs)
    return lambda: (run.remote_output_path for run, code in each_code(codes, batch.runs) if code)


class _Shown:
    """Draws how far it is."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._since = time.monotonic()
        self._next = 0.0

    def elapsed(self) -> float:
        return time.monotonic() - self._since

    def show(self, pulled: Pulled) -> None:
        from sc import reports

        elapsed = self.elapsed()
        if elapsed < self._next:
            return
        told = [f"{pulled.fetched:,} objects fetched", size(pulled.bytes)]
        if pulled.unchanged:
            told.append(f"{pulled.unchanged:,} were here already")
        if pulled.fetched and elapsed > 1:
            told.append(reports.rate(pulled.fetched / elapsed))
        self._next = elapsed + self.progress.show(f"sc: {', '.join(told)}", elapsed)


def size(count: int) -> str:
    """Bytes in the unit that suits: `312 bytes`, `4.2 MB`."""
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return (
        f"{value:,.0f} {units[0]}"
        if value >= 100 or units[0] == "bytes"
        else f"{value:.1f} {units[0]}"
    )


def _tell(args: argparse.Namespace, runs: int, pulled: Pulled, seconds: float) -> None:
    from sc import reports

    if args.json:
        numbers = {name: value for name, value in vars(pulled).items() if name != "problems"}
        document = {"runs": runs, **numbers, "seconds": round(seconds, 3)}
        result(reports.json_line(document))
    for problem in pulled.problems:
        tell(problem)
    if pulled.unplaced > len(pulled.problems):
        tell(f"… and {pulled.unplaced - len(pulled.problems):,} more like these")
    told = f"{pulled.fetched:,} objects fetched ({size(pulled.bytes)})"
    unchanged = f", {pulled.unchanged:,} were here already" if pulled.unchanged else ""
    gone = f", {pulled.gone:,} were removed meanwhile" if pulled.gone else ""
    removed = f", {pulled.removed:,} removed here that their runs have no more"
    gone += removed if pulled.removed else ""
    tell(f"{told}{unchanged}{gone}, of {reports.runs(runs)}, in {reports.duration(seconds)}")
