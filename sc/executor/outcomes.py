"""What the feed is told of a run's end, from what its keeper told."""

from __future__ import annotations

from sc.executor import Plan, Task
from sc.executor.messages import Ended
from sc.model import Outcome, command_hash


def outcome_of(
    plan: Plan, task: Task, attempt: int, rank: int, started: float, ended: Ended
) -> Outcome:
    """`started` is that of the first attempt."""
    return Outcome(
        task.run.remote_output_path,
        command_hash(task.run),
        ended.code,
        ended.cause,
        attempt,
        plan.machine,
        rank,
        started,
        ended.ended,
        ended.reason,
        ended.error_line,
    )
