"""What a worker says at its end of what it could not store."""

from __future__ import annotations

import pytest

from sc.executor import Ending
from sc.worker import kept


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (Ending(), ""),
        (Ending(reason="No disk."), "No disk."),
        (
            Ending(False, "/tmp/sc-kept-x", 1, "It is too long."),
            "It is too long. The files of 1 run are kept in /tmp/sc-kept-x.",
        ),
        (
            Ending(False, "/tmp/sc-kept-x", 3, "It is too long."),
            "It is too long. The files of 3 runs are kept in /tmp/sc-kept-x.",
        ),
    ],
)
def test_ending_of_a_worker_tells_where_files_are_kept(ending: Ending, told: str) -> None:
    assert kept(ending) == told
