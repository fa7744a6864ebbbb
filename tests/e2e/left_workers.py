"""Workers of the local fleet that are still there when a test has ended."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def end_workers(place: str) -> None:
    """Kill those of jobs below this place: their server goes with the tests, and they would wait for it."""
    mark = f"{place}/.sc/".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if b"work" in words and any(word.startswith(mark) for word in words):
                os.kill(int(name), signal.SIGKILL)
