"""`sc rerun`: some runs of a batch again, here, before one's eyes."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from array import array
from collections.abc import Iterator, Mapping
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from sc import paths
from sc.commands import at_hand
from sc.commands.consent import add_yes
from sc.commands.voice import conclude, tell, to_reader
from sc.errors import ExitCode, InputError
from sc.model import NOTHING_GIVEN, Given

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.executor import Plan
    from sc.model import Outcome, Run
    from sc.staging import Job
    from sc.storage import Storage

EXAMPLES = """
Examples:
  sc rerun batch.yaml 0              run 0 again, here; nothing is stored
  sc rerun batch.yaml first --shell  a shell with the run's environment, its command in $SC_CMD
  sc rerun batch.yaml --failed       all that failed, one after the other
  sc rerun batch.yaml --failed --incomplete --save   and keep what comes of it, as sc batch would

BATCH is a batch file, a commands folder of split, or a job's URL; RUN a number, an output path, or
the end of one. A run gets the same variables as on the job's machines, those of the job's recipe
included. Commands of a job's URL, and settings that come from a bucket, are shown, and asked about
once, if no batch or recipe in this folder says the same; without a terminal they need --yes. Exit
code: 0 all of them completed, 1 some failed (each run's own code is told), 2 bad input, 3 the
storage said no, or with --save somebody else executes a run, 130 interrupted; with --shell 0.
"""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc rerun`."""
    parser = subparsers.add_parser("rerun", description=EXAMPLES)
    parser.add_argument("batch", metavar="BATCH", help=at_hand.HELP)
    parser.add_argument("runs", metavar="RUN", nargs="*", help="a number, a path, or its end")
    parser.add_argument("--failed", action="store_true", help="the runs that failed")
    parser.add_argument("--incomplete", action="store_true", help="the runs that have not ended")
    parser.add_argument(
        "--shell", action="store_true", help="a shell in the run's place, instead of the run"
    )
    parser.add_argument(
        "--save", action="store_true", help="replace what is stored of them, as sc batch would"
    )
    add_yes(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="an object: runs (remote_output_path, status_code, before, cause, seconds), "
        "completed, failed, exit_code; what runs print then goes to stderr",
    )
    return parser


class Chosen(NamedTuple):
    """What is to be done again."""

    runs: Iterator[Run]
    number: int
    before: Mapping[str, Optional[int]]
    """How each of them ended, where that was asked."""


class Around(NamedTuple):
    """What the job gives to its runs."""

    environment: Mapping[str, str]
    working_directory: Optional[str]
    given: Given = NOTHING_GIVEN
    """What of it the recipe says, as it is written there."""


def run(args: argparse.Namespace) -> int:
    """Choose, then run or open a shell."""
    from sc.executor.tree import check_system
    from sc.storage import open_storage

    _check(args)
    if not args.shell:
        check_system()
    storage = open_storage()
    meant = at_hand.read_at_hand(args.batch, storage)
    chosen = _chosen(args, meant, storage)
    if not chosen.number:
        tell("there is nothing to run again")
        return ExitCode.OK
    found = at_hand.last_job(meant, storage)
    chosen = _granted(args, meant, chosen, found, storage)
    around = _around(found)
    if args.shell:
        from sc.commands.run_shell import open_shell

        return open_shell(next(chosen.runs), around.environment, around.working_directory)
    return _rerun(args, meant, chosen, around, storage)


def _check(args: argparse.Namespace) -> None:
    if not (args.runs or args.failed or args.incomplete):
        raise InputError("rerun: say which runs: RUN …, --failed, --incomplete or both of these")
    if args.runs and (args.failed or args.incomplete):
        raise InputError("rerun: name runs, or choose them by --failed and --incomplete, not both")
    if args.shell and (args.save or args.json or len(args.runs) != 1):
        raise InputError("rerun: --shell takes one RUN, and neither --save nor --json")


def _chosen(args: argparse.Namespace, meant: at_hand.AtHand, storage: Storage) -> Chosen:
    from sc.codes import CHANGED
    from sc.finding import find_runs
    from sc.reports import another_command
    from sc.standing import read_codes_now

    batch = meant.batch
    if args.runs:
        found = [one.run for one in find_runs(batch.runs, len(batch.runs), args.runs)]
        before = {one.remote_output_path: _before(one, meant, storage) for one in found}
        return Chosen(iter(found), len(found), before)
    codes = read_codes_now(storage, batch, meant.given)
    if codes.count(CHANGED):
        done = (
            "run again" if args.incomplete else "not failed but incomplete; --incomplete takes them"
        )
        tell(f"{another_command(codes.count(CHANGED))}: {done}")
    marks, before = bytearray(), {}
    for one, code in zip(batch.runs, codes):
        is_wanted = args.incomplete if code < 0 else bool(args.failed and code)
        marks.append(is_wanted)
        if is_wanted:
            before[one.remote_output_path] = code if code >= 0 else None
    return Chosen(compress(batch.runs, marks), sum(marks), before)


def _before(one: Run, meant: at_hand.AtHand, storage: Storage) -> Optional[int]:
    """How the run has ended, if it has; what another command has left is told."""
    from sc.codes import CHANGED, read_code
    from sc.standing import read_judged

    ended = read_code(storage, one.remote_output_path)
    if ended is None or ended.known is None:
        return None
    judged = read_judged(storage, one, ended.known, meant.given)
    if judged.code == CHANGED:
        tell(f"{one.remote_output_path}: {judged.remark}")
        return None
    return ended.known


def _granted(
    args: argparse.Namespace,
    meant: at_hand.AtHand,
    chosen: Chosen,
    found: Optional[tuple[str, Job]],
    storage: Storage,
) -> Chosen:
    """The same runs, if they may be executed here. Raises InputError if not."""
    from sc.commands.consent import Foreign, ask, is_at_hand

    if args.yes:
        return chosen
    runs: list[Run] = []
    if at_hand.is_job(args.batch):
        runs = list(chosen.runs)
        chosen = chosen._replace(runs=iter(runs))
    typed, _, _ = (meant.job_url or "").rpartition(f"/{paths.JOBS}/")
    if (not runs or is_at_hand(runs, typed)) and _is_ours(meant, found, storage, bool(runs)):
        return chosen
    url, job = found or (args.batch, None)
    options = [f"--{name}" for name in ("failed", "incomplete", "shell", "save", "json")]
    given = [option for option in options if getattr(args, option[2:])]
    foreign = Foreign(
        url,
        runs,
        chosen.number,
        job.environment_variables if job else {},
        (job.working_directory or job.folder) if job else None,
    )
    ask(foreign, False, ["rerun", args.batch, *args.runs, *given])
    return chosen


def _is_ours(
    meant: at_hand.AtHand, found: Optional[tuple[str, Job]], storage: Storage, is_by_url: bool
) -> bool:
    """Whether what the job gives to its runs is known here, or given by nobody but us."""
    from sc.commands.consent import is_given_at_hand, is_own_file

    if found is None:
        return True
    url, job = found
    if not is_by_url and is_own_file(storage.local_path(paths.recipe(url))):
        return True
    is_folder_known = job.folder in ("", os.getcwd(), meant.folder) or not os.path.isdir(job.folder)
    is_known = not is_by_url and meant.given == job.given
    return is_folder_known and (is_known or is_given_at_hand(job.given))


def _around(found: Optional[tuple[str, Job]]) -> Around:
    """The environment of the job's recipe, and where its runs begin if that folder is here too."""
    from sc.commands.work import look_up
    from sc.worker.preparing import read_environment

    if found is None:
        return Around({}, None)
    url, job = found
    environment = read_environment(job.environment_variables, look_up)
    home = job.folder if os.path.isdir(job.folder) else ""
    written = os.path.expanduser(job.working_directory or "")
    folder = os.path.join(home, written) or None
    if folder is not None and not os.path.isdir(folder):
        tell(f"the job's working_directory {folder} is not here; runs begin in {os.getcwd()}")
        folder = None
    if environment:
        tell(f"with the {len(environment)} environment variables of {url}")
    return Around(environment, None if folder is None else os.path.abspath(folder), job.given)


class _Told:
    """What is said of the runs, and kept of their ends."""

    def __init__(self, before: Mapping[str, Optional[int]], as_json: bool) -> None:
        self.codes = array("h")
        self.documents: list[dict[str, Any]] = []
        self._before = before
        self._as_json = as_json

    def echo(self, stream: str, data: bytes) -> None:
        """What a run prints, as it is."""
        target = sys.stderr if self._as_json or stream == "stderr" else sys.stdout
        with to_reader():
            target.flush()
            target.buffer.write(data)
            target.buffer.flush()

    def begin(self, one: Run) -> None:
        from sc.model import command_text

        tell(f"{one.remote_output_path}: {command_text(one.cmd)}")

    def end(self, outcome: Outcome) -> None:
        from sc.commands.log_following import outcome as words

        path, code = outcome.remote_output_path, outcome.code
        if outcome.cause == "interrupted":
            return
        self.codes.append(-1 if code is None else code)
        before = self._before.get(path)
        told = words(code) if code is not None else outcome.reason or outcome.cause
        was = (
            ""
            if before is None
            else ", as before"
            if before == code
            else f"; before: {words(before)}"
        )
        remark = f"; {outcome.reason}" if code is not None and outcome.reason else ""
        tell(f"{path}: {told}{was}{remark}")
        if self._as_json:
            document = {
                "remote_output_path": path,
                "status_code": code,
                "before": before,
                "cause": outcome.cause,
                **({"reason": outcome.reason} if outcome.reason else {}),
                "seconds": round(outcome.ended - outcome.started, 3),
            }
            self.documents.append(document)


def _rerun(
    args: argparse.Namespace,
    meant: at_hand.AtHand,
    chosen: Chosen,
    around: Around,
    storage: Storage,
) -> int:
    from sc.commands import running_again
    from sc.executor.removal import temporary_folder

    told = _Told(chosen.before, args.json)
    with temporary_folder("sc-rerun-", tell) as folder:
        plan = _plan(around, folder)
        way = running_again.and_save if args.save else running_again.and_forget
        code = way(plan, meant, chosen.runs, chosen.before, storage, folder, told)
    completed = told.codes.count(0)
    failed = len(told.codes) - completed
    if code == ExitCode.OK and failed:
        code = ExitCode.RUNS_FAILED
    if args.json:
        from sc.reports import json_line

        counts = {"completed": completed, "failed": failed, "exit_code": int(code)}
        conclude(json_line({"runs": told.documents, **counts}))
    if chosen.number > 1:
        tell(f"{completed:,} completed, {failed:,} failed, of {chosen.number:,}")
    return code


def _plan(around: Around, folder: str) -> Plan:
    from sc.executor import Plan
    from sc.executor.gpus import find_gpus

    return Plan(
        nprocs=1,
        machine=socket.gethostname(),
        gpus=find_gpus(os.environ, tell=tell),
        environment=around.environment,
        given=around.given,
        working_directory=around.working_directory,
        temp_folder=folder,
    )
