"""What is counted of a batch, and the exit code that comes of it."""

from __future__ import annotations

from typing import Optional

import pytest

from sc.errors import ExitCode
from sc.executor import Ending
from sc.feed import FAILURES, Tally
from sc.model import Outcome


def outcome(path: str, code: Optional[int] = 0, cause: str = "exit") -> Outcome:
    return Outcome(path, "0" * 16, code, cause, 1, "here", 0, 1.0, 2.0)


def test_the_tally_counts_and_keeps_the_first_failures() -> None:
    tally = Tally(total=20)
    for number in range(10):
        tally.add(outcome(f"/{number}", code=1))
    tally.add(outcome("/a"))
    tally.add(outcome("/b", None, "lost"))
    tally.add(outcome("/c", None, "upload"))
    tally.add(outcome("/d", None, "interrupted"))
    assert tally.counts() == {"completed": 1, "failed": 10, "lost": 1, "not stored": 1}
    assert tally.not_run == 7
    assert [failure.remote_output_path for failure in tally.failures] == [
        f"/{number}" for number in range(FAILURES)
    ]


@pytest.mark.parametrize(
    ("outcomes", "ending", "code"),
    [
        ([outcome("/a"), outcome("/b")], Ending(), ExitCode.OK),
        ([outcome("/a"), outcome("/b", 3)], Ending(), ExitCode.RUNS_FAILED),
        ([outcome("/a"), outcome("/b", None, "lost")], Ending(), ExitCode.RUNS_FAILED),
        ([outcome("/a", 1), outcome("/b", None, "upload")], Ending(), ExitCode.REFUSED),
        ([outcome("/a")], Ending(), ExitCode.REFUSED),
        ([outcome("/a"), outcome("/b")], Ending(kept_runs=1), ExitCode.REFUSED),
        ([outcome("/a", 1)], Ending(was_interrupted=True), ExitCode.INTERRUPTED),
    ],
)
def test_the_exit_code_is_honest(outcomes: list[Outcome], ending: Ending, code: ExitCode) -> None:
    tally = Tally(total=2)
    for one in outcomes:
        tally.add(one)
    assert tally.exit_code(ending) is code
