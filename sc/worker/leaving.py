"""When a worker that finds nothing to take may leave. Pure.

A machine without work costs money, so it leaves; but what a lost machine has held must find somebody. Who?

- A worker that lingers (fleet `local`: a process that costs nothing) stays until every part is ended.
- On machines that cost money, a lost one is replaced by its fleet. The replacement finds claims and cannot know yet
  which are those of the lost machine: it waits until each was renewed since it came, or is older than the lease,
  and then takes it over. So it waits for one lease at most.
- A worker that has worked and runs out leaves at once if all that is left was renewed a short while ago. A claim
  whose renewal is overdue is suspicious: then it waits for the verdict, at most what is left of the lease.

All of them stay while staging still writes parts.
"""

from __future__ import annotations

from sc.board import Rest

OVERDUE_RENEWALS = 2.5
"""A claim that was not renewed for so many periods of renewal is suspicious."""


def may_leave(
    rest: Rest,
    *,
    lingers: bool,
    has_worked: bool,
    watched_seconds: float,
    renew_seconds: float,
) -> bool:
    """`watched_seconds`: since this worker first looked at the claims."""
    if rest.is_nothing:
        return True
    if lingers or rest.unwritten:
        return False
    limit = OVERDUE_RENEWALS * renew_seconds if has_worked else watched_seconds
    return rest.oldest_seconds < limit
