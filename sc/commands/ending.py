"""What is said and done when a job that was followed has ended."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from sc import paths
from sc.commands.voice import command_line, conclude, say
from sc.errors import ExitCode

if TYPE_CHECKING:
    from sc.commands.following import Followed
    from sc.job_state import State

KINDS_TOLD = 8


class Ended(NamedTuple):
    """How a job ended."""

    state: State
    seconds: float
    """From the beginning of the watch to the job's end."""
    code: ExitCode
    was_seen: bool = True
    """It went on when the watch began."""


def tell_end(followed: Followed, ended: Ended, as_json: bool) -> None:
    """Counts, why parts are left, what failed and how to look at it."""
    from sc import reports

    state = ended.state
    if state.stop is not None:
        say(f"sc: {state.stop.reason}")
    if not state.is_complete and ended.code == ExitCode.REFUSED and state.stop is None:
        missing = reports.parts(state.parts - state.parts_done)
        say(f"sc: nobody works on the last {missing} of {state.parts:,} any more")
        logs = paths.join(state.job_url, "logs")
        say(f"sc: their logs are in {logs}; start it again for the rest")
    counts = {"completed": state.completed, "failed": state.failed, "lost": state.lost}
    counts["not stored"] = state.not_stored
    counts["not run"] = state.waiting + state.running
    when = f"ended after {reports.duration(ended.seconds)}" if ended.was_seen else "it had ended"
    say(f"sc: {when}: {reports.counts(counts)}")
    for remark in reports.remarks(state.runs, state.ended_processes, state.unstored_files):
        say(f"sc: {remark}; 'sc summarize-batch BATCH' tells which")
    for trouble in state.troubles[:5]:
        say(f"sc:   {trouble}")
    for group in state.errors[:KINDS_TOLD]:
        say(f"sc:   {group.count:,} x {group.text} ({group.example})")
    if state.failed:
        logs = command_line("logs", state.job_url, "--failed")
        say(f"sc: look at the failures with: {logs}")
    if as_json:
        conclude(reports.json_line(_document(ended)))


def _document(ended: Ended) -> dict[str, object]:
    """The object of `--wait --json`; its keys are some of those of `sc watch --json`."""
    state = ended.state
    return {
        "runs": state.runs,
        "completed": state.completed,
        "failed": state.failed,
        "lost": state.lost,
        "not_stored": state.not_stored,
        "runs_with_ended_processes": state.ended_processes,
        "runs_with_unstored_files": state.unstored_files,
        "parts": state.parts,
        "parts_done": state.parts_done,
        "seconds": round(ended.seconds, 3),
        "exit_code": ended.code,
        "stopped": None if state.stop is None else state.stop.reason,
    }


def run_on_end(command: str, ended: Ended) -> None:
    """`--on-end`: a command of the user's, with what it may want to know in its environment. That it fails is told
    and changes nothing."""
    state = ended.state
    told = {
        "SC_JOB": state.job_url,
        "SC_EXIT_CODE": int(ended.code),
        "SC_RUNS": state.runs,
        "SC_COMPLETED": state.completed,
        "SC_FAILED": state.failed,
        "SC_LOST": state.lost,
        "SC_NOT_STORED": state.not_stored,
        "SC_SECONDS": round(ended.seconds),
    }
    environment = {**os.environ, **{name: str(value) for name, value in told.items()}}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, check=False)
    if done.returncode:
        say(f"sc: the command of --on-end has ended with {done.returncode}")
