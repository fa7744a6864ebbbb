"""SECURITY.md names the tests that hold its promises: they are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
WORDS = (TESTS.parent / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in WORDS.splitlines() if re.match(r"\| (?!promise|-)", line)]


def test_every_promise_of_security_names_a_test_that_is_there() -> None:
    wrong = []
    for row in ROWS:
        named = re.findall(r"`([a-z_0-9/]+(?:\.py)?/?)(?:::(test_\w+))?`", row.split("|")[2])
        if not named:
            wrong.append(row)
        for place, test in named:
            file = TESTS / place
            if not file.exists() or (test and f"def {test}(" not in file.read_text("utf-8")):
                wrong.append(f"{place}::{test}")
    assert len(ROWS) > 10
    assert wrong == []
