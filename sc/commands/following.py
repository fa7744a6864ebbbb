"""Following a job to its end: `sc watch`, and `--wait` of split and apply. One loop, one exit code."""

from __future__ import annotations

import argparse
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sc import commands_folder
from sc.commands.displays import Display, pick_display
from sc.commands.ending import Ended, run_on_end, tell_end
from sc.commands.paying import Bill
from sc.commands.signals import ended_politely
from sc.commands.voice import command_line, say
from sc.errors import CloudError, ExitCode, InputError, MissingError, StorageError

if TYPE_CHECKING:
    from sc.commands.starting import Intended
    from sc.fleets import Fleet
    from sc.job_state import State
    from sc.screen import View
    from sc.staging import Job
    from sc.storage import Storage

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, NEAR_PAUSE_SECONDS = 0.2, 5.0, 1.0
"""Between two looks: they soon get rarer. NEAR is a job in a folder of this machine."""
JOB_EVERY_SECONDS, NEAR_JOB_EVERY_SECONDS = 20.0, 2.0
"""Between two looks at whether the job is still there."""
REDRAW_SECONDS = 1.0
ABANDONED_AFTER_SECONDS = 90.0
"""Without a machine and without a worker that says something for so long nobody works any more."""
UNKNOWN_AFTER_SECONDS = 600.0
"""The same, where nobody may be asked whether there are machines."""
LEAVE_SECONDS = 15.0


@dataclass(frozen=True)
class Followed:
    """A job, and all that is needed to look after it."""

    storage: Storage
    url: str
    job: Job
    fleet_of: Callable[[State], Fleet]
    """Who knows its machines, by what is known of its workers."""
    watch_again: str
    """The command that does."""

    @property
    def is_near(self) -> bool:
        """True if its place is a folder of this machine."""
        return self.storage.local_path(self.url) is not None


class Following:
    """Watches one job through its keys, and changes nothing."""

    def __init__(self, followed: Followed, display: Display) -> None:
        from sc.estimating import Estimator
        from sc.observing import Observer

        self._followed = followed
        self._display = display
        self._since = self._lively = self._looked = self._job_seen = time.monotonic()
        self._told: set[str] = set()
        self._is_first_view = True
        self._is_gone = False
        """The job's keys were removed, or moved away."""
        self._observer = Observer(followed.storage, followed.url, followed.job, time.monotonic)
        self._estimator = Estimator()
        self._bill = Bill(followed.url)

    def until_the_end(self) -> Ended:
        """Returns when every part is done, or nobody works on the rest, or nothing is known of the job any more."""
        pause = FIRST_PAUSE_SECONDS
        longest = NEAR_PAUSE_SECONDS if self._followed.is_near else LONGEST_PAUSE_SECONDS
        state, looks = self._observer.look(), 0
        while not (state.is_complete or self._is_gone or self._is_abandoned(state)):
            self._wait(state, pause)
            self._tell_why_silent(state)
            pause = min(pause * 1.3, longest)
            state, looks = self._look_again(state), looks + 1
        seconds = time.monotonic() - self._since
        if not state.is_complete:
            self._look_for_job()
        self._see_them_off(state)
        state = state if self._is_gone else self._observer.look()
        code = ExitCode.REFUSED if self._is_gone else conclusion(state)
        ended = Ended(state, seconds, code, was_seen=looks > 0)
        self._display.show(self._view(state, seconds), ended.code)
        return ended

    def _look_again(self, state: State) -> State:
        """An outage of the storage is told and waited for: the job may well go on."""
        try:
            state = self._observer.look_again()
            every = NEAR_JOB_EVERY_SECONDS if self._followed.is_near else JOB_EVERY_SECONDS
            if time.monotonic() - self._job_seen >= every:
                self._job_seen = time.monotonic()
                self._observer.look_for_job()
        except MissingError as error:
            self._end_with(error)
            return state
        except StorageError as error:
            if time.monotonic() - self._looked >= UNKNOWN_AFTER_SECONDS:
                raise
            self._tell_once(error)
            return replace(state, troubles=[str(error)])
        self._looked = time.monotonic()
        return state

    def _end_with(self, error: MissingError) -> None:
        """The job is gone."""
        self._is_gone = True
        self._tell_once(error)

    def _tell_why_silent(self, state: State) -> None:
        """Workers that can write nothing any more cannot say so either: on a disk that is full, say."""
        if state.workers and not state.live and self._followed.is_near:
            try:
                self._followed.storage.check(self._followed.url)
            except StorageError as error:
                self._tell_once(error)

    def _look_for_job(self) -> None:
        """Nobody works on the rest: perhaps as there is nothing to be read any more."""
        try:
            self._observer.look_for_job()
        except MissingError as error:
            self._end_with(error)
        except StorageError as error:
            self._tell_once(error)

    def _tell_once(self, error: StorageError) -> None:
        if str(error) not in self._told:
            self._told.add(str(error))
            self._display.tell(f"sc: {error}")

    def _wait(self, state: State, seconds: float) -> None:
        """Show the state until the next look: the clock goes on, and the terminal may change its size."""
        until = time.monotonic() + seconds
        self._show(state)
        while (rest := until - time.monotonic()) > 0:
            time.sleep(min(rest, REDRAW_SECONDS))
            if rest > REDRAW_SECONDS and self._display.is_drawn:
                self._show(state)

    def _show(self, state: State) -> None:
        self._display.show(self._view(state, time.monotonic() - self._since))

    def _view(self, state: State, elapsed: float) -> View:
        from sc.screen import View

        estimate = self._estimator.add(elapsed, state)
        dollars = in_all = None
        if not self._is_first_view:  # which is not to wait for what a cloud says
            fleet, now = self._followed.fleet_of(state), time.time()
            dollars, in_all = self._bill.of(fleet, estimate.left_seconds, time.monotonic(), now)
        self._is_first_view = False
        note = "Ctrl-C leaves this screen, and the job goes on."
        return View(state, estimate, elapsed, dollars, in_all, note)

    def _is_abandoned(self, state: State) -> bool:
        """True if parts are left and nobody is there to do them."""
        now = time.monotonic()
        if state.live:
            self._lively = now
            return False
        silent = now - self._lively
        is_stopped = state.stop is not None and not state.stop.lets_end
        is_certain = state.has_left or is_stopped or _were_all_here(state)
        if not is_certain and silent < ABANDONED_AFTER_SECONDS:
            return False
        try:
            if self._has_machines(state):
                return False
        except (CloudError, InputError):  # no rights there, or not even a region
            return state.has_left or silent >= UNKNOWN_AFTER_SECONDS
        return not self._observer.look().is_complete

    def _has_machines(self, state: State) -> bool:
        from sc.fleets import AT_REST

        machines = self._followed.fleet_of(state).list(self._followed.url)
        return any(one.state not in AT_REST for one in machines)

    def _see_them_off(self, state: State) -> None:
        """Workers leave a moment later: what they say of the last failures is worth waiting for, and a job of this
        machine can be started again only when they are gone."""
        fleet = self._followed.fleet_of(state)
        limit = time.monotonic() + LEAVE_SECONDS
        while time.monotonic() < limit:
            is_here = fleet.name == "local" and bool(fleet.list(self._followed.url))
            if not is_here and (has_told_all(state) or not state.live):
                return
            state = self._look_again(state)
            time.sleep(FIRST_PAUSE_SECONDS)


def _were_all_here(state: State) -> bool:
    """True if there were workers, all of them processes of this machine, where it can be seen whether they live."""
    beats = [one.heartbeat for one in state.workers]
    return bool(beats) and all(
        one is not None and one.fleet == "local" and one.machine == socket.gethostname()
        for one in beats
    )


def has_told_all(state: State) -> bool:
    """True if the kinds of errors that are known are those of all failures. Pure."""
    return sum(group.count for group in state.errors) >= state.unsuccessful


def conclusion(state: State) -> ExitCode:
    """What a job ends in when nothing goes on any more. Pure."""
    was_halted = state.stop is not None and state.stop.lets_end
    if not state.is_complete:
        return ExitCode.RUNS_FAILED if was_halted else ExitCode.REFUSED
    if state.not_stored:
        return ExitCode.REFUSED
    return ExitCode.RUNS_FAILED if state.unsuccessful or state.troubles else ExitCode.OK


def follow(
    followed: Followed,
    args: argparse.Namespace,
    begin: Callable[[Display], None] = lambda display: None,
    only_last: bool = False,
) -> int:
    """Stay until the job's end. Ctrl-C stops nothing: it tells how to watch again, and how to stop.

    `begin` is called first, and may wait as well. `only_last`: of the objects of --json only the last is wanted.
    """
    display = pick_display(os.environ, args.json and not only_last)
    try:
        with ended_politely():
            begin(display)
            ended = Following(followed, display).until_the_end()
    except KeyboardInterrupt:
        display.close()
        tell_interrupted(followed.url, followed.watch_again)
        return ExitCode.INTERRUPTED
    finally:
        display.close()
    tell_end(followed, ended, as_json=args.json and only_last)
    if args.on_end:
        run_on_end(args.on_end, ended)
    return ended.code


def follow_started(intended: Intended, args: argparse.Namespace, recipe: str) -> int:
    """`--wait`: from the start of the machines on."""
    launch, storage = intended.launch, intended.storage

    def begin(display: Display) -> None:
        intended.fleet.follow(launch, storage, lambda line: display.tell(f"sc: {line}"))

    again = command_line("watch", _folder(recipe))
    followed = Followed(storage, launch.job_url, intended.job, lambda state: intended.fleet, again)
    return follow(followed, args, begin, only_last=True)


def after_start(intended: Intended, recipe: str) -> int:
    """The machines go on by themselves: tell how to look after them. Those in a cloud are waited for until the
    first one works, since nobody would see them fail."""
    launch, again = intended.launch, command_line("watch", _folder(recipe))
    if not launch.recipe.is_local:
        try:
            intended.fleet.follow(launch, intended.storage, lambda line: say(f"sc: {line}"))
        except KeyboardInterrupt:
            tell_interrupted(launch.job_url, again)
            return ExitCode.INTERRUPTED
    say(f"sc: started {launch.machines:,} x {launch.recipe.instance_types[0]} for {launch.job_url}")
    _tell_ways(launch.job_url, again)
    return ExitCode.OK


def tell_interrupted(url: str, watch_again: str) -> None:
    """Nothing was stopped."""
    say("sc: interrupted; the job goes on")
    _tell_ways(url, watch_again)


def _tell_ways(url: str, watch_again: str) -> None:
    say(f"sc: watch it with: {watch_again}")
    say(f"sc: stop it with:  {command_line('stop', url)}")


def _folder(recipe: str) -> str:
    return os.path.dirname(recipe) or "."


def recipe_of(folder: str) -> str:
    """The path of the recipe in a commands folder, as a person would type it."""
    return os.path.join(folder, commands_folder.RECIPE)
