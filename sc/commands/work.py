"""`sc work`: take parts of a job until none is left. What machines run, and what a person may run on one more."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Optional

from sc.commands.consent import add_yes
from sc.commands.voice import say
from sc.errors import ExitCode, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sc.commands import Subparsers
    from sc.fleets.ec2_instance import InstanceSide
    from sc.worker import Surroundings, Worked
    from sc.worker.identity import Leave

EXAMPLES = """
Examples:
  sc work s3://bucket/backfill/.sc/backfill   help with a job from this machine
  sc work out/.sc/backfill --yes              the same for a job in a folder, without a question

Takes parts of a job that `sc split --start` or `sc apply --start` has begun, and runs them here until
nothing is left to take. Any number of machines may do so at the same time. Commands begin where the job was
split if that folder is here too, else where sc work is called. On a terminal, what the job's place says is
shown first, and asked about; --yes asks nothing. Exit code: 0 all runs of this machine completed, 1 some
failed, 2 it was not to be done, 3 the storage or the cloud said no, 130 interrupted.
"""
FLEETS = ("", "local", "ec2")


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc work`."""
    parser = subparsers.add_parser("work", description=EXAMPLES)
    parser.add_argument(
        "job_url", metavar="JOB_URL", help="the job's place: <remote_output_path>/.sc/<job name>"
    )
    parser.add_argument(
        "--fleet", default="", metavar="FLEET", help="who has started this machine: local, ec2"
    )
    add_yes(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Work, and leave the machine as its fleet wants it."""
    from sc.executor.tree import check_system

    if args.fleet not in FLEETS:
        raise InputError(f"--fleet {args.fleet!r}: sc knows the fleets local and ec2")
    check_system()
    if args.fleet == "ec2":
        return _work_on_ec2(args.job_url)
    from sc.commands.jobs import absolute
    from sc.worker import work
    from sc.worker.identity import NoSite

    job_url = absolute(args.job_url)
    if not args.fleet:
        _ask(job_url, args.job_url, args.yes)
    _get_keys_from_one_process(job_url, args.fleet)
    worked = work(job_url, _surroundings(args.fleet, "local", NoSite))
    return _tell(worked)


def _ask(job_url: str, typed: str, is_granted: bool) -> None:
    """Whoever may write to the job's place decides what is executed here. Raises InputError if that is not wanted.

    Without a terminal this is how a machine is told to work, by a batch system, ssh or a service: it was sent there.
    """
    from sc.commands.asking import is_somebody_there
    from sc.commands.consent import ask, of_work

    if is_granted or not is_somebody_there():
        return
    from sc.staging import read_job, read_part
    from sc.storage import open_storage

    storage = open_storage()
    job = read_job(storage, job_url)
    first = read_part(storage, job_url, 0) if job.written else ()
    ask(of_work(job_url, job, first), is_granted, ["work", typed])


def _get_keys_from_one_process(job_url: str, fleet: str) -> None:
    """Before any fork: AWS keys that have to be fetched are to be fetched once."""
    from sc.storage import open_storage, s3_keys

    handed = s3_keys.take_over() if fleet == "local" else None
    if handed is not None or open_storage().local_path(job_url) is None:
        s3_keys.begin(handed)
        if not fleet:
            s3_keys.fetch(job_url)


def _work_on_ec2(job_url: str) -> int:
    from sc.fleets.ec2_instance import REBALANCE, InstanceSide
    from sc.worker import work

    here = InstanceSide.on_this_machine(job_url)
    _get_keys_from_one_process(job_url, "ec2")
    worked = work(
        job_url,
        _surroundings("ec2", here.kind, lambda: OnEc2(here), here.id),
    )
    if worked.is_job_over or worked.exit_code in (ExitCode.OK, ExitCode.RUNS_FAILED):
        notice = None if worked.is_job_over else here.notice()
        is_taken = notice is not None and notice.kind != REBALANCE
        if is_taken or (worked.gives_way and not worked.is_job_over):
            here.give_back(_say, 1 if is_taken else worked.workers)
        else:
            here.leave(worked.is_job_over, _say, worked.workers)
    return _tell(worked)


class OnEc2:
    """The clerk's view of its instance."""

    ends_others = True

    def __init__(self, here: InstanceSide) -> None:
        self._here = here

    def notice(self) -> Optional[Leave]:
        """See `InstanceSide.notice`."""
        from sc.fleets.ec2_instance import REBALANCE
        from sc.worker.identity import Leave

        notice = self._here.notice()
        if notice is None:
            return None
        if notice.kind == REBALANCE:
            reason = "AWS may soon take this machine away (rebalance recommendation): only short runs begin here."
            return Leave(reason, is_certain=False)
        return Leave(f"AWS takes this machine away ({notice.kind}).", is_certain=True)

    def proved(self) -> None:
        """See `InstanceSide.proved`."""
        with suppress(OSError):  # not a machine that sc's bootstrap has made
            self._here.proved()

    def alive(self) -> None:
        """See `InstanceSide.alive`."""
        self._here.alive()

    def end(self, machine: str, is_replaced: bool) -> None:
        """See `InstanceSide.end_other`. In a thread of its own: claims are to be renewed meanwhile."""
        from threading import Thread

        words = (machine, is_replaced, _say)
        Thread(target=self._here.end_other, args=words, daemon=True).start()


def _surroundings(fleet: str, kind: str, open_site: Any, machine: str = "") -> Surroundings:
    from sc.storage import open_storage
    from sc.worker import Surroundings, this_worker

    return Surroundings(
        identity=this_worker(fleet, kind, machine, machine),
        environment=os.environ,
        home=os.getcwd(),
        open_storage=open_storage,
        look_up=look_up,
        open_site=open_site,
        lingers=fleet == "local",
        say=_say,
    )


def look_up(names: list[str]) -> Mapping[str, str]:
    """The secrets of a recipe, with the rights of whoever runs this."""
    from sc.fleets.ec2_aws import Boto3
    from sc.fleets.ec2_parameters import read_parameters

    return read_parameters(Boto3(), names)


def _say(line: str) -> None:
    say(f"sc: {line}")


def _tell(worked: Worked) -> int:
    counts = f"{worked.completed} runs completed, {worked.failed} failed, {worked.lost} lost"
    counts += f", {worked.not_stored} not stored" if worked.not_stored else ""
    _say(f"{counts}. {worked.error}".strip())
    return worked.exit_code
