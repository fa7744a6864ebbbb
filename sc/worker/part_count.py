"""What has become of a part's runs, as desk and clerk count it: both have to come to the same."""

from __future__ import annotations

from sc.model import Outcome


class PartCount:
    """The counts of a part in hand. Whoever has them is a dataclass, and says where they begin."""

    left: int
    completed: int
    failed: int
    lost: list[str]

    def add(self, outcome: Outcome) -> None:
        """A run of it has ended. One that was interrupted has not."""
        if outcome.cause == "interrupted":
            return
        self.left -= 1
        if outcome.cause == "lost":
            self.lost.append(outcome.remote_output_path)
        elif outcome.code == 0:
            self.completed += 1
        else:
            self.failed += 1
