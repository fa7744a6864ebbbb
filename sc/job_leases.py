"""What a job has of the runs of its batch: all that have not ended since it was started, while it has workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from sc import paths
from sc.codes import THREADS, Ended, read_code
from sc.errors import StorageError
from sc.glances import newest, silent_seconds
from sc.staging import read_job
from sc.storage import Entry, Storage

BOOT_SECONDS = 600.0
"""What the first machine of a job may take until its worker says something."""
MOST_CODES = 1000
"""Of so many runs it is asked whether they have ended; if there are more, it is taken that one of them has not. A job
of more parts is not asked whether all of them are done."""
_CLOCK_STEP_SECONDS = 2.0
"""S3 tells whole seconds."""


def may_work(age_seconds: float, glances: Iterable[Entry], is_near: bool) -> bool:
    """True while one of the workers of a job of that age says something, and before the first one does."""
    silent = silent_seconds(is_near)
    seen = newest(glances).values()
    if not seen:
        return age_seconds < BOOT_SECONDS
    return any(not one.glance.is_last and one.age_seconds < silent for one in seen)


def have_ended(storage: Storage, age_seconds: float, places: Iterator[str]) -> bool:
    """True if these runs have ended since the job was started: it will not touch them any more."""
    some = list(islice(places, MOST_CODES + 1))
    if len(some) > MOST_CODES:
        return False
    with ThreadPoolExecutor(THREADS) as threads:
        ended = threads.map(lambda place: read_code(storage, place), some)
        return all(one is not None and _is_younger(one, age_seconds) for one in ended)


def is_done(storage: Storage, job_url: str, age_seconds: float) -> bool:
    """True if every part of the job was done since it was started, though its workers may still be saying goodbye:
    whoever has waited for the job may execute its runs again at once."""
    try:
        parts = read_job(storage, job_url).parts
        if parts > MOST_CODES:
            return False
        done = storage.list(paths.join(job_url, "done"))
        return sum(entry.age_seconds <= age_seconds for entry in done) >= parts
    except StorageError:
        return False  # its keys are gone, or cannot be read


def _is_younger(code: Ended, seconds: float) -> bool:
    return code.is_age_sure and code.age_seconds + _CLOCK_STEP_SECONDS < seconds
