"""The batch that a person means by what is at hand: its file, the folder that `sc split` wrote, or a job's URL."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import IO, TYPE_CHECKING, NamedTuple, Optional

from sc import commands_folder, paths, s3_settings
from sc.commands.voice import tell
from sc.errors import InputError
from sc.widths import Width, width_of

if TYPE_CHECKING:
    from sc.model import Batch, Given, Run
    from sc.staging import Job
    from sc.storage import Storage

HELP = "a batch file, a commands folder of split, or a job's URL"
_THREADS = 8
_AHEAD = 64


class AtHand(NamedTuple):
    """A batch, and what is known of the jobs that worked on it."""

    batch: Batch
    job_url: Optional[str]
    """Where one job is meant; its runs are then those of `batch`, which may be some of the file that was split."""
    given: Optional[Given] = None
    """What its recipe gives to the runs, where that is at hand too."""
    folder: str = ""
    """Where it was split, where that is known here."""


def read_at_hand(
    word: str, storage: Storage, remote_output_path: Optional[str] = None, job: Optional[str] = None
) -> AtHand:
    """The batch that is meant. Raises InputError for what is none.

    `remote_output_path` stands in for that of a batch file; `job` is the name of one of its jobs.
    """
    split = _split_of(word)
    if split is not None:
        return _of_split(word, split)
    url = _job_url(word)
    if url is not None:
        return _of_job(url, storage)
    if os.path.isdir(word):
        raise InputError(f"{word} is a folder, and none that 'sc split' wrote; name {HELP}")
    from sc.documents import read_batch

    batch = read_batch(
        word,
        remote_output_path=remote_output_path,
        fetch=storage.get_file,
        tell=tell,
        at_once=1,  # nothing is run but by `sc rerun`, one after the other
    )
    return AtHand(batch, paths.job(batch.remote_output_path, job) if job else None)


def is_job(word: str) -> bool:
    """Whether the batch is read from a job's place."""
    return _split_of(word) is None and _job_url(word) is not None


def job_urls(at_hand: AtHand, storage: Storage) -> list[str]:
    """The job that is meant, or else all that ever worked on the batch."""
    if at_hand.job_url is not None:
        return [at_hand.job_url]
    place = at_hand.batch.remote_output_path
    names = storage.list_folders(paths.join(place, paths.JOBS))
    return [paths.job(place, name) for name in names]


def last_job(at_hand: AtHand, storage: Storage) -> Optional[tuple[str, Job]]:
    """Of the jobs with machines the one that was started last, or None."""
    from sc.staging import read_job

    newest: Optional[tuple[float, str]] = None
    for url in job_urls(at_hand, storage):
        entry = storage.stat(paths.recipe(url))
        if entry is not None and (newest is None or entry.age_seconds < newest[0]):
            newest = (entry.age_seconds, url)
    if newest is None:
        return None
    job = read_job(storage, newest[1])
    s3_settings.adopt(job.s3, os.environ)
    return newest[1], job


def _split_of(word: str) -> Optional[commands_folder.Split]:
    recipe = os.path.join(word, commands_folder.RECIPE) if os.path.isdir(word) else word
    return commands_folder.read(recipe) if os.path.isfile(recipe) else None


def _of_split(word: str, split: commands_folder.Split) -> AtHand:
    from sc.documents import read_batch, read_recipe

    if not split.parts:
        raise InputError(f"{word}: nothing was left to be run when it was split")
    recipe = os.path.join(word, commands_folder.RECIPE) if os.path.isdir(word) else word
    first = read_batch(split.parts[0], at_once=1)
    place = first.remote_output_path
    batch = _spooled(place, _runs_of_files(split.parts), word)
    read = read_recipe(recipe).recipe
    s3_settings.keep(read.s3, os.environ)
    url = paths.job(place, read.name)
    return AtHand(replace(batch, width=first.width), url, read.given, split.folder or "")


def _runs_of_files(parts: Iterable[str]) -> Iterator[Run]:
    from sc.documents import read_batch

    for part in parts:
        yield from read_batch(part, at_once=1).runs


def _job_url(word: str) -> Optional[str]:
    """The place, if it is the URL of a job: one name below `.sc`."""
    word = word.rstrip("/")
    above, _, name = word.rpartition("/")
    if not name or above.rpartition("/")[2] != paths.JOBS:
        return None
    return word if "://" in word else os.path.abspath(word)


def _of_job(url: str, storage: Storage) -> AtHand:
    from sc.staging import read_job, read_part

    job = read_job(storage, url)
    s3_settings.adopt(job.s3, os.environ)

    def runs() -> Iterator[Run]:
        with ThreadPoolExecutor(_THREADS) as threads:
            for first in range(0, job.written, _AHEAD):
                numbers = range(first, min(first + _AHEAD, job.written))
                for part in threads.map(lambda one: read_part(storage, url, one), numbers):
                    yield from part

    batch = _spooled(job.remote_output_path, runs(), url)
    path = storage.local_path(paths.part(url, 0))
    batch = batch if path is None else replace(batch, width=_width(path))
    return AtHand(batch, url, job.given)


def _width(path: str) -> Width:
    with open(path, "rb") as file:
        return width_of(file.fileno())


def _spooled(place: str, runs: Iterable[Run], shown: str) -> Batch:
    """The runs of many parts as one batch that is read from a file of this machine whenever it is gone through."""
    from sc.documents import read_batch_file

    with tempfile.TemporaryDirectory(prefix="sc-") as folder:
        path = os.path.join(folder, "batch.json")
        with open(path, "w", encoding="ascii") as file:
            _write(file, place, runs)
        return read_batch_file(path, f"{shown} (batch.json)", tell=tell, at_once=1)


def _write(file: IO[str], place: str, runs: Iterable[Run]) -> None:
    file.write(f'{{"remote_output_path": {json.dumps(place)}, "runs": [')
    for number, run in enumerate(runs):
        file.write((",\n" if number else "\n") + json.dumps(run.to_json()))
    file.write("\n]}")
