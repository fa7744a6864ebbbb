"""What a job's machines need, in the job's place: written by whoever starts it, read by the workers.

    sc.pyz, sync/<sha256>.tar.gz ─▶ the first parts ─▶ recipe.json ─▶ the other parts ─▶ recipe.json again
                                                          └─ from here on machines may be started

`recipe.json` says how many parts there will be and how many are written already. It is written again every few
seconds while the rest is on its way, so that workers neither wait for the last part nor for a stager that has died.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, NamedTuple, Optional

from sc import paths, s3_settings
from sc.claims import LEASE_SECONDS
from sc.errors import InputError, MissingError, StorageError
from sc.halting import is_limit
from sc.model import NO_GPUS, Given, GpuNeeds, Run, is_count, is_number
from sc.storage import Storage
from sc.widths import ALL_OPEN, Width, Widths

LOCAL_LEASE_SECONDS = 30.0
"""Of a job whose workers and folder are on one machine: a shorter lease finds lost workers sooner. Over a network one
request alone may hang for longer than the time that this leaves to renew it."""
FIRST_PARTS = 16
"""So many are there before the machines may be started."""
REWRITE_SECONDS = 5.0
STAGER_LOST_SECONDS = 180.0
"""A recipe.json with parts missing that is older than this will not get them."""
_THREADS = 8


class UnreadablePartError(StorageError):
    """A part that is missing though it was written, or that holds no runs: nobody will ever be able to do it."""


class Synced(NamedTuple):
    """An archive that every machine unpacks before its first run."""

    sha256: str
    destination: str
    base: str = ""
    """Where archives of all jobs are kept (`--file-syncs-base-dir-url`); empty: in this job's own place."""

    def place(self, job_url: str) -> str:
        """Where the archive is."""
        if self.base:
            return paths.join(self.base, f"{self.sha256}.tar.gz")
        return paths.synced(job_url, self.sha256)


@dataclass(frozen=True)
class Job:
    """`recipe.json`: what a worker has to know of its job."""

    name: str
    remote_output_path: str
    """Of the batch."""
    parts: int
    """How many there will be."""
    runs: int
    """In all parts together."""
    written: int = 0
    """Parts below this number can be read."""
    nprocs: Optional[int] = None
    """None: each machine's own number of GPUs, or of the shares of them that runs ask for, else of vCPUs."""
    scale: int = 1
    """At most so many workers at a time."""
    lease_seconds: float = LEASE_SECONDS
    """The same for all of the job's workers, or one would take over what another has renewed in good time."""
    is_fresh: bool = False
    """True if nothing lay below the batch's output path when the job was staged: no old codes to remove."""
    working_directory: Optional[str] = None
    start_script: Optional[str] = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    synced: tuple[Synced, ...] = ()
    nonce: str = ""
    """Makes this job unlike an earlier one of its name."""
    max_failures: str = ""
    """`N` or `N%`: with so many failures nothing more is started. Empty: whatever happens."""
    gpus: GpuNeeds = NO_GPUS
    """Of the whole batch."""
    folder: str = ""
    """Of a job on this machine: where it was cut, and where all that is relative begins. Empty: where a worker was
    started."""
    s3: Mapping[str, str] = field(default_factory=dict)
    """What its bucket demands of whoever writes there, see `s3_settings`."""

    @property
    def given(self) -> Given:
        """What its runs get of the recipe."""
        return Given(self.environment_variables, self.working_directory)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=True, indent=1).encode()


def read_job(storage: Storage, job_url: str) -> Job:
    """The job, as its recipe.json tells it. Raises StorageError with a sentence if there is none."""
    try:
        data = storage.get(paths.recipe(job_url))
    except MissingError:
        raise MissingError(
            f"There is no job at {job_url}: it has no recipe.json. `sc split RECIPE BATCH --start` makes one."
        ) from None
    try:
        return _job_of(json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"{paths.recipe(job_url)} is not what sc wrote ({error}); start the job again."
        ) from error


def gone(job_url: str) -> MissingError:
    """What is told of a job whose keys were there before."""
    return MissingError(
        f"The job at {job_url} is gone: somebody has removed what it keeps there, or moved it away. "
        "What has ended keeps its outputs; start the job again for the rest."
    )


def _job_of(document: Any) -> Job:
    fields = dict(document)
    synced = tuple(Synced(*map(str, one)) for one in fields.pop("synced", ()))
    gpus = GpuNeeds(*fields.pop("gpus", ()))
    job = Job(**fields, synced=synced, gpus=gpus)
    if not is_number(gpus.most) or not is_number(gpus.share) or not 0 < gpus.share <= 1:
        raise ValueError("gpus is wrong")
    counts = [job.parts, job.runs, job.written, job.scale, *_given(job.nprocs)]
    if not (all(map(is_count, counts)) and is_number(job.lease_seconds)) or job.nprocs == 0:
        raise ValueError("a number is wrong")
    if not 0 < job.parts <= 10**9 or job.lease_seconds < 1:
        raise ValueError("the number of parts, or the lease, is out of range")
    texts = [job.name, job.remote_output_path, job.max_failures, job.nonce, job.folder]
    texts += _given(job.working_directory, job.start_script)
    texts += [*job.environment_variables, *job.environment_variables.values()]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is wrong")
    if job.nonce and not (job.nonce.isascii() and job.nonce.isalnum()):
        raise ValueError("the nonce is wrong")
    if job.max_failures and not is_limit(job.max_failures):
        raise ValueError("max_failures is wrong")
    s3_settings.checked(job.s3)
    if not isinstance(job.is_fresh, bool):
        raise ValueError("is_fresh is neither true nor false")
    return job


def read_part(storage: Storage, job_url: str, number: int) -> list[Run]:
    """The runs of a part, strictly. Raises UnreadablePartError, or StorageError if it may be read later."""
    place = paths.part(job_url, number)
    try:
        document = json.loads(storage.get(place))
        return [_run_of(one) for one in document["runs"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadablePartError(f"{place} is no part that sc wrote ({error}).") from error
    except MissingError as error:
        raise UnreadablePartError(f"{place} is missing; start the job again.") from error


def _run_of(document: Mapping[str, Any]) -> Run:
    fields = dict(document)
    command = fields.pop("cmd")
    run = Run(command if isinstance(command, str) else tuple(command), **fields)
    words = [run.cmd] if isinstance(run.cmd, str) else run.cmd
    texts = [*words, run.remote_output_path, *run.env, *run.env.values()]
    texts += _given(run.local_results_dir, run.working_directory)
    # What no program can be given: halves of surrogate pairs are refused by `encode`, which raises a ValueError.
    if not words or not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ValueError("a text is wrong")
    "".join(texts).encode("utf-8", "surrogateescape")
    if any("=" in name or not name for name in run.env):
        raise ValueError("a variable has no name")
    amounts = _given(run.timeout, run.gpus, run.expected_time)
    if not is_count(run.retries) or not all(is_number(one) and one >= 0 for one in amounts):
        raise ValueError("a number is wrong")
    return run


def _given(*values: Any) -> list[Any]:
    """Those that are there."""
    return [value for value in values if value is not None]


def is_fresh(storage: Storage, remote_output_path: str) -> bool:
    """True if nothing but jobs' own keys lies below a batch's output path. Two requests."""
    inside = paths.JOBS + "/"
    before = storage.list(remote_output_path, end_before=inside)
    behind = storage.list(remote_output_path, start_after=paths.JOBS + paths.BEHIND)
    return next(iter(before), None) is None and next(iter(behind), None) is None


def clear(storage: Storage, job_url: str) -> None:
    """Remove what an earlier job of this name left, so that nothing of it is taken for the new one's.

    `recipe.json` first: a late worker of the old job then finds no job. Records stay, they tell which command
    each code came from; so do logs.
    """
    storage.delete([paths.recipe(job_url)])
    for folder in ("claims", "done", "ended", "parts", "workers", "glances"):
        place = paths.join(job_url, folder)
        storage.delete(entry.place for entry in storage.list(place))
    storage.delete([paths.stop(job_url)])


def stage(
    storage: Storage,
    job_url: str,
    job: Job,
    parts: Iterable[bytes],
    *,
    program: Optional[str] = None,
    archives: Sequence[str] = (),
    widths: Widths = ALL_OPEN,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[int]:
    """Write all that the machines need; yields the number of parts that are there, now and then.

    To be iterated to its end; from the first yield on machines may be started. `parts` are the contents of
    parts/0.json and so on, `job.parts` many; `program` is the path of sc.pyz on this machine (None: the machines
    have it), `archives` are the paths of the archives of `job.synced`, in the same order. In a folder nobody beyond
    `widths` may read recipe and parts. What an earlier job of
    this name left must be gone (`clear`). Raises InputError if there are not as many parts as were promised.
    """
    if program is not None:
        storage.put_file(paths.program(job_url), program)
    for synced, path in zip(job.synced, archives):
        place = synced.place(job_url)
        if storage.stat(place) is None:
            storage.put_file(place, path)
    written, due = 0, None
    for written in _write_parts(storage, job_url, iter(parts), widths.parts):
        if written >= job.parts or due is None or now() >= due:
            _tell(storage, job_url, job, written, widths.recipe)
            due = now() + REWRITE_SECONDS
            yield written
    if written != job.parts:
        raise InputError(f"{job_url}: {written} parts were written instead of {job.parts}.")


def _tell(storage: Storage, job_url: str, job: Job, written: int, width: Width) -> None:
    document = Job(**{**vars(job), "written": written})
    storage.put(paths.recipe(job_url), document.to_bytes(), width)


def _write_parts(
    storage: Storage, job_url: str, parts: Iterator[bytes], width: Width
) -> Iterator[int]:
    """Write parts, some at a time; yields how many of the first are there without a gap."""
    number = 0
    is_near = storage.local_path(job_url) is not None
    from concurrent.futures import Future, ThreadPoolExecutor  # see sc.executor.threads

    with ThreadPoolExecutor(1 if is_near else _THREADS) as threads:
        while True:
            slice_ = list(islice(parts, FIRST_PARTS))
            if not slice_:
                return
            puts: list[Future[str]] = []
            for data in slice_:
                place = paths.part(job_url, number)
                puts.append(threads.submit(storage.put, place, data, width))
                number += 1
            for one in puts:
                one.result()
            yield number
