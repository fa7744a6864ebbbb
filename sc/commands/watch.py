"""`sc watch`: stay with a job until its end, and see what goes on in it."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from sc.commands.arguments import add_on_end
from sc.commands.jobs import HELP, one_job
from sc.commands.voice import command_line

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.commands.following import Followed
    from sc.fleets import Fleet
    from sc.job_state import State
    from sc.storage import Storage

EXAMPLES = """
Examples:
  sc watch                                     the job that was split into /tmp/commands
  sc watch commands                            … into ./commands
  sc watch batch.yaml                          the last job that was started for a batch
  sc watch s3://bucket/backfill/.sc/backfill   any job, by its URL
  sc watch batch.yaml --on-end 'mail -s "job: $SC_EXIT_CODE" me@example.com </dev/null'

Shows how many runs have completed and failed, how long the rest will take and cost, what each machine
does, and which errors there were. Ends with the job: exit code 0 all runs completed, 1 some failed, 3 the
rest will not be done. Ctrl-C ends only the watching. Where there is no terminal it says a line a minute.
"""
KEYS = (
    "an object for each look: job_url, name, seconds, exit_code (null until the end), runs, completed, failed, lost, "
    "not_stored, runs_with_ended_processes, runs_with_unstored_files, "
    "running, waiting, parts, parts_done, rate, run_seconds, left_seconds, dollars, dollars_in_all, stopped, "
    "troubles, errors, workers"
)


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc watch`."""
    parser = subparsers.add_parser("watch", description=EXAMPLES)
    parser.add_argument("job", metavar="JOB", nargs="?", help=f"its name on EC2, or {HELP}")
    parser.add_argument("--region", help="of the machines; by default that of your AWS settings")
    add_on_end(parser.add_argument)
    parser.add_argument("--json", action="store_true", help=KEYS)
    return parser


def run(args: argparse.Namespace) -> int:
    """Find the job, and follow it."""
    from sc.commands.following import follow
    from sc.commands.stop import by_name
    from sc.fleets.ec2 import Ec2Fleet
    from sc.storage import open_storage

    storage = open_storage()
    find = partial(by_name, Ec2Fleet(args.region, os.environ))
    url = one_job(args.job, storage, find)
    return follow(followed_by_url(storage, url, args.region), args)


def followed_by_url(storage: Storage, url: str, region: str = "") -> Followed:
    """All that is needed to follow a job of which only the place is known. Raises StorageError if there is none."""
    from sc.commands.following import Followed
    from sc.fleets.ec2 import Ec2Fleet
    from sc.fleets.local import LocalFleet
    from sc.staging import read_job

    cloud, here = Ec2Fleet(region or None, os.environ), LocalFleet(os.environ)
    is_near = storage.local_path(url) is not None

    def fleet_of(state: State) -> Fleet:
        known = {one.heartbeat.fleet for one in state.workers if one.heartbeat}
        return cloud if "ec2" in known or (not known and not is_near) else here

    words = ("watch", url, *(("--region", region) if region else ()))
    return Followed(storage, url, read_job(storage, url), fleet_of, command_line(*words))
