"""When a batch is plainly broken, and what the key `stop` says then.

`sc stop` leaves an empty `stop`: workers end their runs. A job that has reached its limit of failures gets one with a
reason: workers start nothing more, and let end what goes on.
"""

from __future__ import annotations

import json
import math
import re
from typing import NamedTuple, Optional

PERCENT_AFTER = 20
"""A percentage says nothing before so many runs have ended."""
_LIMIT = re.compile(r"(?:[1-9]\d{0,8}|(?:\d{1,2}(?:\.\d{1,3})?|100)%)", re.ASCII)


class Limit(NamedTuple):
    """So many failures are too many."""

    failures: int
    after: int = 1
    """Runs that have to have ended before it counts."""

    def is_reached(self, ended: int, failed: int) -> bool:
        """Lost runs count as failed."""
        return failed >= self.failures and ended >= self.after


def is_limit(text: str) -> bool:
    """True for `N` and `N%`, of more than nothing."""
    return bool(_LIMIT.fullmatch(text)) and float(text.rstrip("%")) > 0


def limit_of(text: str, runs: int) -> Optional[Limit]:
    """What `--max-failures` means for a batch of so many runs; no text, no limit."""
    if not text:
        return None
    if not text.endswith("%"):
        return Limit(int(text))
    failures = max(1, math.ceil(runs * float(text[:-1]) / 100 - 1e-9))
    return Limit(failures, min(PERCENT_AFTER, runs))


def reason(text: str, ended: int, failed: int) -> str:
    """The sentence that everybody says."""
    return f"{failed:,} of {ended:,} runs have failed, and --max-failures is {text}: nothing more is started."


class Stop(NamedTuple):
    """What `stop` says."""

    reason: str = "The job was stopped."
    lets_end: bool = False
    """What goes on is not to be ended."""
    at_once: bool = False
    """It is to be ended by SIGKILL, without waiting."""

    def to_bytes(self) -> bytes:
        return json.dumps(self._asdict(), ensure_ascii=True).encode()


def read_stop(data: bytes) -> Stop:
    """The reverse of `to_bytes`; anything else, such as nothing, means that everything is to be ended."""
    try:
        document = json.loads(data)
        text, lets_end = document["reason"], document["lets_end"]
        at_once = document.get("at_once")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Stop()
    return Stop(text, lets_end is True, at_once is True) if isinstance(text, str) else Stop()
