"""The loop's side of storing: what is on its way, by which saver, and what becomes of it.

Outputs that were written in place pass by here only when there are results, or when the mark could not be written.
"""

from __future__ import annotations

import math
import os
import random
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Optional

from sc.executor import OpenSink, Plan, Task
from sc.executor.crew import Member, dismiss, fork_saver, kill
from sc.executor.folder import Kept, TemporaryFolder, make_below
from sc.executor.fullness import Fullness, is_short
from sc.executor.growth import LOOK_SECONDS, Growth
from sc.executor.messages import ALL, ATTEMPT, GROWING, PRINTED, Hurry, Left, Moving, Save, Saved
from sc.executor.outcomes import interrupted, stored, unstored
from sc.executor.room import RoomError, empty_wanted, make_empty
from sc.executor.saver import RUNS_AT_A_TIME, remove_left
from sc.executor.saving import Effort, SaveQueue
from sc.executor.scheduler import Live
from sc.model import Outcome

Verdict = tuple[Task, Outcome]
UNDER_WAY = 2 * RUNS_AT_A_TIME
"""Saves that a saver is given before it has answered."""
PENDING_PER_SLOT, LEAST_PENDING = 4, 64
"""So many ended runs may wait to be stored before new ones are held back; fewer where the disk is short of room."""
STILL_SECONDS = 3.0
"""After an interrupt: storing is given up when nothing has moved for so long. An upload that moves goes on."""
REDONE_SECONDS = 60.0
"""After an interrupt, in all, where somebody else does again what is not stored."""


class Stores:
    """`step` is called at every turn of the loop; saver's answers arrive through the selector."""

    def __init__(
        self,
        plan: Plan,
        folder: TemporaryFolder,
        fullness: Fullness,
        open_sink: OpenSink,
        selector: selectors.BaseSelector,
    ) -> None:
        self.kept = Kept()
        self._plan = plan
        self._folder = folder
        self._fullness = fullness
        self._open_sink = open_sink
        self._sink = open_sink()
        self._selector = selector
        self._queue = SaveQueue(random.random)
        self._savers: dict[int, Member] = {}
        self._most_savers = plan.savers
        self._under_way: dict[int, dict[int, int]] = {}
        """By saver: the numbers of what it was given, and their origins."""
        self._ended: dict[int, Verdict] = {}
        """By the number of the save that ends it."""
        self._verdicts: list[Verdict] = []
        self._growth: dict[int, tuple[Live, Growth]] = {}
        """By the number of the start."""
        self._next_look = 0.0
        self._numbers = 0
        self._hurried_at = math.inf
        """When the execution was told to end."""
        self._moved_at = -math.inf
        """When something was stored, or moved on its way."""
        self._is_out_of_time = False

    def __len__(self) -> int:
        return len(self._queue) + len(self._verdicts)

    # What the loop tells

    def watch(self, live: Live) -> None:
        """A run has been started: its output is stored now and then while it goes on."""
        if self._sink.local_path(live.waiting.task.run.remote_output_path) is None:
            growth = Growth(live.since, due=live.since + LOOK_SECONDS)
            self._growth[live.number] = (live, growth)

    def unwatch(self, live: Live) -> None:
        self._growth.pop(live.number, None)

    def keep_attempt(self, task: Task, attempt: int, left: Left) -> None:
        self._add(ATTEMPT, task, left, attempt=attempt)

    def save(self, task: Task, outcome: Outcome, left: Left) -> None:
        """Store the outputs of an ended run; its verdict comes from `step` when that is done."""
        kind = PRINTED if outcome.code is None else ALL
        self._ended[self._add(kind, task, left, outcome.code, outcome.attempt)] = (task, outcome)

    def mark(self, task: Task, outcome: Outcome) -> None:
        """Store the code of a run that was not started, an empty `stdout`, and the reason as its `stderr`, in place of
        what an earlier execution left: in a folder that is removed by whoever starts the run."""
        place = self._sink.local_path(task.run.remote_output_path)
        if place is not None:
            with suppress(OSError, RoomError):  # storing meets the same, and tells it
                make_empty(place)
        folder = f"{self._folder.path}/none-{self._numbers}"
        make_below(folder)
        for name, text in (("stdout", ""), ("stderr", f"sc: {outcome.reason}\n")):
            with suppress(OSError), open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        self.save(task, outcome, Left(folder, None))

    def drop(self, left: Optional[Left]) -> None:
        if left is not None:
            remove_left(left)

    def remove_attempt(self, live: Live) -> None:
        """Remove what an attempt has left whose keeper has died."""
        empty_wanted(f"{self._folder.path}/{live.number}")
        remove_left(Left(f"{self._folder.path}/{live.number}", None))

    def hurry(self, at_once: bool) -> None:
        """The execution is to end: store what can be stored now, and keep the rest here. `at_once`: all of it."""
        self._is_out_of_time |= at_once
        self._hurried_at = min(self._hurried_at, time.monotonic())
        for saver in self._savers.values():
            _send(saver, Hurry())

    def _deadline(self) -> float:
        """When what is not stored yet is kept here; never, while the execution goes on."""
        if self._is_out_of_time:
            return -math.inf
        if self._hurried_at == math.inf:
            return math.inf
        latest = self._hurried_at + (REDONE_SECONDS if self._plan.are_runs_redone else math.inf)
        return min(latest, max(self._hurried_at, self._moved_at) + STILL_SECONDS)

    def revoke(self, origins: frozenset[int]) -> None:
        """Others have these now, and write to the same places: no more of it is stored, nor is it kept."""
        for live, _ in list(self._growth.values()):
            if live.waiting.task.origin in origins:
                self.unwatch(live)
        for saver, under_way in list(self._under_way.items()):
            if not origins.isdisjoint(under_way.values()):
                os.kill(self._savers[saver].pid, signal.SIGKILL)
                while saver in self._savers:
                    self._hear(saver)  # up to its end; what else it had is tried again
        for save in self._queue.revoke(origins):
            if save.kind != GROWING:  # else the run itself still writes there
                remove_left(save.left)
            self._tell(save.number, interrupted)

    # What the loop asks

    def step(self, now: float, is_in_doubt: bool = False) -> list[Verdict]:
        """Hand out what is to be stored, if it surely is ours; returns the runs for which all is said."""
        self._look(now)
        if now >= self._deadline():
            self._abandon(are_redone=self._plan.are_runs_redone)
        elif self._queue.has_failed():
            hopeless = self._queue.give_up(now, self._plan.save_patience_seconds)
            if self._queue.is_cut_off:
                self._abandon(hopeless)
            else:
                self._give_up(hopeless)
        while not is_in_doubt and self._has_free_saver():
            save = self._queue.next(now)
            if save is None:
                break
            self._hand_out(save)
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def is_cut_off(self) -> bool:
        """True when the storage is gone: whatever was started now, its outputs could not be stored."""
        return self._queue.is_cut_off

    def is_full(self) -> bool:
        """True while new runs are to be held back."""
        pending = len(self._queue)
        if pending >= max(LEAST_PENDING, PENDING_PER_SLOT * self._plan.nprocs):
            return True
        return bool(pending and self._queue.trouble()) and is_short(self._folder.path)

    def next_time(self, now: float) -> Optional[float]:
        times = [self._queue.next_time(), self._deadline() if len(self._queue) else None]
        if self._growth:
            times.append(self._next_look)
        return min((one for one in times if one is not None), default=None)

    def trouble(self) -> str:
        return self._queue.trouble()

    def origins(self) -> tuple[int, ...]:
        """Of what is on its way."""
        return tuple(sorted(self._queue.origins()))

    def close(self) -> None:
        for number in list(self._savers):
            if self._under_way[number]:
                kill(self._savers.pop(number))
        dismiss(self._savers.values())
        self._savers.clear()

    def pids(self) -> list[int]:
        """Of the savers."""
        return [saver.pid for saver in self._savers.values()]

    # How it is done

    def _add(
        self, kind: str, task: Task, left: Left, code: Optional[int] = None, attempt: int = 1
    ) -> int:
        self._numbers += 1
        self._moved_at = time.monotonic()
        path = task.run.remote_output_path
        self._queue.add(Save(self._numbers, kind, path, left, code, attempt, task.origin))
        return self._numbers

    def _has_free_saver(self) -> bool:
        if len(self._savers) < self._most_savers:
            return True
        return any(len(numbers) < UNDER_WAY for numbers in self._under_way.values())

    def _hand_out(self, save: Save) -> None:
        """Give it to the saver with the least to do; make another while all are busy."""
        saver = min(self._under_way, key=lambda one: len(self._under_way[one]), default=None)
        if saver is None or (self._under_way[saver] and len(self._savers) < self._most_savers):
            try:
                saver = self._fork()
            except OSError as error:
                self._most_savers = max(1, len(self._savers))
                if saver is None:
                    reason = f"no process can be started to store outputs: {error.strerror}"
                    self._answered(Saved(save.number, error=reason))
                    return
        self._under_way[saver][save.number] = save.origin
        _send(self._savers[saver], save)

    def _fork(self) -> int:
        self._numbers += 1
        number = self._numbers
        folder = self._folder.path
        self._savers[number] = fork_saver(number, folder, self._open_sink, self._fullness)
        self._under_way[number] = {}
        channel = self._savers[number].channel
        if self._hurried_at < math.inf:
            _send(self._savers[number], Hurry())
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._hear(number))
        return number

    def _hear(self, saver: int) -> None:
        try:
            answers = self._savers[saver].channel.receive_ready()
        except (EOFError, OSError):
            self._saver_died(saver)
            return
        for saved in answers:
            if isinstance(saved, Moving):
                self._moved_at = time.monotonic()
                continue
            self._under_way[saver].pop(saved.number, None)
            self._answered(saved)

    def _answered(self, saved: Saved) -> None:
        if self._queue.answered(saved, time.monotonic()) is None:
            return
        self._moved_at = time.monotonic()
        self._tell(saved.number, partial(stored, note=saved.note, files=saved.unstored))

    def _tell(self, number: int, revise: Callable[[Outcome], Outcome]) -> None:
        """All is said of a run, if this save was to end it."""
        if number in self._ended:
            task, outcome = self._ended.pop(number)
            self._verdicts.append((task, revise(outcome)))

    def _saver_died(self, number: int) -> None:
        saver = self._savers.pop(number)
        self._selector.unregister(saver.channel)
        kill(saver)
        # Not at once again: where memory or processes are short, the next one would die as well.
        for under_way in self._under_way.pop(number):
            self._answered(Saved(under_way, error="the process that stores outputs was killed"))

    def _look(self, now: float) -> None:
        """Have the output of what goes on stored, where it has grown."""
        if not self._growth or now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        for live, growth in list(self._growth.values()):
            folder = f"{self._folder.path}/{live.number}"
            grown = growth.grown(now, _size(f"{folder}/stdout") + _size(f"{folder}/stderr"))
            if grown is not growth:
                task = live.waiting.task
                if not self._queue.has(task.run.remote_output_path):
                    self._growth[live.number] = (live, grown)
                    self._add(GROWING, task, Left(folder, None))

    def _abandon(self, hopeless: Sequence[Effort] = (), are_redone: bool = False) -> None:
        """Storing has to end now, of these and of all else. The savers go first, so that they and we do not move the
        same files."""
        if not len(self._queue) and not hopeless:
            return
        for number in list(self._savers):
            self._selector.unregister(self._savers[number].channel)
            kill(self._savers.pop(number))
            del self._under_way[number]
        trouble = self._queue.trouble()
        efforts = [*hopeless, *self._queue.abandon()]
        self._give_up(efforts, trouble or "there was no time to store it", are_redone)

    def _give_up(self, efforts: Sequence[Effort], why: str = "", are_redone: bool = False) -> None:
        """What finished is kept; what an unfinished run had printed is not."""
        saves = [effort.save for effort in efforts if effort.save.kind in (ALL, ATTEMPT)]
        if saves:
            self.kept.folder = self._folder.keep(saves, self.kept.folder)
            self.kept.places.update(save.remote_output_path for save in saves)
            self.kept.reason = next((one.error for one in efforts if one.error), why)
        for effort in efforts:
            unstored_now = partial(unstored, reason=effort.error or self.kept.reason)
            self._tell(effort.save.number, interrupted if are_redone else unstored_now)


def _send(saver: Member, message: object) -> None:
    try:
        saver.channel.send(message)
    except OSError:
        return  # it is dead, and its end of file is about to be read


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
