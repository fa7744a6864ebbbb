"""A question to the person at the terminal, if there is one."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Optional

from sc.commands.voice import mutter, say
from sc.reports import printable


def agreed(question: str, shown: str = "") -> Optional[bool]:
    """The answer, where no answer is a no; None where nobody is there to be asked. `shown`, whole lines, goes before
    the question, and to stderr in any case."""
    mutter(shown)
    if not is_somebody_there():
        return None
    text = f"sc: {printable(question)} [y/N] "
    mutter(text)
    if not sys.stderr.isatty():
        with suppress(OSError), open("/dev/tty", "w", errors="backslashreplace") as terminal:
            terminal.write(shown + text)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        say()
    return answer.strip().lower() in ("y", "yes")


def is_somebody_there() -> bool:
    """Whether a question may be answered: not where a shell has put us into the background."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # a terminal, but not the one that this session belongs to
        return True
    except (AttributeError, ValueError):  # closed
        return False
