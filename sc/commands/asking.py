"""A question to the person at the terminal, if there is one."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Optional

from sc.commands.consent import is_somebody_there
from sc.commands.voice import mutter, say
from sc.reports import printable


def agreed(question: str) -> Optional[bool]:
    """The answer, where no answer is a no; None where nobody is there to be asked."""
    if not is_somebody_there():
        return None
    text = f"sc: {printable(question)} [y/N] "
    mutter(text)
    if not sys.stderr.isatty():
        with suppress(OSError), open("/dev/tty", "w", errors="backslashreplace") as terminal:
            terminal.write(text)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        say()
    return answer.strip().lower() in ("y", "yes")
