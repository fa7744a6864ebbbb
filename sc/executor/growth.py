"""When the output of a run that goes on is stored in between. Pure: it is given time and sizes.

S3 cannot append: each time, the whole file goes. So the pauses grow with the run's age and with the size: a run
of ten hours that prints all the time is stored about 130 times, and what is sent stays under 4 MiB a second.
"""

from __future__ import annotations

from typing import NamedTuple

LOOK_SECONDS = 5.0
"""Between two looks at the files of what goes on."""
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 300.0
PAUSE_PER_AGE = 0.1
BYTES_A_SECOND = 4 << 20


class Growth(NamedTuple):
    """What is known of one run's output: its size when it was last stored, and when that may happen again."""

    since: float
    size: int = 0
    due: float = 0.0

    def grown(self, now: float, size: int) -> Growth:
        """After a look: the same object unless the output is to be stored now."""
        if size == self.size or now < self.due:
            return self
        pause = (now - self.since) * PAUSE_PER_AGE
        pause = min(LONGEST_PAUSE_SECONDS, max(SHORTEST_PAUSE_SECONDS, pause))
        return Growth(self.since, size, now + pause + size / BYTES_A_SECOND)
