"""The parts that a worker has in hand right now, and what is told to the desk of them. The clerk's side.

handed out ──▶ in hand ──(every run has ended)──▶ done
                  └─ revoked, dropped ─▶ let go ──(nothing of it goes on any more)──▶ given back
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from sc.claims import Claim
from sc.errors import StorageError
from sc.model import Outcome
from sc.worker import messages
from sc.worker.hands import Claimed, Fetched, Hand
from sc.worker.reporter import Reporter


class PartsInHand:
    """Methods raise StorageError where the storage refuses; called again, they go on."""

    def __init__(self, work: Claimed, reporter: Reporter, tell: Callable[[object], None]) -> None:
        """`tell` sends a message to the desk."""
        self.origins = 0
        """Parts taken so far, also by the clerks before this one."""
        self._work = work
        self._reporter = reporter
        self._tell = tell
        self._held: dict[int, Hand] = {}
        self._let_go: dict[int, Hand] = {}

    @property
    def is_busy(self) -> bool:
        """True while the claims on some are ours."""
        return bool(self._held)

    @property
    def is_idle(self) -> bool:
        """True when nothing goes on for sure."""
        return not self._held and not self._let_go

    def has_ended(self) -> bool:
        """True if there is a part of which every run has ended."""
        return any(not hand.left for hand in self._held.values())

    def take_up(self, one: messages.InHand, worker: str, now: float) -> None:
        """Go on with a part that the clerk before this one had, if it is still ours for certain."""
        claim = None
        with suppress(StorageError):
            claim = self._work.recall(one.part, worker)
        if claim is None:
            self._tell(messages.Revoked(one.origin))
            return
        hand = Hand(
            one.origin,
            claim,
            now,
            one.left,
            one.completed,
            one.failed,
            one.not_stored,
            list(one.lost),
            is_doubtful=True,
        )
        self._held[one.origin] = hand

    def hand_out(self, claim: Claim, since: float) -> bool:
        """Fetch a part that was claimed at `since`, and give its runs to the desk; False if there are none to do."""
        hand = Hand(self.origins + 1, claim, since)
        try:
            fetched = self._work.fetch(claim)
        except StorageError:
            self._work.give_back(hand)
            raise
        self.origins = self._reporter.parts = hand.origin
        self._held[hand.origin] = hand
        self._count_others(hand, fetched)
        if fetched.runs:
            until = self._work.until(hand)
            runs = tuple(fetched.runs)
            self._tell(
                messages.Part(hand.origin, claim.part, runs, hand.completed, hand.failed, until)
            )
        return bool(fetched.runs)

    def run_ended(self, origin: int, outcome: Outcome) -> None:
        """A run has ended, of whatever part."""
        if origin in self._held:
            self._held[origin].add(outcome)

    def renew(self, clock: Callable[[], float]) -> list[Claim]:
        """Renew what is due; returns what turned out to be somebody else's."""
        lost = []
        for hand in list(self._held.values()):
            now = clock()
            if not self._work.is_due(hand, now):
                continue
            if self._work.renew(hand, now):
                self._tell(messages.Held(hand.origin, self._work.until(hand)))
            else:
                lost.append(self._revoke(hand))
        return lost

    def doubt(self) -> None:
        """Renew all at the next `renew`, to see whether they are still ours."""
        for hand in self._held.values():
            hand.is_doubtful = True

    def finish(self, clock: Callable[[], float]) -> list[Claim]:
        """Tell of every part that has ended; returns what turned out to be somebody else's."""
        lost = []
        for hand in [hand for hand in self._held.values() if not hand.left]:
            self._tell(self._reporter.keep_records(clock()))
            if self._work.tell_done(hand, clock()):
                del self._held[hand.origin]
                self._tell(messages.PartDone(hand.origin))
            else:
                lost.append(self._revoke(hand))
        return lost

    def drop(self, origin: int) -> None:
        """The desk has stopped it, for want of a renewal."""
        hand = self._held.pop(origin, None)
        if hand is not None:
            self._let_go[origin] = hand

    def gone(self, origin: int) -> list[Claim]:
        """Nothing of it goes on; others may have it at once, if it is still ours."""
        hand = self._let_go.pop(origin, None)
        if hand is None:
            return []
        with suppress(StorageError):  # its lease ends by itself
            self._work.give_back(hand)
        return [hand.claim]

    def give_all_back(self, clock: Callable[[], float]) -> None:
        """Nothing of anything goes on any more."""
        for hand in [*self._held.values(), *self._let_go.values()]:
            if hand.left or not self._work.tell_done(hand, clock()):
                self._work.give_back(hand)

    def _count_others(self, hand: Hand, fetched: Fetched) -> None:
        hand.left = len(fetched.runs)
        hand.completed, hand.failed = fetched.completed, fetched.failed
        for outcome in fetched.lost:
            hand.lost.append(outcome.remote_output_path)
            self._reporter.add(outcome, is_told=False)
            self._reporter.error = outcome.reason
        for outcome in fetched.refused:
            hand.not_stored += 1
            self._reporter.add(outcome, is_told=False)
            self._reporter.error = outcome.reason

    def _revoke(self, hand: Hand) -> Claim:
        del self._held[hand.origin]
        self._let_go[hand.origin] = hand
        self._reporter.error = f"the claim on part {hand.claim.part} was lost to somebody else"
        self._tell(messages.Revoked(hand.origin))
        return hand.claim
