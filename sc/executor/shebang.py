"""Why a file that is there cannot be executed. Where its first line is the reason, the kernel and the shells say that
the *file* was not found, which sends people looking for the wrong thing."""

from __future__ import annotations

import os
import re
from typing import Optional

_LONGEST_LINE = 256
"""Linux, BINPRM_BUF_SIZE: so much of a file is looked at for its interpreter."""
_MOST_WORDS = 50


def problem_of(path: str) -> Optional[str]:
    """What is wrong with the first line of a script, as a sentence with the next step; None if that is not it."""
    try:
        with open(path, "rb") as file:
            beginning = file.read(_LONGEST_LINE)
    except (OSError, ValueError):
        return None
    if not beginning.startswith(b"#!"):
        return None
    line = beginning.split(b"\n", 1)[0]
    interpreter = os.fsdecode(line[2:].strip().split(b" ", 1)[0])
    if line.endswith(b"\r"):
        return (
            f"{path}: its first line ends with a carriage return (CRLF), so that {interpreter}\\r is looked for; "
            f"convert its line ends to LF"
        )
    if interpreter.startswith("/") and not os.path.exists(interpreter):
        return f"{path}: its first line names {interpreter}, which is not there; correct it"
    return None


def problem_in(words: str, folder: str) -> Optional[str]:
    """The same, of the first file among these words of a shell's complaint for which it holds. `folder` is where
    relative ones begin."""
    for word in re.split(r"[\s:'\"`]+", words)[:_MOST_WORDS]:
        path = os.path.join(folder, word)
        if "/" in word and os.path.isfile(path):
            problem = problem_of(path)
            if problem is not None:
                return problem.replace(path, word, 1)
    return None
