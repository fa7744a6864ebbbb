"""The parts that a worker has in hand: fetched, renewed, told as done, given back. The clerk's side.

`now` is this machine's monotonic clock, in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from sc import claims, paths
from sc.claims import Claim, done_note
from sc.codes import GARBAGE, THREADS, Ended, read_code
from sc.errors import InputError, StorageError
from sc.leases import namer
from sc.model import Outcome, Run, command_hash, identities
from sc.previous_outputs import find_previous, remove_previous
from sc.staging import Job, UnreadablePartError, read_part
from sc.storage import Storage
from sc.strangers import Own, find_ours, refused
from sc.worker.part_count import PartCount

GRACE_SECONDS = 10.0
"""What stopping a run may take: it begins so long before the lease ends."""
_CLOCK_STEP_SECONDS = 2.0
"""S3 tells whole seconds, of the object and of the answer alike."""


@dataclass
class Hand(PartCount):
    """A part in hand."""

    origin: int
    claim: Claim
    since: float
    """When the claim was made or renewed last; what counts is the moment before the request was sent."""
    left: int = 0
    """Runs that have not ended."""
    completed: int = 0
    failed: int = 0
    not_stored: int = 0
    lost: list[str] = field(default_factory=list)
    is_doubtful: bool = False
    """True when it is to be renewed at once, to see whether it is still ours."""


class Fetched(NamedTuple):
    """A part that was claimed, and what is to be done of it."""

    runs: Sequence[Run]
    completed: int = 0
    """Somebody else has done so many of its runs before,"""
    failed: int = 0
    """and these have failed."""
    lost: Sequence[Outcome] = ()
    """Runs that are given up, because the part has lost too many machines."""
    refused: Sequence[Outcome] = ()
    """Runs that are not started, because somebody else's things lie where their outputs would go."""


class Claimed:
    """All that is done with a part once it is claimed."""

    def __init__(self, storage: Storage, job_url: str, job: Job, machine: str) -> None:
        self._storage = storage
        self._job_url = job_url
        self._job = job
        self._machine = machine

    def until(self, hand: Hand) -> float:
        """The moment by which the runs of this part have to be stopped if no renewal succeeds."""
        lease = self._job.lease_seconds
        return hand.since + lease - min(GRACE_SECONDS, lease / 4)

    def is_due(self, hand: Hand, now: float) -> bool:
        """True when the claim should be renewed."""
        return (
            hand.is_doubtful
            or now >= hand.since + self._job.lease_seconds / claims.RENEWALS_PER_LEASE
        )

    def renew(self, hand: Hand, now: float) -> bool:
        """False: somebody else has the part. Raises StorageError when nobody knows."""
        renewed = claims.renew(self._storage, self._job_url, hand.claim)
        if renewed is None:
            return False
        hand.claim, hand.since, hand.is_doubtful = renewed, now, False
        return True

    def fetch(self, claim: Claim) -> Fetched:
        """Read a part that we have claimed, and have what earlier executions of its runs left removed.

        Of a part that was begun before, only what its former holders have not ended is to be done.
        Raises UnreadablePartError for one that nobody can do, StorageError when it could not be read now.
        """
        try:
            return self._fetch(claim)
        except InputError as error:  # a run with an output path that is no place
            raise UnreadablePartError(str(error)) from error

    def _fetch(self, claim: Claim) -> Fetched:
        runs = read_part(self._storage, self._job_url, claim.part)
        if not claim.was_begun:
            refused = self._forget_ours([run for run in runs if self._may_have_outputs(run)])
            gone = {one.remote_output_path for one in refused}
            runs = [run for run in runs if run.remote_output_path not in gone]
            return Fetched(runs, refused=refused)
        todo, completed, failed = self._left_by_others(claim.part, runs)
        if claim.is_hopeless:
            return Fetched((), completed, failed, [self._lost(run, claim) for run in todo])
        self._forget(todo)
        return Fetched(todo, completed, failed)

    def tell_done(self, hand: Hand, now: float) -> bool:
        """Write `done/<n>`, if the claim is still ours for certain. False if it is not."""
        is_certain = not hand.is_doubtful and now < hand.since + self._job.lease_seconds / 2
        if not is_certain and not self.renew(hand, now):
            return False
        note = done_note(
            hand.completed,
            hand.failed,
            hand.lost,
            hand.claim.worker,
            not_stored=hand.not_stored,
        )
        self._storage.put(paths.done(self._job_url, hand.claim.part), note)
        return True

    def tell_unreadable(self, claim: Claim, reason: str) -> None:
        """End a part that nobody can do."""
        note = done_note(0, 0, (), claim.worker, reason)
        self._storage.put(paths.done(self._job_url, claim.part), note)

    def give_back(self, hand: Hand) -> None:
        """Let others have it; nothing of it goes on here."""
        claims.give_back(self._storage, self._job_url, hand.claim)

    def recall(self, part: int, worker: str) -> Optional[Claim]:
        """Our claim, as the storage has it."""
        return claims.recall(self._storage, self._job_url, part, worker)

    def _left_by_others(self, part: int, runs: Sequence[Run]) -> tuple[list[Run], int, int]:
        """What is still to be done, and how many have completed and failed.

        A code that is older than the part itself comes from an earlier job: its run is to be done. Ages are the
        storage's, so no clock of a machine can make an old result look new; and one that is not sure is not believed.
        """
        entry = self._storage.stat(paths.part(self._job_url, part))
        if entry is None:
            raise StorageError(f"{paths.part(self._job_url, part)} is gone.")
        with ThreadPoolExecutor(THREADS) as threads:
            ended = list(
                threads.map(lambda run: read_code(self._storage, run.remote_output_path), runs)
            )
        todo, completed, failed = [], 0, 0
        for run, one in zip(runs, ended):
            is_near = self._storage.local_path(run.remote_output_path) is not None
            newest = entry.age_seconds - (0 if is_near else _CLOCK_STEP_SECONDS)
            if one is None or one.code == GARBAGE or not _is_younger(one, newest):
                todo.append(run)
            elif one.code == 0:
                completed += 1
            else:
                failed += 1
        return todo, completed, failed

    def _may_have_outputs(self, run: Run) -> bool:
        """False for those that nobody can have begun."""
        inside = self._job.remote_output_path.rstrip("/") + "/"
        return not (self._job.is_fresh and run.remote_output_path.startswith(inside))

    def _forget_ours(self, runs: Sequence[Run]) -> list[Outcome]:
        """The same for runs that nobody has begun in this job. Returns those at whose places something else lies."""
        places, place = [run.remote_output_path for run in runs], self._job.remote_output_path
        found = find_ours(self._storage, places, place, Own(self._job_url), namer(place))
        remove_previous(self._storage, found.previous)
        strangers, now = found.strangers, time.time()
        return [
            refused(run, strangers[run.remote_output_path], now, self._machine)
            for run in runs
            if run.remote_output_path in strangers
        ]

    def _forget(self, runs: Sequence[Run]) -> None:
        """Remove what lies at their output paths. One LIST, and no more requests where nothing is found."""
        places = [run.remote_output_path for run in runs]
        found = find_previous(self._storage, places, below=self._job.remote_output_path)
        remove_previous(self._storage, found)

    def _lost(self, run: Run, claim: Claim) -> Outcome:
        reason = (
            f"the machine that had it was lost {claim.losses} times "
            f"({', '.join(claim.holders)}); it may be what kills them"
        )
        path = run.remote_output_path
        whole, own = identities(run, self._job.given)
        lost = Outcome(
            path, command_hash(run), None, "lost", 1, self._machine, -1, 0.0, 0.0, reason
        )
        return lost._replace(identity=whole, own_identity=own)


def _is_younger(code: Ended, seconds: float) -> bool:
    return code.is_age_sure and code.age_seconds < seconds
