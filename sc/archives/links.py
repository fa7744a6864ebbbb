"""Where a symbolic link leads."""

from __future__ import annotations

import os


def leads_out(path: str, top: str) -> bool:
    """Whether `path`, all links followed, is neither the folder `top` (a real path) nor below it."""
    real = os.path.realpath(path)
    return real != top and not real.startswith(top.rstrip("/") + "/")
