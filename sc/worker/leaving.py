"""When a worker that finds nothing to take may leave. Pure.

A machine without work costs money, so it leaves; but what a lost machine has held must find somebody. Who?

- A worker that lingers (fleet `local`: a process that costs nothing) stays until every part is ended.
- On machines that cost money, a lost one is replaced by its fleet. The replacement finds claims and cannot know yet
  which are those of the lost machine. What the lost one held is not renewed after the replacement has come: so
  nobody leaves before each claim that is left was renewed since he came, or was taken over. A replacement waits for
  one lease at most; who has worked for longer than that need not wait at all, whoever dies later has a replacement
  of his own.
- Replacements may be long in coming (no capacity). So a claim whose renewal is overdue is waited for by everybody, at
  most for what is left of its lease.

All of them stay while staging still writes parts.
"""

from __future__ import annotations

from sc.board import Rest

OVERDUE_RENEWALS = 2.5
"""A claim that was not renewed for so many periods of renewal is overdue."""


def may_leave(rest: Rest, *, lingers: bool, watched_seconds: float, renew_seconds: float) -> bool:
    """`watched_seconds`: since this worker first looked at the claims."""
    if rest.is_nothing:
        return True
    if lingers or rest.unwritten:
        return False
    return rest.oldest_seconds < min(watched_seconds, OVERDUE_RENEWALS * renew_seconds)
