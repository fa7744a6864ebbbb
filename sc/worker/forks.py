"""What a fork of the worker's main process does first, so that it stands for itself."""

from __future__ import annotations

import contextlib
import os
import signal


def stand_alone(handler: signal.Handlers, *kept: int) -> None:
    """A session of its own; `handler` for what a terminal or a person sends; and no descriptor of others.

    A pipe that a fork holds open would never end for those who wait for its end.
    """
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(folder):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))
