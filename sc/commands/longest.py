"""What `split` and `batch` share: the longest runs go first, where it is known which those are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from sc.model import Batch, Run
    from sc.ordering import Times
    from sc.standing import Commands


def add_keep_order(add: Callable[..., Any]) -> None:
    """The words of the option that wants nothing of it."""
    add(
        "--keep-order",
        action="store_true",
        help="in the order of the batch, even if it is known which runs take longest",
    )


def known_times(keep_order: bool, batch: Batch, runs: Iterable[Run], commands: Commands) -> Times:
    """How long the runs take; nothing where nobody knows. `commands` are the records of earlier jobs."""
    from sc.ordering import NO_TIMES, times

    if keep_order or (commands.is_empty and not batch.has_expected_times):
        return NO_TIMES
    return times(runs, commands.seconds)


def tell_order(times: Times, tell: Callable[[str], None]) -> None:
    """Who finds another order than that of the file should know why."""
    from sc.reports import runs

    if times.is_useful:
        tell(f"sc: the longest first: how long {runs(times.known)} take is known")
