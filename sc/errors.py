"""What can go wrong, and the exit codes it ends in.

An error is one sentence for a person: what is wrong, where, and the next step. It is raised low,
said once (by `sc.cli`), and never shown as a traceback. A failing run is a result, not an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """How `sc` ends. 126, 127 and 128+n are codes of runs, never of `sc`."""

    OK = 0
    RUNS_FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    INTERRUPTED = 130


class ScError(Exception):
    """The root of all errors that `sc` tells its user; the text is the sentence to print."""

    exit_code = ExitCode.REFUSED


class InputError(ScError):
    """Files or words that cannot be used. Carries every problem found, one sentence each."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class StorageError(ScError):
    """The storage, or what lies on the way to it, said no."""

    is_final = False
    """True where it lies in the nature of what was asked, so that it would be refused in an hour, too: a name that is
    too long, something that may not be done, a request that this storage does not know. Set on the object."""


class MissingError(StorageError):
    """There is nothing at this place."""


class BusyError(ScError):
    """Somebody else executes some of these runs now."""


class OutageError(StorageError):
    """The storage gives no answer, or nothing but trouble, and has been asked for long enough."""


class OccupiedError(ScError):
    """Where a run's output is to go lies something that is somebody else's."""


class CloudError(ScError):
    """The cloud's API said no, or its machines did not come up."""


class Interrupted(ScError):
    """The user asked to stop (SIGINT or SIGTERM)."""

    exit_code = ExitCode.INTERRUPTED
