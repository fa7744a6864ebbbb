"""Whether `sc` has put a question on the terminal, over which nothing is to be drawn. Shared by all forks."""

from __future__ import annotations

import mmap

_flag = mmap.mmap(-1, 1)


def is_asked() -> bool:
    """Whether it waits for its answer at this moment."""
    return _flag[0] != 0


def note(is_asked: bool) -> None:
    """Say so to all that draw."""
    _flag[0] = is_asked
