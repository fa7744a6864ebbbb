"""`sc split`: cut a batch into parts for many machines, and start them if asked to."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Optional

from sc import commands_folder, paths
from sc.commands.arguments import add_max_failures, add_on_end, at_least
from sc.commands.cutting import Cut, prepare, write
from sc.commands.following import after_start, follow_started, recipe_of
from sc.commands.longest import add_keep_order, tell_order
from sc.commands.starting import Intended, Work, check_here, intend, start, tell_keys
from sc.commands.voice import command_line, result, say, tell
from sc.errors import ExitCode, ScError
from sc.widths import Widths

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.storage import Storage

EXAMPLES = f"""
Examples:
  sc split recipe.yaml batch.yaml                      parts and a recipe in {commands_folder.DEFAULT}
  sc split recipe.yaml batch.yaml work --start --wait  in ./work; start it, and stay until its end
  sc split recipe.yaml batch.yaml --instance-type r6a.xlarge --scale 20 --sync . --start
  sc split recipe.yaml batch.yaml --skip-completed     only what is not completed yet
  sc split recipe.yaml batch.yaml --dry-run            say what would be done, and do nothing

Cuts a batch into parts, each of which one machine executes at a time, and writes them as 0.json,
1.json … with a recipe.yaml into COMMANDS_DIR. Everything is scheduled unless an option skips it.
A run whose command, folder, environment or GPUs have changed since it ended is never skipped.
"""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc split`."""
    parser = subparsers.add_parser("split", description=EXAMPLES)
    parser.add_argument("recipe", metavar="RECIPE", help="says on which machines (YAML or JSON)")
    parser.add_argument("batch", metavar="BATCH", help="says what to run: a path, s3://…, or -")
    parser.add_argument(
        "commands_dir",
        metavar="COMMANDS_DIR",
        nargs="?",
        help=f"where parts and recipe are written ({commands_folder.DEFAULT})",
    )
    add = parser.add_argument_group("instead of what recipe and batch say").add_argument
    add("--name", help="of the job")
    add("--remote-output-path", metavar="PLACE", help="of the batch")
    add("--instance-type", metavar="TYPE", help="'sc options' lists them")
    add("--nprocs", metavar="N", type=at_least(1), help="runs at a time per machine")
    add("--scale", metavar="N", type=at_least(1), help="machines at most")
    add = parser.add_argument_group("which runs, and how many to a part").add_argument
    add("--skip-completed", action="store_true", help="leave out the runs that completed")
    add("--skip-failures", action="store_true", help="leave out the runs that failed")
    add("--max-jobs", metavar="N", type=at_least(-1), help="take N runs at most (-1: all)")
    per_part = "runs per part (3 x nprocs, fewer towards the end)"
    add_keep_order(add)
    add("--batch-size", metavar="N", type=at_least(1), help=per_part)
    _add_folders(parser)
    add = parser.add_argument_group("and then").add_argument
    add("--start", action="store_true", help="start the machines")
    add("--wait", action="store_true", help="with --start: stay until the job has ended")
    add_max_failures(add)
    add_on_end(add)
    add("--dry-run", action="store_true", help="check and tell, and change nothing")
    add("--json", action="store_true", help="what was done, as one JSON object on stdout")
    return parser


def _add_folders(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("folders").add_argument
    add("--local-commands-directory", metavar="DIR", help="the same as COMMANDS_DIR")
    where = "where the commands of the written recipe look for the parts (COMMANDS_DIR)"
    add("--remote-commands-directory", metavar="DIR", help=where)
    sync = "a folder that each machine gets before its first run; repeatable"
    add("--sync", metavar="SRC[:DEST]", action="append", default=[], help=sync)
    kept = "where synced folders are kept (in the job's place)"
    add("--file-syncs-base-dir-url", metavar="PLACE", help=kept)


def run(args: argparse.Namespace) -> int:
    """Read and check everything, then write, then start."""
    from sc.storage import open_storage

    storage = open_storage()
    cut = prepare(args, storage)
    _tell_selection(cut)
    with TemporaryDirectory(prefix="sc-") as packing:
        intended = _intended(args, cut, storage, packing)
        _write_and_start(args, cut, intended)
    _tell_cut(args, cut)
    if intended is None or args.dry_run:
        _tell_next(args, cut)
        return ExitCode.OK
    recipe = recipe_of(cut.folder)
    return follow_started(intended, args, recipe) if args.wait else after_start(intended, recipe)


def _intended(
    args: argparse.Namespace, cut: Cut, storage: Storage, packing: str
) -> Optional[Intended]:
    """The job that --start asks for, checked; None if there is nothing to start."""
    if not args.start or not cut.sizes:
        return None
    check_here(cut.file.recipe)
    batch = cut.batch
    work = Work(
        batch.remote_output_path,
        batch.nprocs,
        len(cut.sizes),
        cut.selection.included,
        cut.sync,
        args.file_syncs_base_dir_url or "",
        args.max_failures,
        batch.gpus,
        lambda: (run.remote_output_path for run in cut.selection.runs),
        os.getcwd(),
        Widths(batch.width, cut.file.width),
    )
    intended = intend(cut.file.recipe, work, storage, packing)
    if not args.dry_run:
        tell_keys(cut.file.recipe, args.wait)
    return intended


def _write_and_start(args: argparse.Namespace, cut: Cut, intended: Optional[Intended]) -> None:
    """The first machines start when the first parts are written, and the others follow them."""
    if args.dry_run:
        return
    parts = write(args, cut)
    try:
        if intended is not None:
            start(intended, parts, tell)
    except ScError:
        _exhaust(parts)  # so that 'sc apply' can try again
        raise
    _exhaust(parts)


def _exhaust(parts: Iterator[bytes]) -> None:
    for _ in parts:
        pass


def _tell_selection(cut: Cut) -> None:
    """In the words of the system that this one follows."""
    from sc.reports import runs

    chosen = cut.selection
    say(f"sc: including {runs(chosen.included)} of {len(cut.batch.runs):,}")
    if chosen.skipped_completed:
        say(
            f"sc: skipping {chosen.skipped_completed:,} completed {_noun(chosen.skipped_completed)}"
        )
    if chosen.skipped_failed:
        say(f"sc: skipping {chosen.skipped_failed:,} failed {_noun(chosen.skipped_failed)}")
    if chosen.changed:
        say(f"sc: {runs(chosen.changed)} ended with another command than now: included again")
    if chosen.beyond_max_jobs:
        say(f"sc: leaving out {runs(chosen.beyond_max_jobs)} because of --max-jobs")
    tell_order(cut.times, say)


def _noun(count: int) -> str:
    return "run" if count == 1 else "runs"


def _tell_cut(args: argparse.Namespace, cut: Cut) -> None:
    from sc.reports import parts

    if cut.sizes:
        written = "would be written" if args.dry_run else "written"
        largest = max(cut.sizes)
        say(f"sc: {parts(len(cut.sizes))} of at most {largest:,} {written} to {cut.folder}")
    if args.json:
        _tell_json(args, cut)


def _tell_next(args: argparse.Namespace, cut: Cut) -> None:
    """The command that starts the work, to be pasted."""
    from sc.reports import printable

    if not cut.sizes:
        say("sc: nothing is left to be run")
    elif not args.dry_run:
        line = command_line("apply", recipe_of(cut.folder), "--start")
        if args.json:
            say(f"sc: start it with: {line}")
        else:
            say("sc: start it with:")
            result(printable(line))


def _tell_json(args: argparse.Namespace, cut: Cut) -> None:
    from sc.reports import json_line

    chosen, name = cut.selection, cut.file.recipe.name
    document = {
        "name": name,
        "job_url": paths.job(cut.batch.remote_output_path, name),
        "runs": len(cut.batch.runs),
        "included": chosen.included,
        "skipped_completed": chosen.skipped_completed,
        "skipped_failed": chosen.skipped_failed,
        "changed": chosen.changed,
        "beyond_max_jobs": chosen.beyond_max_jobs,
        "parts": len(cut.sizes),
        "recipe": os.path.join(os.path.abspath(cut.folder), commands_folder.RECIPE),
        "written": not args.dry_run,
    }
    result(json_line(document))
