"""What has become of a part's runs, as desk and clerk count it: both have to come to the same."""

from __future__ import annotations

from sc.model import COMPLETED, FAILED, INTERRUPTED, LOST, NOT_STORED, Outcome


class PartCount:
    """The counts of a part in hand. Whoever has them is a dataclass, and says where they begin."""

    left: int
    completed: int
    failed: int
    not_stored: int
    lost: list[str]

    def add(self, outcome: Outcome) -> None:
        """A run of it has ended. One that was interrupted has not."""
        status = outcome.status
        self.left -= status != INTERRUPTED
        self.completed += status == COMPLETED
        self.failed += status == FAILED
        self.not_stored += status == NOT_STORED
        if status == LOST:
            self.lost.append(outcome.remote_output_path)
