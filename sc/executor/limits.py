"""How many files may be open. A loop needs one for each slot, more than the 1024 that are usual; a run gets what
`sc` itself was given, since programs that use select(2) break with more."""

from __future__ import annotations

import contextlib
import functools
import resource

SPARE_FILES = 64
"""Beside those for the slots: pipes to savers, the feed's, what is being read."""


@functools.cache
def _given() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def allow_open_files(slots: int) -> None:
    """Raise the limit of this process as far as its user may, if so many slots need it."""
    soft, hard = _given()
    needed = 2 * slots + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def restore_open_files() -> None:
    """Back to the limit that `sc` was given; what is open stays open."""
    if resource.getrlimit(resource.RLIMIT_NOFILE) != _given():
        resource.setrlimit(resource.RLIMIT_NOFILE, _given())
