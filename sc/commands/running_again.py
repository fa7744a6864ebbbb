"""The two ways to run something again: and store nothing, or store it as `sc batch` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Optional, Protocol

from sc import paths
from sc.errors import ExitCode, MissingError, StorageError

if TYPE_CHECKING:
    from sc.commands.at_hand import AtHand
    from sc.executor import Plan
    from sc.model import Outcome, Run
    from sc.rerunning import Places
    from sc.storage import Storage

NAME = "rerun"
"""The job under which the records of saved runs are kept."""


class Told(Protocol):
    """Who is told of the runs."""

    def echo(self, stream: str, data: bytes) -> None:
        """What a run prints."""

    def begin(self, one: Run) -> None:
        """It is about to start."""

    def end(self, outcome: Outcome) -> None:
        """It has ended."""


class Scratch:
    """A Sink all of whose places are folders below one of this machine."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def local_path(self, place: str) -> Optional[str]:
        from sc.run_index import path_key

        return f"{self._folder}/{path_key(place):016x}"

    def put(self, place: str, data: bytes) -> str:
        path = self.local_path(place) or ""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return ""

    def put_file(self, place: str, path: str) -> None:
        """Results of a run: nobody keeps them."""

    def moved(self) -> int:
        return 0


def and_forget(
    plan: Plan,
    meant: AtHand,
    runs: Iterator[Run],
    outputs: Collection[str],
    storage: Storage,
    folder: str,
    told: Told,
) -> ExitCode:
    """One attempt each; what they leave goes with `folder`."""
    from sc.executor.loop import execute
    from sc.rerunning import ListFeed, OneByOne

    scratch = Scratch(f"{folder}/outputs")
    once = ListFeed(run._replace(retries=0) for run in runs)
    feed = OneByOne(once, told.echo, lambda run: _in(scratch, run), told.begin, told.end)
    ending = execute(plan, feed, lambda: scratch)
    return ExitCode.INTERRUPTED if ending.was_interrupted else ExitCode.OK


def _in(scratch: Scratch, run: Run) -> Places:
    return lambda name: f"{scratch.local_path(run.remote_output_path)}/{name}"


def and_save(
    plan: Plan,
    meant: AtHand,
    runs: Iterator[Run],
    outputs: Collection[str],
    storage: Storage,
    folder: str,
    told: Told,
) -> ExitCode:
    """As `sc batch` does it: the old outputs go first, the new code comes last. `outputs`: the runs' output paths."""
    from sc.commands.batch import worker_id
    from sc.commands.leasing import leased
    from sc.errands import Errands
    from sc.executor.loop import execute
    from sc.feed import BatchFeed, Tally
    from sc.leases import Runs
    from sc.records import Records
    from sc.rerunning import OneByOne
    from sc.storage import open_storage
    from sc.strangers import Own

    place = meant.batch.remote_output_path
    storage.check(place)
    tally = Tally(total=len(outputs))
    errands = Errands(open_storage)
    url = meant.job_url or paths.job(place, NAME)
    execution, to_lease = worker_id(), Runs(place, lambda: outputs)
    own, records, places = Own(url, execution), Records(url, execution), _places(storage, folder)
    try:
        errands.begin()
        with leased(storage, url, execution, to_lease, errands) as lease:
            inner = BatchFeed(runs, tally, storage, errands, records, _show, "", place, lease, own)
            feed = OneByOne(inner, told.echo, places, told.begin, told.end, partial(_get, storage))
            ending = execute(plan, feed, open_storage)
            inner.finish()
    finally:
        errands.close()
    if inner.trouble:
        raise StorageError(inner.trouble)
    return tally.exit_code(ending)


def _show(*_: object) -> float:
    """There is no progress to be shown: the output of the run is."""
    from sc.rerunning import LOOK_SECONDS

    return LOOK_SECONDS


def _places(storage: Storage, folder: str) -> Callable[[Run], Places]:
    from sc.rerunning import places_of_attempts

    def places(run: Run) -> Places:
        path = storage.local_path(run.remote_output_path)
        return places_of_attempts(folder) if path is None else lambda name: f"{path}/{name}"

    return places


def _get(storage: Storage, place: str) -> bytes:
    try:
        return storage.get(place)
    except MissingError:
        return b""
