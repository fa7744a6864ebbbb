"""`sc pull`: the outputs of a batch, in a folder of this machine."""

from __future__ import annotations

import argparse
import os
import time
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sc.codes import CHANGED
from sc.commands import at_hand
from sc.commands.progress import Progress
from sc.commands.voice import is_terminal, result, tell
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.model import Batch
    from sc.pulling import Problem, Pulled
    from sc.storage import Storage

EXAMPLES = """
Examples:
  sc pull batch.yaml outputs                          everything, below ./outputs
  sc pull batch.yaml failures --failed                of the runs that failed
  sc pull batch.yaml outputs --only results           only what runs left in their results folders
  sc pull s3://bucket/out/.sc/backfill outputs --only stdout --only stderr

BATCH is a batch file, a commands folder of split, or a job's URL. A second pull into the same folder
fetches what has changed since. Of runs that were executed again it removes what an earlier pull had
fetched and they have no more; all else in the folder stays. What the storage does not give (archived, forbidden)
is told at the end, and keeps nothing else from coming. Exit code: 0 all of it is there, 2 bad input,
3 the storage said no to some of it, or a name cannot be kept in a folder; 130 interrupted.
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
        help="an object: runs, objects, fetched, bytes, unchanged, gone, removed, unplaced, refused, unlisted, "
        "problems (reason, count, examples), runs_with_changed_command, seconds",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Find the runs, fetch what they left, tell."""
    from sc.pulling import Pull
    from sc.pulling.selection import Selection
    from sc.storage import open_storage

    only = _kinds(args.only)
    storage = open_storage()
    meant = at_hand.read_at_hand(args.batch, storage, args.remote_output_path)
    batch = meant.batch
    codes = _codes(storage, meant, args.failed)

    def runs() -> Iterator[str]:
        return _failed(batch, codes) if args.failed else _all(batch)

    selection = Selection(batch.remote_output_path, runs(), len(batch.runs), only)
    shown = _Shown(Progress(is_terminal(os.environ)))
    pull = Pull(storage, open_storage, selection, os.path.abspath(args.dest), shown.show, runs)
    changed = _changed(batch, codes)
    try:
        pulled = pull.run()
    except BaseException:
        shown.progress.clear()
        tell(f"{pull.pulled.fetched:,} objects were fetched; call it again for the rest")
        _tell_json(args, selection.runs, pull.pulled, changed, shown.elapsed())
        raise
    finally:
        shown.progress.clear()
    _tell(args, selection.runs, pulled, changed, shown.elapsed())
    return ExitCode.OK if pulled.is_all else ExitCode.REFUSED


def _kinds(words: list[str]) -> list[str]:
    from sc.pulling.selection import KINDS

    chosen = [word for text in words for word in text.replace(" ", "").split(",") if word]
    for word in chosen:
        if word not in KINDS:
            raise InputError(f"--only {word!r} is none of {', '.join(KINDS)}")
    return chosen


def _all(batch: Batch) -> Iterator[str]:
    return (run.remote_output_path for run in batch.runs)


def _failed(batch: Batch, codes: array[int]) -> Iterator[str]:
    return (run.remote_output_path for run, code in zip(batch.runs, codes) if code > 0)


def _changed(batch: Batch, codes: array[int]) -> Problem:
    """The runs whose outputs are those of another command."""
    from sc.pulling import Problem

    changed = Problem()
    for run, code in zip(batch.runs, codes) if CHANGED in codes else ():
        if code == CHANGED:
            changed.add(run.remote_output_path)
    return changed


def _codes(storage: Storage, meant: at_hand.AtHand, wants_failed: bool) -> array[int]:
    """As `read_codes_now` has them; empty where nobody asks for failures, and all runs are what they were.

    To read the records is a small part of a pull, and to list all once more would be a large one.
    """
    from sc.codes import read_codes
    from sc.standing import read_codes_now, read_commands

    batch = meant.batch
    if wants_failed:
        return read_codes_now(storage, batch, meant.given)
    commands = read_commands(storage, batch, given=meant.given)
    if commands.is_empty or not any(map(commands.is_another, batch.runs)):
        return array("h")
    return commands.codes_now(read_codes(storage, batch.remote_output_path, batch.runs))


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


def _tell(
    args: argparse.Namespace, runs: int, pulled: Pulled, changed: Problem, seconds: float
) -> None:
    from sc import reports

    _tell_json(args, runs, pulled, changed, seconds)
    if changed.count:
        tell(f"{reports.another_command(changed.count)}:")
        _tell_some(changed)
    for reason, problem in pulled.problems.items():
        tell(f"{problem.count:,} not fetched: {reason}")
        _tell_some(problem)
    told = f"{pulled.fetched:,} objects fetched ({size(pulled.bytes)})"
    unchanged = f", {pulled.unchanged:,} were here already" if pulled.unchanged else ""
    gone = f", {pulled.gone:,} were removed meanwhile" if pulled.gone else ""
    removed = f", {pulled.removed:,} removed here that their runs have no more"
    gone += removed if pulled.removed else ""
    missing = pulled.refused + pulled.unplaced
    gone += f", {missing:,} not fetched" if missing else ""
    gone += ", and some could not even be listed" if pulled.unlisted else ""
    tell(f"{told}{unchanged}{gone}, of {reports.runs(runs)}, in {reports.duration(seconds)}")


def _tell_some(told: Problem) -> None:
    for name in told.examples:
        tell(f"  {name}")
    if told.count > len(told.examples):
        tell(f"  … and {told.count - len(told.examples):,} more")


def _tell_json(
    args: argparse.Namespace, runs: int, pulled: Pulled, changed: Problem, seconds: float
) -> None:
    """The object of `--json`, also of a pull that was ended before all was here."""
    from sc import reports

    if not args.json:
        return
    problems = [{"reason": reason, **vars(one)} for reason, one in pulled.problems.items()]
    numbers = {**vars(pulled), "runs_with_changed_command": changed.count, "problems": problems}
    result(reports.json_line({"runs": runs, **numbers, "seconds": round(seconds, 3)}))
