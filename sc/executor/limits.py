"""How many files may be open. A loop needs one for each slot, more than the 1024 that are usual; a run gets what
`sc` itself was given, since programs that use select(2) break with more."""

from __future__ import annotations

import contextlib
import resource
from typing import Optional

SPARE_FILES = 64
"""Beside those for the slots: pipes to savers, the feed's, what is being read."""

Limits = tuple[int, int]


def allow_open_files(slots: int) -> Optional[Limits]:
    """Raise the limit of this process as far as its user may, if so many slots need it.

    Returns the limits before, or None if nothing was changed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * slots + SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return soft, hard


def restore_open_files(limits: Optional[Limits]) -> None:
    """Back to what `allow_open_files` found; what is open stays open."""
    if limits is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
