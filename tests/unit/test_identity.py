"""What a worker calls itself."""

from __future__ import annotations

import re

import pytest

from sc.worker.identity import worker_name


@pytest.mark.parametrize(
    "machine",
    ["a'; $(touch x)", "../../etc", "-rf", "\x1b]0;t\x07", "é中\u202e", "", "m" * 300, "a.b\n"],
)
def test_a_name_of_any_machine_is_safe_in_a_key_a_shell_and_a_terminal(machine: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}-[0-9a-f]+-7", worker_name(machine, 7))
