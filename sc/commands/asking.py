"""A question to the person at the terminal, if there is one."""

from __future__ import annotations

import sys
from typing import Optional

from sc.commands.voice import mutter
from sc.reports import printable


def agreed(question: str) -> Optional[bool]:
    """The answer, where no answer is a no; None where nobody is there to be asked."""
    streams = sys.stdin, sys.stderr
    if not all(stream is not None and stream.isatty() for stream in streams):
        return None
    mutter(f"{printable(question)} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
