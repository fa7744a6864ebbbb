"""What `split --start` and `apply --start` share: a job is checked, staged and given machines.

intend() ── all checks, no effect ──▶ Intended ── start() ──▶ keys in the job's place ──▶ machines
"""

from __future__ import annotations

import os
import re
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable, Optional

from sc import paths, s3_settings
from sc.commands.signals import ended_politely
from sc.commands.voice import command_line, tell
from sc.errors import BusyError, InputError, StorageError
from sc.model import NO_GPUS
from sc.widths import ALL_OPEN, Widths

if TYPE_CHECKING:
    from sc.fleets import Fleet, Launch
    from sc.leases import Claimant
    from sc.model import GpuNeeds, Recipe, Run
    from sc.staging import Job, Synced
    from sc.start_lease import StartLease
    from sc.storage import Storage

Tell = Callable[[str], None]
_WORD = re.compile(r"((?:\\[\\:]|[^:])*)(?::(.*))?", re.DOTALL)
_ESCAPED = re.compile(r"\\([\\:])")
_SHOWN = 10
HANDED_ON = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "SC_SFS_ROOT",
)
"""Variables without which a machine would not find the storage. None of them is a secret."""


@dataclass(frozen=True)
class Work:
    """What is to be done, as the commands folder has it."""

    remote_output_path: str
    nprocs: Optional[int]
    parts: int
    runs: int
    sync: Sequence[str]
    """`SRC:DEST` with absolute sources."""
    sync_base: str = ""
    """A place for the packed folders of all jobs; empty: the job's own."""
    max_failures: str = ""
    """`N`, `N%`, or nothing."""
    gpus: GpuNeeds = NO_GPUS
    outputs: Callable[[], Iterable[str]] = tuple
    """The output paths of the runs, to be gone through once."""
    folder: str = ""
    """Where it was cut: a job of this machine begins there."""
    widths: Widths = ALL_OPEN
    """Who may read what the job was made of."""


@dataclass(frozen=True)
class Intended:
    """A job that may be started: everything that can be checked has been."""

    storage: Storage
    fleet: Fleet
    launch: Launch
    job: Job
    archives: Sequence[str]
    """Paths of the packed folders."""
    claimant: Optional[Claimant] = None
    """Who is to have the job's runs for it."""
    widths: Widths = ALL_OPEN


def intend(recipe: Recipe, work: Work, storage: Storage, folder: str) -> Intended:
    """Check everything, and pack what is to be synced into `folder`. Raises ScError; has no other effect."""
    from sc.fleets import Launch, pick
    from sc.staging import Job, is_fresh

    url = paths.job(work.remote_output_path, recipe.name)
    program, nonce = _program_for(recipe), os.urandom(8).hex()
    fleet, machines = pick(recipe, os.environ), max(1, min(recipe.scale, work.parts))
    s3 = _s3_settings(storage, url)
    environment = {**handed_on(os.environ), **s3_settings.as_environment(s3)}
    facts = (program, sha256_of(program), environment, work.gpus, nonce)
    launch = Launch(url, recipe, machines, *facts)
    _check_places(storage, work)
    start_lease(storage, url, nonce).look(tell)
    fleet.check(launch)
    refuse_running(fleet, url)
    storage.check_conditions(url)
    archives, synced = packed(recipe, work, folder)
    job = Job(
        name=recipe.name,
        remote_output_path=work.remote_output_path,
        parts=work.parts,
        runs=work.runs,
        nprocs=work.nprocs,
        gpus=work.gpus,
        scale=recipe.scale,
        is_fresh=is_fresh(storage, work.remote_output_path),
        working_directory=recipe.working_directory,
        start_script=recipe.start_script,
        environment_variables=_variables(recipe),
        synced=synced,
        lease_seconds=_lease_seconds(storage, recipe, url),
        max_failures=work.max_failures,
        nonce=nonce,
        folder=work.folder if recipe.is_local else "",
        s3=s3,
    )
    claimant = job_claimant(storage, url, work)
    return Intended(storage, fleet, launch, job, archives, claimant, work.widths)


def _s3_settings(storage: Storage, url: str) -> Mapping[str, str]:
    """What the job's machines have to know, which have neither this environment nor this AWS profile."""
    if storage.local_path(url) is not None:
        return {}
    from sc.storage.s3_configured import configured

    found = configured(os.environ)
    s3_settings.settings(found)
    return found


def tell_keys(recipe: Recipe, is_waiting: bool) -> None:
    """Before a start: whose workers outlive us, and can store nothing beyond the end of keys that need a person."""
    if is_waiting or not recipe.is_local:
        return
    from sc.reports import duration
    from sc.storage.s3_keys import validity
    from sc.storage.s3_sessions import cli_call

    found = validity()
    if found is not None:
        left = max(0.0, found.ends - time.time())
        at = time.strftime("%H:%M", time.localtime(found.ends))
        tell(
            f"the AWS keys of this job's workers end at {at}, in {duration(left)}, and others need a code: with --wait "
            "sc asks for it; without, what runs then print and make waits on this machine until somebody here has "
            f"called `{cli_call()}`"
        )


def _variables(recipe: Recipe) -> Mapping[str, str]:
    """What the runs get."""
    if recipe.is_local:
        return recipe.environment_variables
    from sc.fleets.proxies import excluding_metadata

    return excluding_metadata(recipe.environment_variables)


def _program_for(recipe: Recipe) -> str:
    """Raises InputError where machines would need a sc.pyz, and there is none."""
    program = own_program()
    if not program and not recipe.is_local:
        raise InputError(
            "machines get a copy of sc.pyz, and this sc does not run from one; "
            "make it with ./build.sh, and start the job with dist/sc.pyz"
        )
    return program


def _lease_seconds(storage: Storage, recipe: Recipe, url: str) -> float:
    from sc.claims import LEASE_SECONDS
    from sc.staging import LOCAL_LEASE_SECONDS

    is_here = recipe.is_local and storage.local_path(url) is not None
    return LOCAL_LEASE_SECONDS if is_here else LEASE_SECONDS


def _check_places(storage: Storage, work: Work) -> None:
    for place in filter(None, (work.remote_output_path, work.sync_base)):
        storage.check(place)


def check_here(recipe: Recipe) -> None:
    """Raises ScError where workers of this machine could not do their work."""
    if recipe.is_local:
        from sc.executor.tree import check_system

        check_system()


def check_gpus(
    file: str, needs: GpuNeeds, recipe: Recipe, runs: Optional[Iterable[Run]] = None
) -> None:
    """Raises InputError where one of the machines has fewer GPUs than a run asks for, as far as that can be told
    without asking a cloud. `runs` are those that are to be done, None: all."""
    if not needs.most:
        return
    refused = [
        (count, refusal)
        for whose, count in _gpu_counts(recipe)
        if (refusal := needs.refusal(file, count, whose))
    ]
    fewest = min((count for count, _ in refused), default=0)
    if refused and (runs is None or any((run.gpus or 0) > fewest for run in runs)):
        raise InputError(*(refusal for _, refusal in refused))


def _gpu_counts(recipe: Recipe) -> Iterator[tuple[str, int]]:
    if recipe.is_local:
        from sc.executor.gpus import find_gpus

        yield "this machine", len(find_gpus(os.environ, tell=tell))
        return
    from sc.fleets.ec2_sizes import gpus_of

    for name in recipe.instance_types:
        if (count := gpus_of(name)) is not None:
            yield name, count


def start(intended: Intended, parts: Iterable[bytes], tell: Tell) -> None:
    """Stage the job and start its machines, as soon as the first parts are there.

    If the other parts cannot be staged, the machines are ended again. Raises BusyError, before any effect, if some of
    the runs are being executed, or if somebody else is starting this job.
    """
    storage, url = intended.storage, intended.launch.job_url
    lease = start_lease(storage, url, intended.job.nonce)
    with ended_politely():
        try:
            lease.acquire(tell)
            # Somebody may have started it to the end since it was looked at: then it is not to be cleared.
            intended.fleet.check(intended.launch)
            start_alone(intended, parts, tell, lease)
        finally:
            lease.release()


def start_alone(intended: Intended, parts: Iterable[bytes], tell: Tell, lease: StartLease) -> None:
    """The same for whoever has the lease on the job's start, and as long as it has."""
    from sc.staging import stage

    storage, url = intended.storage, intended.launch.job_url
    job = _in_an_empty_place(intended, tell, lease)
    is_launched = False
    program = None if intended.launch.recipe.is_local else intended.launch.program
    staged = stage(
        storage,
        url,
        job,
        _while_held(lease, parts),
        program=program,
        archives=intended.archives,
        widths=intended.widths,
    )
    try:
        for _ in staged:
            lease.check()
            if not is_launched:
                _refuse_stopped(storage, url)
                intended.fleet.launch(intended.launch, tell)
                is_launched = True
    except BaseException:
        with suppress(BusyError, StorageError):
            lease.check()  # who has slept does not know yet that somebody else has started the job anew
        if is_launched and not lease.is_lost:
            tell("the job could not be written to its end: its machines are ended")
            for sentence in intended.fleet.stop(url, tell):
                tell(sentence)
        if intended.claimant is not None:
            with suppress(StorageError):
                intended.claimant.release_job()
        raise


def _in_an_empty_place(intended: Intended, tell: Tell, lease: StartLease) -> Job:
    """Have the runs, and nothing of an earlier job in this one's place. That may take a while, and what was known of
    the outputs may not be so any more."""
    from sc.staging import clear, is_fresh

    storage, job, url = intended.storage, intended.job, intended.launch.job_url
    _narrow(storage, url)
    if intended.claimant is not None:
        intended.claimant.acquire_for_job(tell)
    if job.is_fresh:
        job = replace(job, is_fresh=is_fresh(storage, job.remote_output_path))
    lease.check()
    clear(storage, url)
    return job


def _refuse_stopped(storage: Storage, url: str) -> None:
    """`sc stop`, called since the place was cleared, has found no machines, and has said that nothing is left."""
    if storage.stat(paths.stop(url)) is not None:
        raise BusyError(f"{url} was stopped while it was being started: no machine was started")


def _while_held(lease: StartLease, parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        lease.check()
        yield part


def start_lease(storage: Storage, url: str, nonce: str) -> StartLease:
    """Of this process, on the start of a job. Has no effect yet."""
    from sc.held_lease import awake_clock
    from sc.holder import this_process
    from sc.start_lease import StartLease

    return StartLease(storage, url, nonce, this_process(time.time()), awake_clock, time.sleep)


def job_claimant(storage: Storage, url: str, work: Work) -> Claimant:
    """Whoever asks the storage whether a job may have its runs. Has no effect yet."""
    from sc.commands.batch import worker_id
    from sc.held_lease import awake_clock
    from sc.holder import this_process
    from sc.leases import Claimant, Lease, Runs

    lease = Lease(worker_id(), this_process(time.time()))
    runs = Runs(work.remote_output_path, work.outputs)
    return Claimant(storage, url, lease, runs, awake_clock, time.sleep, starts_job=True)


def _narrow(storage: Storage, url: str) -> None:
    """Before anything is written to the folder of an earlier job of that name."""
    from sc.storage import job_folders

    folder = storage.local_path(url)
    if folder is not None:
        job_folders.narrow(folder)


def packed(recipe: Recipe, work: Work, folder: str) -> tuple[list[str], tuple[Synced, ...]]:
    """Pack each source into `folder`: paths for staging, and what the machines are told.

    A relative destination lies below the working directory. A folder that a worker of this machine would find
    where it is now is left alone.
    """
    from sc.archives import pack
    from sc.staging import Synced

    archives: list[str] = []
    synced: list[Synced] = []
    for number, (source, below) in enumerate(map(split_sync, work.sync)):
        is_of_home = below.startswith("~")
        destination = os.path.join("" if is_of_home else recipe.working_directory or "", below)
        here = os.path.realpath(os.path.join(work.folder, os.path.expanduser(destination)))
        if recipe.is_local and here == os.path.realpath(source):
            continue
        path = os.path.join(folder, f"{number}.tar.gz")
        done = pack(source, path)
        _tell_skipped(source, done.skipped)
        synced.append(Synced(done.sha256, destination, work.sync_base))
        archives.append(path)
    return archives, tuple(synced)


def refuse_running(fleet: Fleet, url: str) -> None:
    """Raises InputError if somebody is working on a job of this name at this place."""
    live = [machine for machine in fleet.list(url) if machine.state in ("pending", "running")]
    if live:
        raise InputError(
            f"the job {url} is running on {len(live)} machine{'' if len(live) == 1 else 's'}; "
            f"wait for it, end it with '{command_line('stop', url)}', or give another --name"
        )


def own_program() -> str:
    """The path of the sc.pyz that this is, or "" if it was installed or runs from its source."""
    path = os.path.abspath(sys.argv[0])
    return path if os.path.isfile(path) and zipfile.is_zipfile(path) else ""


def sha256_of(path: str) -> str:
    """Of a file's content, in hexadecimal digits; of no file, nothing."""
    import hashlib

    if not path:
        return ""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def handed_on(environ: Mapping[str, str]) -> Mapping[str, str]:
    """What the workers' environment has to have of ours."""
    return {name: environ[name] for name in HANDED_ON if environ.get(name)}


def _tell_skipped(source: str, skipped: Sequence[str]) -> None:
    if skipped:
        more = f" and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
        names = f"{', '.join(skipped[:_SHOWN])}{more}"
        tell(f"not synced from {source}, as only files, folders and links are: {names}")


def split_sync(word: str) -> tuple[str, str]:
    """Source and destination of a word of `check_sync`: the first colon ends the source, unless `\\:` is written."""
    match = _WORD.fullmatch(word)
    source, destination = (match[1], match[2] or "") if match else (word, "")
    source = _ESCAPED.sub(r"\1", source)
    return source, destination or source


def _split_typed(word: str) -> tuple[str, str]:
    """The same of what was typed: if there is no such folder, the word is taken as it stands, and split at the first
    colon that gives one."""
    first = split_sync(word)
    colons = [place for place, letter in enumerate(word) if letter == ":"]
    others = [(word[:place], word[place + 1 :]) for place in colons]
    found = (one for one in (first, *others, (word, "")) if os.path.isdir(one[0]))
    source, destination = next(found, first)
    return source, destination or source


def check_sync(word: str) -> str:
    """`SRC:DEST` with an absolute source, as `split_sync` takes it. Raises InputError if the source is no folder."""
    source, destination = _split_typed(word)
    if not os.path.isdir(source):
        raise InputError(f"--sync {word}: {source or 'SRC'} is not a folder")
    escaped = os.path.abspath(source).replace("\\", "\\\\").replace(":", "\\:")
    return f"{escaped}:{destination}"
