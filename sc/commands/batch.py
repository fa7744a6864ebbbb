"""`sc batch`: run a batch on this machine."""

from __future__ import annotations

import argparse
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from sc import paths
from sc.commands.arguments import add_max_failures, at_least
from sc.commands.leasing import leased
from sc.commands.longest import add_keep_order, known_times, tell_order
from sc.commands.progress import Progress
from sc.commands.signals import ended_politely
from sc.commands.voice import command_line, conclude, is_terminal, say
from sc.errors import ExitCode, InputError, StorageError

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.executor import Ending, Gauge, Plan
    from sc.feed import BatchFeed, Tally
    from sc.model import Batch, Outcome, Run
    from sc.storage import Storage
    from sc.strangers import Own

EXAMPLES = """
Examples:
  sc batch batch.yaml                     as many runs at a time as this machine has GPUs, or vCPUs
  sc batch batch.yaml --nprocs 4          four at a time
  sc batch s3://bucket/commands/0.json    a batch that lies in S3
  seq 9 | sed 's/^/echo /' | sc batch - --remote-output-path out

Runs every command of a batch here. What each printed and made goes below its output path: stdout,
stderr, results/, and last of all status_code. Exit code: 0 all runs completed, 1 some failed,
2 bad input, 3 the storage said no or somebody else executes a run of it, 130 interrupted.
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CHECKED_RUNS = 1000
STOPPING_SECONDS = 0.5
"""Between two looks at what is still being stored after an interrupt."""
INTERRUPTED_SECONDS = 1.0
"""For the last records, where somebody waits for the end; outputs have had their time before."""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc batch`."""
    parser = subparsers.add_parser("batch", description=EXAMPLES)
    parser.add_argument(
        "file", metavar="FILE", help="the batch: a path, s3://…, or - for standard input"
    )
    parser.add_argument("--nprocs", metavar="N", type=at_least(1), help="runs at a time")
    parser.add_argument(
        "--remote-output-path", metavar="PLACE", help="instead of the one that the batch names"
    )
    parser.add_argument(
        "--name", metavar="NAME", default="batch", help="under which records are kept (batch)"
    )
    parser.add_argument(
        "--max-jobs", metavar="N", type=at_least(1), help="the first N runs of the batch only"
    )
    add_keep_order(parser.add_argument)
    add_max_failures(parser.add_argument)
    parser.add_argument(
        "--json", action="store_true", help="the counts as one JSON object on stdout"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress; only what went wrong")
    return parser


def run(args: argparse.Namespace) -> int:
    """Check, execute, tell."""
    from sc.documents import read_batch
    from sc.executor.tree import check_system
    from sc.storage import open_storage

    check_name(args.name)
    check_system()
    storage = open_storage()
    batch = read_batch(
        args.file,
        remote_output_path=args.remote_output_path,
        nprocs=args.nprocs,
        fetch=storage.get_file,
        tell=lambda line: say(f"sc: {line}"),
    )
    plan = _plan(batch, _gpus(args, batch))
    check_places(storage, batch)
    return _execute(args, batch, storage, plan)


def check_name(name: str) -> None:
    """Raises InputError for what cannot name a job."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--name {name!r}: a name is 1 to 63 of letters, digits, '.', '_' and '-', "
            "and begins with a letter or digit"
        )


def check_places(storage: Storage, batch: Batch) -> None:
    """Prove that outputs can be stored: below the batch's place, and wherever else the first runs want to go."""
    storage.check(batch.remote_output_path)
    inside = paths.join(batch.remote_output_path, "")
    others = {
        root(run.remote_output_path): run.remote_output_path
        for run in islice(batch.runs, _CHECKED_RUNS)
        if not run.remote_output_path.startswith(inside)
    }
    for place in list(others.values())[:20]:
        storage.check(place)


def root(place: str) -> str:
    """What places have in common that can be used, or not, together: the bucket, or the folder above."""
    if place.startswith("s3://"):
        return "/".join(place.split("/", 3)[:3])
    return place.rpartition("/")[0]


def _execute(args: argparse.Namespace, batch: Batch, storage: Storage, plan: Plan) -> int:
    from sc.errands import Errands
    from sc.executor.loop import execute
    from sc.feed import BatchFeed, Tally
    from sc.halting import limit_of
    from sc.leases import Runs
    from sc.records import Records
    from sc.storage import open_storage
    from sc.strangers import Own

    place = batch.remote_output_path
    total = min(len(batch.runs), args.max_jobs or len(batch.runs))
    tally = Tally(total=total, limit=limit_of(args.max_failures, total))
    shown = _Shown(Progress(is_terminal(os.environ), args.quiet))
    shown.progress.tell(f"sc: {_runs(total)}, {plan.nprocs} at a time, into {place}")
    runs = _ordered(args, batch, storage, total, shown.progress.tell)
    errands, execution = Errands(open_storage), worker_id()
    url = paths.job(place, args.name)
    to_lease = Runs(place, partial(_output_paths, batch, total))
    try:
        errands.begin()
        with leased(storage, url, execution, to_lease, errands) as lease:
            records, own = Records(url, execution), Own(url, execution)
            fresh = _fresh(storage, place)
            feed = BatchFeed(
                runs, tally, storage, errands, records, shown.show, fresh, place, lease, own
            )
            ending = execute(plan, feed, open_storage)
            shown.progress.clear()
            _look_for_removed(storage, own, batch, tally, ending)
            _keep_last_records(feed, ending)
    finally:
        shown.progress.clear()
        errands.close()
    if feed.records_trouble:
        say(f"sc: the records of this work could not be kept: {feed.records_trouble}")
    _tell(args, tally, ending, shown.elapsed())
    if feed.trouble:
        raise StorageError(feed.trouble)
    return tally.exit_code(ending)


def _output_paths(batch: Batch, total: int) -> Iterator[str]:
    return (run.remote_output_path for run in islice(batch.runs, total))


def _ordered(
    args: argparse.Namespace,
    batch: Batch,
    storage: Storage,
    total: int,
    tell: Callable[[str], None],
) -> Iterable[Run]:
    """The runs that are to be executed, the longest first if that is known."""
    from sc.ordering import longest_first
    from sc.standing import read_commands

    commands = read_commands(storage, batch)
    times = known_times(args.keep_order, batch, islice(batch.runs, total), commands)
    tell_order(times, tell)
    runs = islice(batch.runs, total)
    return longest_first(runs, times.classes) if times.is_useful else runs


def _look_for_removed(
    storage: Storage, own: Own, batch: Batch, tally: Tally, ending: Ending
) -> None:
    """Outputs of runs that had ended, and that are not there any more, are told as not stored."""
    from sc.removed_outputs import ended_with_outputs

    if ending.was_interrupted or ending.reason or not tally.ended:
        return
    try:
        left = ended_with_outputs(storage, own, batch, tally.total)
    except StorageError:
        return  # which others tell
    removed = tally.completed + tally.failed - left
    if removed > 0:
        tally.tell_removed(removed)
        say(
            f"sc: the outputs of {_runs(removed)} that had ended are gone: somebody has removed them from "
            f"{batch.remote_output_path}, or moved them away, while other runs went on; run the batch again"
        )


def _keep_last_records(feed: BatchFeed, ending: Ending) -> None:
    """Whoever does not wait for it, by another Ctrl-C, is told the rest all the same."""
    from sc.feed import LAST_ERRANDS_SECONDS

    with suppress(KeyboardInterrupt), ended_politely():
        feed.finish(INTERRUPTED_SECONDS if ending.was_interrupted else LAST_ERRANDS_SECONDS)


def _fresh(storage: Storage, place: str) -> str:
    """The place, if nothing lies below it yet. Not asked of a folder: there it would help nobody."""
    from sc.staging import is_fresh

    return place if storage.local_path(place) is None and is_fresh(storage, place) else ""


def _gpus(args: argparse.Namespace, batch: Batch) -> tuple[str, ...]:
    """Those of this machine, if they matter. Raises InputError where a run asks for more."""
    from sc.executor.gpus import find_gpus

    if batch.nprocs and not batch.gpus.most:
        return ()
    gpus = find_gpus(os.environ, tell=lambda line: say(f"sc: {line}"))
    refused = batch.gpus.refusal(args.file, len(gpus), "this machine")
    if refused and any((run.gpus or 0) > len(gpus) for run in islice(batch.runs, args.max_jobs)):
        raise InputError(refused)
    return gpus


def _plan(batch: Batch, gpus: tuple[str, ...]) -> Plan:
    from sc.executor import Plan
    from sc.machine import count_vcpus, default_nprocs

    nprocs = batch.nprocs or default_nprocs(len(gpus), count_vcpus(), batch.gpus)
    return Plan(nprocs=nprocs, machine=socket.gethostname(), gpus=gpus)


def worker_id() -> str:
    """Different for each time that a batch is run, on any machine: containers that start together may have the same
    host name and process id."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-") or "host"
    return f"{host[:40]}-{int(time.time()):x}-{os.getpid()}-{os.urandom(3).hex()}"


def _runs(count: int) -> str:
    from sc.reports import runs

    return runs(count)


class _Shown:
    """Draws the progress of a tally."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._since = time.monotonic()
        self._has_told = False

    def elapsed(self) -> float:
        return time.monotonic() - self._since

    def show(self, tally: Tally, gauge: Gauge) -> float:
        from sc import reports

        elapsed = self.elapsed()
        if gauge.is_stopping and gauge.saving and not gauge.running and not self._has_told:
            self._has_told = True
            self.progress.tell(
                f"sc: stopping; the outputs of {_runs(gauge.saving)} are still being stored "
                "(another Ctrl-C ends that, and keeps them on this machine)"
            )
        counts, running = tally.counts(), len(gauge.running)
        text = reports.progress(counts, running, tally.total, elapsed, saving=gauge.saving)
        trouble = f"; {gauge.trouble}" if gauge.trouble else ""
        pause = self.progress.show(f"sc: {text}{trouble}", elapsed)
        return min(pause, STOPPING_SECONDS) if gauge.is_stopping else pause


def _tell(args: argparse.Namespace, tally: Tally, ending: Ending, seconds: float) -> None:
    """The end of it: counts, the first failures, and what was kept here."""
    from sc import reports
    from sc.halting import reason

    counts = {**tally.counts(), "not run": tally.not_run}
    code = tally.exit_code(ending)
    if args.json:
        conclude(reports.json_line(_document(tally, counts, seconds, code)))
    if not args.quiet or code != ExitCode.OK:
        ended = "interrupted" if ending.was_interrupted else "done"
        say(f"sc: {ended} in {reports.duration(seconds)}: {reports.counts(counts)}")
    if tally.is_broken and tally.not_run:
        say(f"sc: {reason(args.max_failures, tally.ended, tally.unsuccessful)}")
    for outcome in tally.failures:
        say(f"sc:   {_failure(outcome)}")
        if outcome.error_line:
            say(f"sc:     {outcome.error_line[:200]}")
    _tell_remarks(tally)
    if tally.failed:
        place = ["--remote-output-path", args.remote_output_path] if args.remote_output_path else []
        again = command_line("summarize-batch", args.file, *place, "--status", "failed")
        also = f"; all of them: {again}" if args.file != "-" else ""
        say(f"sc: stderr below each of these paths tells more{also}")
    if ending.reason and not ending.kept_runs:
        say(f"sc: nothing could be started for too long: {ending.reason}")
        say("sc: put that right, and run the batch again")
    if ending.kept_runs:
        say(
            f"sc: the files of {reports.runs(ending.kept_runs)} could not be stored ({ending.reason}) "
            f"and are kept in {ending.kept_folder}; put that right and run the batch again"
        )
    if ending.unremoved:
        say(f"sc: what runs left here {ending.unremoved}; the next 'sc batch' tries again")


def _document(
    tally: Tally, counts: Mapping[str, int], seconds: float, code: ExitCode
) -> Mapping[str, object]:
    """The object of `--json`."""
    return {
        "runs": tally.total,
        **{word.replace(" ", "_"): count for word, count in counts.items()},
        "runs_with_ended_processes": tally.ended_processes,
        "runs_with_unstored_files": tally.unstored_files,
        "seconds": round(seconds, 3),
        "exit_code": code,
    }


def _tell_remarks(tally: Tally) -> None:
    """Of runs that may well have completed: what they left running, and what could not be stored."""
    from sc import reports

    kinds = (
        (reports.remarks(tally.total, tally.ended_processes, 0), tally.with_ended_processes),
        (reports.remarks(tally.total, 0, tally.unstored_files), tally.with_unstored_files),
    )
    for remarks, outcomes in kinds:
        for remark in remarks:
            say(f"sc: {remark}: {', '.join(one.remote_output_path for one in outcomes)}")
        for outcome in outcomes:
            say(f"sc:   {outcome.remote_output_path}: {outcome.reason}")


def _failure(outcome: Outcome) -> str:
    """One failure, where it lies and why."""
    from sc.grouping import why

    return f"{outcome.remote_output_path}: {why(outcome)}"
