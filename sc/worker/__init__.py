"""The worker: `sc` on one machine, taking parts of a job until none is left.

    main process                             clerk (a child, the only one that speaks about the job)
    ────────────                             ─────
    desk = the executor's Feed  ◀──runs────  takes parts, renews claims, watches `stop` and notices
      │            ▲            ──outcomes─▶ records, heartbeats, done/<n>
      ▼            │
    executor: keepers, savers                preparation (a child, before the first run):
                                             sync folders, environment, start_script

    __init__       work(): the order of things      identity      names and habits
    desk           the feed                          line, wire    how desk and clerk speak
    clerk          what is due, most urgent first    messages      what they say
    taker          how to come by a part             leaving       when to go
    in_hand        the parts that we have            hands         a part, from claim to done
    reporter       heartbeats, records, log          pace          how early to ask
    brake          `stop`, and too many failures     forks         what children do first
    preparing      a machine before its first run    clerk_process the clerk's process
    part_count     what became of a part's runs

Who dies: the clerk is replaced by the desk; when the main process dies, keepers end their runs, the clerk writes
what it knows and leaves, and the claims run out; when the machine dies, the claims run out.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Optional

from sc import s3_settings
from sc.errors import ExitCode, ScError
from sc.executor import Ending, Plan, tree
from sc.executor.gpus import find_gpus
from sc.executor.loop import execute
from sc.executor.signals import heeded
from sc.machine import count_vcpus, default_nprocs
from sc.staging import Job
from sc.storage import Storage
from sc.worker.clerk_process import ClerkPlan, ClerkProcess
from sc.worker.desk import Desk
from sc.worker.identity import FAR, NEAR, Habits, Identity, NoSite, Site, worker_name
from sc.worker.preparing import LookUp, Preparation, Prepared


class Worked(NamedTuple):
    """What became of a worker."""

    exit_code: ExitCode
    is_job_over: bool
    """Every part is done, or the job was stopped: its machines are not needed any more."""
    error: str
    """Why it could not work, or the last thing that went wrong; may be empty."""
    completed: int = 0
    failed: int = 0
    lost: int = 0
    not_stored: int = 0
    gives_way: bool = False
    """Its machine may soon be taken away, and it leaves work that another one should do."""
    workers: int = 1
    """At most so many work on the job."""


@dataclass(frozen=True)
class Surroundings:
    """Where a worker works; everything that is not the job's."""

    identity: Identity
    environment: Mapping[str, str]
    """Of this process: what `os.environ` is."""
    home: str
    """Where relative folders of the recipe begin, unless the job was split in a folder that is here too."""
    open_storage: Callable[[], Storage]
    look_up: LookUp
    open_site: Callable[[], Site] = NoSite
    lingers: bool = False
    say: Callable[[str], None] = lambda line: None
    """Takes a line for the log."""


def work(job_url: str, here: Surroundings) -> Worked:
    """Take parts of the job and execute them until there is nothing more to take.

    To be called from the main thread of a process that has neither other threads nor used a storage. Handles SIGTERM,
    SIGINT and SIGHUP itself. Raises nothing but bugs: what went wrong is told in the result, and in the heartbeat.
    """
    plan = ClerkPlan(
        job_url,
        here.identity,
        _Habits(job_url, here.lingers),
        here.open_storage,
        here.open_site,
        log_descriptor(sys.stderr.fileno()),
    )
    with _signals_noted() as signals:
        desk = Desk(lambda: ClerkProcess(plan), here.say, lingers=here.lingers)
        try:
            with _prepared(job_url, here, desk, signals) as prepared:
                if prepared is None or desk.job is None or signals:
                    return _not_begun(desk, signals)
                ending = _execute(desk, desk.job, here, prepared, signals)
        except ScError as error:
            here.say(str(error))
            desk.close("failed", str(error))
            return Worked(ExitCode.REFUSED, False, str(error))
        except BaseException as error:
            desk.close("failed", str(error))  # else the clerk would hold our claims for ever
            raise
    if ending.kept_runs:
        here.say(kept(ending))
    if ending.unremoved:
        here.say(f"what runs left here {ending.unremoved}")
    desk.close(_state(ending, desk), desk.refusal or kept(ending))
    return conclude(ending, desk)


def kept(ending: Ending) -> str:
    """Why outputs could not be stored, and where they are; empty if all are."""
    if not ending.kept_runs:
        return ending.reason
    files = "1 run" if ending.kept_runs == 1 else f"{ending.kept_runs} runs"
    return f"{ending.reason} The files of {files} are kept in {ending.kept_folder}."


def this_worker(fleet: str, kind: str, machine: str = "", name: str = "") -> Identity:
    """Who this process is. An EC2 instance has a `name` already; elsewhere one is made up."""
    machine = machine or socket.gethostname()
    worker = name or worker_name(machine, os.getpid())
    return Identity(worker, machine, fleet, kind, time.time(), os.getpid())


def log_descriptor(descriptor: int) -> Optional[int]:
    """One that reads what is written to this one, if that is a file and no terminal or pipe."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        # Opened anew, for reading: the file may have no name any more.
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def conclude(ending: Ending, desk: Desk) -> Worked:
    """Pure: what a worker's end means."""
    farewell = desk.farewell
    tally = desk.tally
    lost = max(tally.lost, farewell.lost if farewell else 0)
    not_stored = max(tally.not_stored, farewell.not_stored if farewell else 0)
    error = desk.refusal or ending.reason or (farewell.trouble if farewell else "")
    if ending.was_interrupted:
        code = ExitCode.INTERRUPTED
    elif desk.refusal or farewell is None or farewell.trouble:
        code = ExitCode.REFUSED
        error = error or "The last things could not be written."
    elif ending.kept_runs or not_stored:
        code = ExitCode.REFUSED
        error = error or "The outputs of some runs could not be stored."
    else:
        code = ExitCode.RUNS_FAILED if tally.failed or lost else ExitCode.OK
    is_job_over = farewell is not None and farewell.is_job_over
    return Worked(
        code,
        is_job_over,
        error,
        tally.completed,
        tally.failed,
        lost,
        not_stored,
        desk.gives_way and (farewell is None or farewell.is_work_left),
        desk.job.scale if desk.job else 1,
    )


@contextmanager
def _prepared(
    job_url: str, here: Surroundings, desk: Desk, signals: list[int]
) -> Iterator[Optional[Prepared]]:
    """None if the worker is to end before it has begun. Raises ScError when the machine cannot be prepared. At the
    block's end nothing is left of what the preparation has started."""
    while desk.job is None and not desk.is_stopping() and not signals:
        desk.wait_for_news(1.0)
    if desk.job is None or desk.is_stopping() or signals:
        yield None
        return
    s3_settings.adopt(desk.job.s3, os.environ)  # for the processes that store its outputs
    home = _begin(desk.job, here)
    tree.adopt_orphans()  # should somebody kill the preparation's process
    preparation = Preparation(here.open_storage, job_url, desk.job, home, here.look_up)
    try:
        prepared = None
        while prepared is None and not signals and not desk.is_stopping():
            prepared = preparation.result(0.5)
            desk.wait_for_news(0.0)
        yield prepared
    finally:
        preparation.end()


def _begin(job: Job, here: Surroundings) -> str:
    """Go to where the job was cut, and return it: relative folders of its recipe and its runs begin there.

    A worker on another machine, where there is no such folder, stays where it was started. Raises ScError if a worker
    of the job's own machine cannot go there.
    """
    if not job.folder:
        return here.home
    try:
        os.chdir(job.folder)
    except OSError as error:
        reason = f"{job.folder}, where this job was split and its commands begin, cannot be entered ({error.strerror})"
        if here.identity.fleet == "local":
            raise ScError(f"{reason}: bring it back, and start the job again.") from None
        here.say(f"{reason}; they begin in {here.home}")
        return here.home
    return job.folder


def _not_begun(desk: Desk, signals: list[int]) -> Worked:
    was_stopped = desk.is_stopping() and not desk.refusal
    desk.close("interrupted" if signals else "left", desk.why_stopping)
    if signals:
        return Worked(ExitCode.INTERRUPTED, False, "")
    code = ExitCode.OK if was_stopped else ExitCode.REFUSED
    return Worked(code, was_stopped, desk.why_stopping)


def _execute(
    desk: Desk, job: Job, here: Surroundings, prepared: Prepared, signals: Sequence[int]
) -> Ending:
    gpus = find_gpus(here.environment, tell=here.say)
    nprocs = job.nprocs or default_nprocs(len(gpus), count_vcpus(), job.gpus)
    plan = Plan(
        nprocs=nprocs,
        machine=here.identity.machine,
        gpus=gpus,
        environment=prepared.environment,
        working_directory=prepared.working_directory,
        given=job.given,
        synced=prepared.synced,
        are_runs_redone=True,
    )
    here.say(f"{here.identity.worker} works on {job.name}, {nprocs} runs at a time.")
    desk.begin(nprocs)
    return execute(plan, desk, here.open_storage, signals)


def _state(ending: Ending, desk: Desk) -> str:
    if desk.refusal:
        return "failed"
    return "interrupted" if ending.was_interrupted else "left"


@dataclass(frozen=True)
class _Habits:
    """Chosen when the storage is known, in the clerk's process."""

    job_url: str
    lingers: bool

    def __call__(self, storage: Storage) -> Habits:
        habits = FAR if storage.local_path(self.job_url) is None else NEAR
        return habits.that(lingers=self.lingers)


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """SIGINT, SIGTERM and SIGHUP, unless they are ignored, are noted in the list, and do nothing else, until the
    executor takes over."""
    noted: list[int] = []
    before = [
        (number, signal.signal(number, lambda one, frame: noted.append(one))) for number in heeded()
    ]
    try:
        yield noted
    finally:
        for number, handler in before:
            signal.signal(number, handler)
