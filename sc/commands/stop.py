"""`sc stop`: end a job and its machines."""

from __future__ import annotations

import argparse
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

from sc import paths, s3_settings
from sc.commands.jobs import HELP, absolute, jobs
from sc.commands.voice import result, say
from sc.errors import CloudError, ExitCode, InputError, ScError, StorageError
from sc.halting import Stop

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.fleets.ec2 import Ec2Fleet
    from sc.heartbeats import Heartbeat
    from sc.storage import Storage

NOW_SECONDS, NEAR_ELSEWHERE_SECONDS, ELSEWHERE_SECONDS = 2.0, 30.0, 75.0
"""How long workers of other machines are waited for: they look for the key every second or every twenty, and then
end their runs within their grace time."""
POLL_SECONDS = 0.5

EXAMPLES = """
Examples:
  sc stop backfill                               a job on EC2, by its name ('sc ps' lists them)
  sc stop s3://bucket/backfill/.sc/backfill      any job, by its URL
  sc stop batch.yaml                             every job of a batch
  sc stop backfill --now                         do not wait for runs to be ended politely
  sc stop backfill --yes                         also if somebody else has started it

Tells the workers to start nothing more, to end their runs and to save what they printed; then
ends the machines, waits until they are gone, and removes what was made for them. Runs that were
ended are not marked, so that the batch can be started again for the rest. Can be repeated.
--now kills the workers of this machine with all that they have started, within seconds, and ends
other machines without waiting. Machines that somebody else has started are ended only after a
question, or with --yes. Exit code: 0 nothing is left, 3 something is, and is named.
"""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc stop`."""
    parser = subparsers.add_parser("stop", description=EXAMPLES)
    parser.add_argument("job", metavar="JOB", help=f"its name on EC2, or {HELP}")
    parser.add_argument("--region", help="of the machines; by default that of your AWS settings")
    parser.add_argument(
        "--now", action="store_true", help="kill at once; what runs printed last is lost"
    )
    parser.add_argument(
        "--yes", action="store_true", help="do not ask whether to end somebody else's machines"
    )
    parser.add_argument(
        "--json", action="store_true", help="one object: stopped (URLs), left (what is still there)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Stop each job that is meant; 3 if something is still there."""
    from sc.executor.folder import TemporaryFolder
    from sc.fleets.ec2 import LEAVE_SECONDS, Ec2Fleet
    from sc.fleets.local import LocalFleet
    from sc.storage import open_storage

    storage, fleet = open_storage(), Ec2Fleet(args.region, os.environ)
    stopped: list[str] = []
    left: list[str] = []
    meant = _meant(args.job, storage, fleet)
    if not args.yes:
        ask_of_others(meant, storage, fleet)
    for job in meant:
        url = job if "/" in job else ""
        if url:
            left += _say_stop(storage, url, args.now)
            left += LocalFleet(os.environ).stop(url, say, args.now)
            if args.now:
                TemporaryFolder.sweep()
        if url and is_local(storage, url):
            left += _elsewhere(storage, url, args.now)
        else:
            seconds = 0.0 if args.now or not url else LEAVE_SECONDS
            left += _end_machines(fleet, job, seconds)
        stopped.append(job)
    _tell(args, stopped, left)
    return ExitCode.REFUSED if left else ExitCode.OK


def ask_of_others(meant: Sequence[str], storage: Storage, fleet: Ec2Fleet) -> None:
    """Raises InputError if one of the jobs is somebody else's, and nobody says that it is to be ended. Before any
    effect: the key that tells workers to stop is one."""
    from sc.commands.asking import agreed
    from sc.fleets.ec2_patience import is_busy

    for job in meant:
        if "/" in job and is_local(storage, job):
            continue
        owner = ""
        try:
            owner = fleet.other_owner(job)
        except (CloudError, InputError) as error:  # who may not ask EC2 ends nothing there
            if is_busy(error):
                raise
        if not owner:
            continue
        answer = agreed(f"{job} was started by {owner}; end it?")
        if answer is None:
            me = fleet.caller() or "somebody of whom STS tells nothing"
            raise InputError(
                f"{job} was started by {owner}, and you are {me}: if it is to be ended all the same, add --yes; "
                "nothing was changed"
            )
        if not answer:
            raise InputError(f"{job} was not ended, and nothing was changed")


def _say_stop(storage: Storage, url: str, at_once: bool) -> list[str]:
    """Write the key that all workers look for. Machines are ended even where that cannot be done."""
    from sc.staging import read_job

    try:
        with suppress(ScError):  # what the job's bucket demands, as its recipe told
            s3_settings.adopt(read_job(storage, url).s3, os.environ)
        storage.put(paths.stop(url), Stop(at_once=True).to_bytes() if at_once else b"")
    except StorageError as error:
        return [f"Workers of {url} elsewhere could not be told to stop: {error}"]
    say(f"{url}: workers are told to stop")
    return []


def _meant(word: str, storage: Storage, fleet: Ec2Fleet) -> Sequence[str]:
    """The URLs of the jobs that a person means; a name where the URL is too long for a tag."""
    try:
        return jobs(word, storage, partial(by_name, fleet))
    except (InputError, StorageError):
        # A job whose keys are gone, or cannot be read, may still have machines.
        url = absolute(word)
        with suppress(ScError):
            if "/" in word and fleet.one(url) is not None:
                return [url]
        raise


def by_name(fleet: Ec2Fleet, name: str) -> Optional[str]:
    """The URL of a job that works on this machine or on EC2; its name where the URL is too long for a tag.

    Raises InputError if several jobs have that name, here or there: to stop one of them would leave the machines of
    the other running.
    """
    from sc.fleets.ec2_aws import NoRegionError
    from sc.fleets.local import LocalFleet

    found = {machine.job_url: None for machine in LocalFleet(os.environ).list(name)}
    try:
        there = fleet.one(name)
    except (CloudError, NoRegionError):
        if not found:
            raise
        there = None  # who has no rights there has a job here
    if there is not None:
        found[there.job_url or there.job] = None
    if len(found) > 1:
        raise InputError(
            f"Several jobs are named '{name}': say which, {' or '.join(sorted(found))}."
        )
    return next(iter(found), None)


def is_local(storage: Storage, url: str) -> bool:
    """Whether all that has ever worked for this job were processes of some machine, none of EC2."""
    if storage.local_path(url) is not None:
        return True
    fleets: set[Optional[str]] = set()
    with suppress(StorageError):
        fleets.update(_fleets(storage, url))
    return bool(fleets) and "ec2" not in fleets


def _fleets(storage: Storage, url: str) -> Iterator[Optional[str]]:
    from sc.heartbeats import heartbeat_of

    for entry in storage.list(paths.join(url, "workers")):
        heartbeat = heartbeat_of(storage.get(entry.place))
        yield heartbeat.fleet if heartbeat else None


def _elsewhere(storage: Storage, url: str, at_once: bool) -> list[str]:
    """Workers of other machines, such as those of `sc work` there: only the key tells them to stop. They are waited
    for; here are those that have not said goodbye."""
    from sc.glances import silent_seconds

    is_near = storage.local_path(url) is not None
    silent = silent_seconds(is_near)
    seconds = NOW_SECONDS if at_once else NEAR_ELSEWHERE_SECONDS if is_near else ELSEWHERE_SECONDS
    end = time.monotonic() + seconds
    while True:
        there = []
        with suppress(StorageError):
            there = list(_working_elsewhere(storage, url, silent))
        if not there or time.monotonic() >= end:
            break
        time.sleep(POLL_SECONDS)
    return [
        f"The worker {one.worker} on {one.machine} was told to stop and has not ended yet: repeat this command later, "
        f"or end process {one.pid} there."
        for one in there
    ]


def _working_elsewhere(storage: Storage, url: str, silent: float) -> Iterator[Heartbeat]:
    from sc.heartbeats import heartbeat_of

    for entry in storage.list(paths.join(url, "workers")):
        if entry.age_seconds <= silent:
            heartbeat = heartbeat_of(storage.get(entry.place))
            is_here = heartbeat is None or heartbeat.machine == socket.gethostname()
            if heartbeat is not None and not (is_here or heartbeat.is_last):
                yield heartbeat


def _end_machines(fleet: Ec2Fleet, job: str, leave_seconds: float) -> list[str]:
    """What could not be ended. A job that never had machines on EC2 may be stopped without rights there."""
    try:
        return list(fleet.stop(job, say, leave_seconds))
    except (CloudError, InputError) as error:
        return [f"EC2 could not be asked whether machines of {job} are there: {error}"]


def _tell(args: argparse.Namespace, stopped: Sequence[str], left: Sequence[str]) -> None:
    from sc.reports import json_line

    if args.json:
        result(json_line({"stopped": list(stopped), "left": list(left)}))
        return
    for sentence in left:
        say(f"sc: {sentence}")
    if not left:
        for job in stopped:
            say(f"{job}: stopped, nothing is left")
