"""The program as it is delivered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.program import Program


@pytest.fixture(scope="session")
def program(pyz: Path) -> Program:
    """sc.pyz, run by this Python."""
    return Program([sys.executable, str(pyz)])
