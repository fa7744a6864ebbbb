"""The mode of a file that can be executed, kept with its object.

Only of those: the requests for all others stay as they are, and so do objects that others have stored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

MODE = "x-amz-meta-sc-mode"
"""Octal digits, as `chmod` takes them."""


def headers_of(mode: int) -> dict[str, str]:
    """For the request that stores a file of this mode."""
    return {MODE: f"{mode & 0o777:o}"} if mode & 0o111 else {}


def set_mode(file: int, headers: Mapping[str, str]) -> None:
    """Give a new, open file what the answer tells, as far as this user's umask allows it."""
    with suppress(KeyError, ValueError, OSError):
        wanted = int(headers[MODE], 8)
        umasked = os.fstat(file).st_mode & 0o666
        os.fchmod(file, (umasked | umasked >> 2 & 0o111) & wanted | 0o400)
