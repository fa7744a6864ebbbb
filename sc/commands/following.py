"""What `split --start` and `apply` share once machines work: one display until the job's end, and its exit code."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

from sc import commands_folder, paths
from sc.commands.progress import Progress
from sc.commands.voice import command_line, is_terminal, result, say
from sc.errors import ExitCode, MissingError

if TYPE_CHECKING:
    from sc.claims import DoneNote
    from sc.commands.starting import Intended
    from sc.heartbeats import Heartbeat
    from sc.storage import Entry, Storage

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
DONE_EVERY_SECONDS = 60.0
"""All of `done/` is listed so often; else only when the workers say that they are through."""
ABANDONED_AFTER_SECONDS = 90.0
"""Without a machine and without a fresh heartbeat for so long nobody works any more."""
LEAVE_SECONDS = 15.0
SHOWN = 5
_GOOD_NOTE = len('{"completed":1234567890}')
"""A longer note under `done/` tells of something that went wrong, and is read."""


@dataclass
class Ended:
    """What `done/` says. Notes of parts in which all went well are counted, not read."""

    parts: int = 0
    failed: int = 0
    lost: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    _read: set[str] = field(default_factory=set)

    def refresh(self, storage: Storage, job_url: str) -> None:
        """List all notes, and read the new ones of parts in which something went wrong."""
        from sc.claims import read_done_note

        entries = list(storage.list(paths.join(job_url, "done")))
        self.parts = len(entries)
        for entry in self._new(entries):
            try:
                self._add(read_done_note(storage.get(entry.place)))
            except MissingError:
                continue
            self._read.add(entry.place)

    def _new(self, entries: Iterable[Entry]) -> list[Entry]:
        return [one for one in entries if one.size > _GOOD_NOTE and one.place not in self._read]

    def _add(self, note: DoneNote) -> None:
        self.failed += note.failed
        self.lost += note.lost
        if note.trouble:
            self.troubles.append(note.trouble)


class Following:
    """Watches one job through its keys."""

    def __init__(self, intended: Intended, progress: Progress) -> None:
        self._storage = intended.storage
        self._url = intended.launch.job_url
        self._fleet = intended.fleet
        self._job = intended.job
        self._is_local = intended.launch.recipe.is_local
        self._progress = progress
        self._since = time.monotonic()
        self._listed = -DONE_EVERY_SECONDS
        self._lively = self._since
        self._told: set[str] = set()
        self._before: Optional[int] = None
        self.ended = Ended()
        self.seconds = 0.0
        """From the beginning of the watch to the job's end."""

    def until_the_end(self) -> ExitCode:
        """Returns when every part is done, or nobody works on the rest."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            workers = self._workers()
            if self._is_time_to_list(workers):
                self.ended.refresh(self._storage, self._url)
                self._listed = time.monotonic()
            if self.ended.parts >= self._job.parts:
                self.seconds = self._elapsed()
                self._see_them_off()
                return self._code()
            if self._is_abandoned(workers):
                self.seconds = self._elapsed()
                return ExitCode.REFUSED
            wanted = self._show(workers)
            time.sleep(min(pause, wanted))
            pause = min(pause * 1.3, LONGEST_PAUSE_SECONDS)

    def _elapsed(self) -> float:
        return time.monotonic() - self._since

    def _workers(self) -> list[Heartbeat]:
        """What each worker has told last; new errors of theirs are told once."""
        from sc.heartbeats import heartbeat_of

        found, fresh = [], False
        for entry in self._storage.list(paths.join(self._url, "workers")):
            try:
                heartbeat = heartbeat_of(self._storage.get(entry.place))
            except MissingError:
                continue
            if heartbeat is not None:
                found.append(heartbeat)
                self._tell_error(heartbeat)
                is_alive = not heartbeat.is_last
                fresh = fresh or (is_alive and entry.age_seconds < ABANDONED_AFTER_SECONDS)
        if fresh:
            self._lively = time.monotonic()
        return found

    def _tell_error(self, heartbeat: Heartbeat) -> None:
        if heartbeat.error and heartbeat.error not in self._told:
            self._told.add(heartbeat.error)
            self._progress.tell(f"sc: {heartbeat.worker}: {heartbeat.error}")

    def _is_time_to_list(self, workers: Sequence[Heartbeat]) -> bool:
        if time.monotonic() - self._listed >= DONE_EVERY_SECONDS:
            return True
        ended = sum(one.completed + one.failed + one.lost for one in workers)
        return ended >= self._job.runs or all(one.is_last for one in workers)

    def _is_abandoned(self, workers: Sequence[Heartbeat]) -> bool:
        """True if parts are left and nobody is there to do them."""
        silent = time.monotonic() - self._lively
        all_left = bool(workers) and all(one.is_last for one in workers)
        if not all_left and silent < ABANDONED_AFTER_SECONDS:
            return False
        live = [one for one in self._fleet.list(self._url) if one.state != "ended"]
        if live:
            return False
        self.ended.refresh(self._storage, self._url)
        return self.ended.parts < self._job.parts

    def _see_them_off(self) -> None:
        """Workers of this machine leave a moment later: the job can be started again only then."""
        limit = time.monotonic() + LEAVE_SECONDS
        while self._is_local and self._fleet.list(self._url) and time.monotonic() < limit:
            time.sleep(FIRST_PAUSE_SECONDS)

    def _show(self, workers: Sequence[Heartbeat]) -> float:
        from sc import reports

        failed = sum(one.failed for one in workers)
        counts = {"completed": sum(one.completed for one in workers), "failed": failed}
        counts["lost"] = sum(one.lost for one in workers)
        running = sum(len(one.running) for one in workers if not one.is_last)
        ended = sum(counts.values())
        if self._before is None:
            self._before = ended
        text = reports.progress(counts, running, self._job.runs, self._elapsed(), self._before)
        machines = sum(not one.is_last for one in workers)
        return self._progress.show(f"sc: {text}, {reports.workers(machines)}", self._elapsed())

    def _code(self) -> ExitCode:
        ended = self.ended
        return ExitCode.RUNS_FAILED if ended.failed or ended.lost or ended.troubles else ExitCode.OK


def follow(intended: Intended, args: argparse.Namespace, recipe: str) -> int:
    """Stay until the job's end. Ctrl-C stops nothing: it tells how to watch again, and how to stop."""
    progress = Progress(is_terminal(os.environ))
    following = Following(intended, progress)
    try:
        intended.fleet.follow(
            intended.launch, intended.storage, lambda line: progress.tell(f"sc: {line}")
        )
        code = following.until_the_end()
    except KeyboardInterrupt:
        progress.clear()
        _tell_interrupted(intended, recipe)
        return ExitCode.INTERRUPTED
    finally:
        progress.clear()
    _tell_end(intended, args, following, code)
    if following.ended.failed:
        folder = os.path.dirname(recipe) or "."
        say(f"sc: look at the failures with: {command_line('logs', folder, '--failed')}")
    return code


def after_start(intended: Intended, recipe: str) -> int:
    """The machines go on by themselves: tell how to look after them. Those in a cloud are waited for until the
    first one works, since nobody would see them fail."""
    launch = intended.launch
    if not launch.recipe.is_local:
        try:
            intended.fleet.follow(launch, intended.storage, lambda line: say(f"sc: {line}"))
        except KeyboardInterrupt:
            _tell_interrupted(intended, recipe)
            return ExitCode.INTERRUPTED
    say(f"sc: started {launch.machines:,} x {launch.recipe.instance_types[0]} for {launch.job_url}")
    _tell_ways(intended, recipe)
    return ExitCode.OK


def _tell_interrupted(intended: Intended, recipe: str) -> None:
    say("sc: interrupted; the job goes on")
    _tell_ways(intended, recipe)


def _tell_ways(intended: Intended, recipe: str) -> None:
    say(f"sc: watch it with: {command_line('apply', recipe, '--wait')}")
    say(f"sc: stop it with:  {command_line('stop', intended.launch.job_url)}")


def _tell_end(
    intended: Intended, args: argparse.Namespace, following: Following, code: ExitCode
) -> None:
    """What has become of the job."""
    from sc import reports

    ended, runs = following.ended, intended.job.runs
    counts = {"failed": ended.failed, "lost": len(ended.lost)}
    if code == ExitCode.REFUSED:
        _tell_left(intended, ended)
    else:
        told = {"completed": runs - sum(counts.values()), **counts}
        say(f"sc: ended after {reports.duration(following.seconds)}: {reports.counts(told)}")
    for trouble in ended.troubles[:SHOWN]:
        say(f"sc:   {trouble}")
    if args.json:
        document = {
            "runs": runs,
            **counts,
            "parts": intended.job.parts,
            "parts_done": ended.parts,
            "seconds": round(following.seconds, 3),
            "exit_code": code,
        }
        result(reports.json_line(document))


def _tell_left(intended: Intended, ended: Ended) -> None:
    from sc import reports

    url, parts = intended.launch.job_url, intended.job.parts
    was_stopped = intended.storage.stat(paths.stop(url)) is not None
    why = "the job was stopped" if was_stopped else "nobody works on the job any more"
    say(f"sc: {why}, with {parts - ended.parts:,} of {reports.parts(parts)} undone")
    say(f"sc: its machines' logs are in {paths.join(url, 'logs')}")
    say("sc: for what is left: split again with --skip-completed, and start that")


def recipe_of(folder: str) -> str:
    """The path of the recipe in a commands folder, as a person would type it."""
    return os.path.join(folder, commands_folder.RECIPE)
