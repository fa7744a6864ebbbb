"""The signals that stop an execution: counted here, obeyed by the loop."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded(numbers: Sequence[int] = STOPPING) -> list[int]:
    """Those that whoever started `sc` has not had it ignore, as `nohup` does with SIGHUP, and a shell with the SIGINT
    of what it starts in the background. They stay ignored."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


class Signals:
    """Takes the process's signals until `restore`. Readable (`fileno`) when one has come.

    The keepers inherit all of it: there a count means nothing, and SIGCHLD, which means nothing here (a child's death
    is told by its pipe), wakes them. Handlers do not outlive an exec, so that runs have none of it.
    """

    def __init__(self, noted: Sequence[int] = ()) -> None:
        """`noted`: those that came before, to a handler that goes on adding to this until ours takes its place."""
        self._noted = noted
        self._count = 0
        self._wake, self._wake_end = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_end, False)
        self._old_wakeup = signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)
        self._old_handlers = {number: signal.signal(number, self._add) for number in heeded()}
        self._old_handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._only_wake)

    @property
    def count(self) -> int:
        """How many have come that stop an execution."""
        return len(self._noted) + self._count

    def fileno(self) -> int:
        return self._wake

    def drain(self) -> None:
        """Forget what was readable."""
        os.read(self._wake, 4096)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._wake)
        os.close(self._wake_end)

    def _add(self, number: int, frame: object) -> None:
        self._count += 1

    def _only_wake(self, number: int, frame: object) -> None:
        """There is nothing to count."""
