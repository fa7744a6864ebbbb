"""Does what the scheduler decides. One process, one loop, which owns all state, the clock and the signals.

Everything that happens is a message: from the feed, from a keeper, from a saver, or the end of file of one of them.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import selectors
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sc.errors import ScError
from sc.executor import Ending, Feed, Gauge, OpenSink, Plan, Task, tree
from sc.executor.crew import Member, dismiss, fork_keepers, kill, sweep_orphans
from sc.executor.folder import TemporaryFolder
from sc.executor.fullness import Fullness
from sc.executor.gpus import GpuPool
from sc.executor.limits import allow_open_files, restore_open_files
from sc.executor.messages import Blocked, Ended, Start, Stop
from sc.executor.outcomes import impossible, lost, outcome_of
from sc.executor.removal import told
from sc.executor.scheduler import Live, Scheduler
from sc.executor.signals import Signals
from sc.executor.slot import Keeper
from sc.executor.stores import Stores

DEATHS = 3
"""So many keepers may die under one run before it is told as lost."""
LONGEST_WAIT_SECONDS = 3600.0


def execute(plan: Plan, feed: Feed, open_sink: OpenSink, noted: Sequence[int] = ()) -> Ending:
    """Execute what the feed gives until it is over, and store it.

    SIGINT, SIGTERM and SIGHUP stop it: once politely, twice at once; `noted` has those that have come to the caller's
    handlers. `open_sink` is called in each process that stores. To be called from the main thread, and the only one.
    """
    tree.check_system()
    with TemporaryFolder(plan.temp_folder) as folder:
        loop = Loop(plan, feed, open_sink, folder, Signals(noted))
        try:
            ending = loop.run()
        finally:
            loop.close()
    return replace(ending, unremoved=told(folder.remaining))


class Loop:
    """All state of one execution."""

    def __init__(
        self, plan: Plan, feed: Feed, open_sink: OpenSink, folder: TemporaryFolder, signals: Signals
    ) -> None:
        self._plan = plan
        self._feed = feed
        self._scheduler = Scheduler(plan.nprocs, GpuPool(plan.gpus), random.random)
        self._strangers = frozenset(tree.children(os.getpid()))
        tree.adopt_orphans()
        self._limits = allow_open_files(plan.nprocs)
        self._selector = selectors.DefaultSelector()
        fullness = Fullness()
        self._stores = Stores(plan, folder, fullness, open_sink, self._selector)
        self._keeper = Keeper(plan, folder.path, open_sink(), fullness)
        self._keepers: dict[int, Member] = {}
        self._deaths: dict[str, int] = {}
        self._revoked: frozenset[int] = frozenset()
        self._blocked = self._gave_up = ""
        self._has_all_keepers = False
        self._signals = signals
        self._stops_sent = 0
        self._next_tick = 0.0
        self._selector.register(self._signals, selectors.EVENT_READ, self._signals.drain)
        if feed.fileno() is not None:
            self._selector.register(feed.fileno() or 0, selectors.EVENT_READ, feed.read_news)

    def run(self) -> Ending:
        """The table of contents."""
        while True:
            now = time.monotonic()
            self._obey()
            self._lose_patience(now)
            for task, outcome in self._stores.step(now, self._feed.is_in_doubt()):
                self._scheduler.release(task.run)
                self._feed.ended(task, outcome)
            self._start_runs(now)
            self._tick(now)
            if self._is_over():
                return self._ending()
            self._wait(now)

    def close(self) -> None:
        """Leave no process, whatever happened."""
        for rank in set(self._scheduler.live) & set(self._keepers):
            kill(self._keepers.pop(rank))
        dismiss(self._keepers.values())
        self._keepers.clear()
        self._stores.close()
        sweep_orphans(self._spared())
        self._signals.restore()
        restore_open_files(self._limits)
        self._selector.close()

    # What the feed and the user want

    def _obey(self) -> None:
        """Stop what is to be stopped."""
        if (self._signals.count >= 2 or self._feed.is_urgent()) and self._stops_sent < 2:
            self._stop_all(at_once=True)
            self._stores.hurry(at_once=True)
        elif self._is_stopping() and self._stops_sent < 1:
            self._stop_all(at_once=False)
            self._stores.hurry(at_once=False)
        revoked = self._feed.revoked() - self._revoked
        if revoked:
            self._revoked |= revoked
            self._scheduler.drop(revoked)
            self._stores.revoke(revoked)
            for live in self._scheduler.live.values():
                if live.waiting.task.origin in revoked:
                    self._send(live.rank, Stop(at_once=False))

    def _is_stopping(self) -> bool:
        return self._signals.count > 0 or self._feed.is_stopping() or bool(self._gave_up)

    def _lose_patience(self, now: float) -> None:
        """Nobody is going to put this machine right."""
        patience = self._plan.blocked_patience_seconds
        if self._scheduler.blocked_seconds(now) >= patience and not len(self._stores):
            self._gave_up = self._blocked

    def _stop_all(self, at_once: bool) -> None:
        self._stops_sent = 2 if at_once else 1
        self._next_tick = 0.0  # whoever shows what goes on tells at once
        self._scheduler.drop()
        for rank in self._scheduler.live:
            self._send(rank, Stop(at_once))

    def _is_over(self) -> bool:
        if self._scheduler.live or len(self._stores):
            return False
        if self._is_stopping() or self._stores.is_cut_off():
            return True
        return self._feed.is_over() and self._scheduler.is_idle()

    def _ending(self) -> Ending:
        kept, reason = self._stores.kept, self._stores.kept.reason or self._gave_up
        return Ending(self._signals.count > 0, kept.folder, len(kept.places), reason)

    # Starting

    def _start_runs(self, now: float) -> None:
        if self._is_stopping() or self._stores.is_cut_off() or self._stores.is_full():
            return
        if self._feed.is_in_doubt():
            return
        while True:
            while self._scheduler.wants_runs():
                task = self._feed.take(self._scheduler.count_wanted())
                if task is None:
                    break
                self._accept(task, now)
            if (live := self._scheduler.next_start(now)) is None:
                return
            self._start(live)

    def _accept(self, task: Task, now: float) -> None:
        if task.origin in self._revoked:
            return
        if self._scheduler.is_impossible(task):
            self._scheduler.hold(task.run)
            self._stores.mark(task, impossible(self._plan, task, time.time()))
        else:
            self._scheduler.add(task)

    def _start(self, live: Live) -> None:
        if live.rank not in self._keepers and not self._fork_keepers(live):
            return
        run, attempt = live.waiting.task.run, live.waiting.attempt
        start = Start(live.number, run, attempt, attempt > run.retries, live.devices)
        self._send(live.rank, start)
        self._stores.watch(live)

    def _fork_keepers(self, live: Live) -> bool:
        """Make the keeper for this start, and with it eight times as many as there are.

        Where the machine allows no more processes, there are fewer slots from then on. False: the run was put back.
        """
        last = live.rank + 1 if self._has_all_keepers else min(self._plan.nprocs, 8 * live.rank + 1)
        ranks = [rank for rank in range(live.rank, last) if rank not in self._keepers]
        try:
            keepers = fork_keepers(self._keeper, ranks, self._limits)
        except OSError as error:
            if not self._keepers:
                reason = f"no process can be started for runs: {error.strerror}"
                raise ScError(f"{reason}; raise `ulimit -n` or `ulimit -u`") from error
            keepers = []
        for rank, keeper in zip(ranks, keepers):
            self._keepers[rank] = keeper
            hear = partial(self._hear_keeper, rank)
            self._selector.register(keeper.channel, selectors.EVENT_READ, hear)
        if not keepers:
            self._scheduler.put_back(self._scheduler.ended(live.rank), live.since, is_blocked=False)
        if len(keepers) < len(ranks):
            self._has_all_keepers = True
            self._scheduler.restrict(self._keepers)
            self._blocked = f"only {len(self._keepers)} runs at a time, as `ulimit -n` and `-u` are"
        return bool(keepers)

    def _send(self, rank: int, message: object) -> None:
        try:
            self._keepers[rank].channel.send(message)
        except OSError:
            return  # it is dead, and its end of file is about to be read

    # Ending

    def _hear_keeper(self, rank: int) -> None:
        try:
            messages = self._keepers[rank].channel.receive_ready()
        except (EOFError, OSError):
            self._keeper_died(rank)
            return
        for message in messages:
            self._hear(rank, message)

    def _hear(self, rank: int, message: object) -> None:
        live = self._scheduler.ended(rank)
        self._stores.unwatch(live)
        if isinstance(message, Blocked):
            self._blocked = message.reason
            if live.waiting.task.origin not in self._revoked:
                self._scheduler.put_back(live, time.monotonic(), is_blocked=True)
            if message.is_crowded and len(self._keepers) > 1:  # this one makes room for runs
                self._selector.unregister(self._keepers[rank].channel)
                dismiss([self._keepers.pop(rank)])
            return
        self._blocked = ""
        self._scheduler.went_well()
        if isinstance(message, Ended):
            self._run_ended(live, message)

    def _run_ended(self, live: Live, ended: Ended) -> None:
        task, attempt, started = live.waiting
        started = started or ended.started
        if task.origin in self._revoked:
            self._stores.drop(ended.left)  # another machine has it, and writes to the same place
        elif not ended.is_final and ended.left is not None:
            self._stores.keep_attempt(task, attempt, ended.left)
        if not ended.is_final:
            if not self._is_stopping() and task.origin not in self._revoked:
                self._scheduler.try_again(live, started, time.monotonic())
            return
        outcome = outcome_of(self._plan, task, attempt, live.rank, started, ended)
        if ended.left is None or task.origin in self._revoked:
            self._feed.ended(task, outcome)
        else:
            self._scheduler.hold(task.run)
            self._stores.save(task, outcome, ended.left)

    def _keeper_died(self, rank: int) -> None:
        """Somebody killed a keeper: end what it leaves, and do its run again."""
        keeper = self._keepers.pop(rank)
        self._selector.unregister(keeper.channel)
        kill(keeper)
        sweep_orphans(self._spared())
        if rank not in self._scheduler.live:
            return
        live = self._scheduler.ended(rank)
        self._stores.unwatch(live)
        self._stores.remove_attempt(live)
        task, path = live.waiting.task, live.waiting.task.run.remote_output_path
        if self._is_stopping() or task.origin in self._revoked:
            return
        self._deaths[path] = self._deaths.get(path, 0) + 1
        if self._deaths[path] < DEATHS:
            self._scheduler.put_back(live, time.monotonic(), is_blocked=False)
            return
        self._feed.ended(task, lost(self._plan, live.waiting, rank, DEATHS, time.time()))

    def _spared(self) -> frozenset[int]:
        """The children of this process that are no orphans: the crew, the feed's, and those it had before."""
        crew = [keeper.pid for keeper in self._keepers.values()] + self._stores.pids()
        feeds = [one.pid for one in multiprocessing.active_children() if one.pid]
        return self._strangers.union(crew, feeds)

    # Time

    def _tick(self, now: float) -> None:
        if now >= self._next_tick:
            self._next_tick = now + self._feed.tick(self._gauge(now))

    def _gauge(self, now: float) -> Gauge:
        running, waiting = self._scheduler.running(now), self._scheduler.count_waiting()
        trouble = self._stores.trouble() or self._blocked
        origins, is_stopping = self._stores.origins(), self._is_stopping()
        return Gauge(running, len(self._stores), waiting, trouble, origins, is_stopping)

    def _wait(self, now: float) -> None:
        # What was due in this turn has been done, or waits for somebody to be free, who then wakes us: an outage in
        # which all savers hung once had this loop turn without a pause.
        later = [self._scheduler.next_time(), self._stores.next_time(now)]
        times = [time_ for time_ in later if time_ is not None and time_ > now]
        pause = min(max(0.0, min([self._next_tick, *times]) - now), LONGEST_WAIT_SECONDS)
        for key, _ in self._selector.select(pause):
            key.data()
