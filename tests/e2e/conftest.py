"""The program as it is delivered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.e2e.hurt_work")

from tests.e2e.faults import Trial  # noqa: E402 - after what says how modules of tests are read
from tests.e2e.program import Program  # noqa: E402 - the same


@pytest.fixture(scope="session")
def program(pyz: Path) -> Program:
    """sc.pyz, run by this Python."""
    return Program([sys.executable, str(pyz)])


@pytest.fixture
def trial(program: Program, tmp_path: Path) -> Iterator[Trial]:
    """The real program under a fault of the machine; nothing of it outlives the test."""
    one = Trial(program, tmp_path)
    try:
        yield one
    finally:
        one.end_all()
