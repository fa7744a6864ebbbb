"""The lines under `records/`: one for each ended run, in files that grow until they are full."""

from __future__ import annotations

from typing import Optional

from sc import paths
from sc.model import Outcome

LINES = 8000
"""A full file: about two megabytes. Each is a request for everyone who wants to know what became of the runs."""
PAUSE_SECONDS = 10.0
"""Between two times that a file is stored, for each 2,000 lines that are in it: a thin line carries that, too."""
_PAUSE_LINES = 2000


class Records:
    """One worker's records. It says what is to be stored; the caller stores it."""

    def __init__(self, job_url: str, worker_id: str, sequence: int = 0) -> None:
        self.sequence = sequence
        """Of the file that grows now."""
        self._job_url = job_url
        self._worker_id = worker_id
        self._lines: list[str] = []
        self._told = 0
        self._due_at = 0.0

    def add(self, outcome: Outcome) -> None:
        """A run has ended."""
        self._lines.append(outcome.to_line())

    def due(self, now: float, at_once: bool = False) -> Optional[tuple[str, bytes]]:
        """A place and what is to stand there, replacing what did; None if there is nothing to do now.

        `now` is any clock that only goes forward. Ask again until None comes.
        """
        is_full = len(self._lines) >= LINES
        if len(self._lines) == self._told or not (is_full or at_once or now >= self._due_at):
            return None
        lines = self._lines[:LINES]
        place = paths.records(self._job_url, self._worker_id, self.sequence)
        self._told = len(lines)
        self._due_at = now + PAUSE_SECONDS * max(1.0, len(lines) / _PAUSE_LINES)
        if len(lines) == LINES:
            self.sequence += 1
            self._lines, self._told = self._lines[LINES:], 0
        return place, ("\n".join(lines) + "\n").encode("ascii")
