"""What the feed is told of a run's end, from what its keeper told."""

from __future__ import annotations

from sc.executor import Plan, Task
from sc.executor.messages import Ended
from sc.executor.scheduler import Waiting
from sc.model import Outcome, command_hash, identities


def impossible(plan: Plan, task: Task, now: float) -> Outcome:
    """Of a run that asks for more GPUs than there are."""
    reason = f"asks for {task.run.gpus or 0:g} GPUs, and {plan.machine} has {len(plan.gpus)}"
    ended = Ended(126, "not-started", now, now, True, None, reason)
    return outcome_of(plan, task, 1, -1, now, ended)


def lost(plan: Plan, waiting: Waiting, rank: int, deaths: int, now: float) -> Outcome:
    """Of a run under which so many keepers have died."""
    reason = f"the process that watches it was killed {deaths} times"
    ended = Ended(None, "lost", now, now, True, None, reason)
    return outcome_of(plan, waiting.task, waiting.attempt, rank, 0.0, ended)


def stored(outcome: Outcome, note: str, files: int) -> Outcome:
    """Of a run whose outputs are stored, but for so many files of its results."""
    reason = "; ".join(filter(None, [outcome.reason, note]))
    return outcome._replace(reason=reason, unstored_files=files)


def unstored(outcome: Outcome, reason: str) -> Outcome:
    """Of a run whose outputs were given up; one without a code stays what it is."""
    if outcome.code is None:
        return outcome
    return outcome._replace(code=None, cause="upload", reason=reason)


def interrupted(outcome: Outcome) -> Outcome:
    """Of a run that has ended, and is to be done again all the same: nobody has stored it."""
    return outcome._replace(code=None, cause="interrupted", reason="", error_line="")


def outcome_of(
    plan: Plan, task: Task, attempt: int, rank: int, started: float, ended: Ended
) -> Outcome:
    """`started` is that of the first attempt: later than `ended` only where the clock was put back meanwhile."""
    whole, own = identities(task.run, plan.given)
    return Outcome(
        task.run.remote_output_path,
        command_hash(task.run),
        ended.code,
        ended.cause,
        attempt,
        plan.machine,
        rank,
        started,
        max(started, ended.ended),
        ended.reason,
        ended.error_line,
        ended.ended_processes,
        identity=whole,
        own_identity=own,
    )
