"""The program as it is delivered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.e2e.hurt_work")

from tests.e2e.program import Program  # noqa: E402 - after what says how modules of tests are read


@pytest.fixture(scope="session")
def program(pyz: Path) -> Program:
    """sc.pyz, run by this Python."""
    return Program([sys.executable, str(pyz)])
