"""One file or link, in another place of this machine."""

from __future__ import annotations

import os
import shutil


def copy_entry(source: str, target: str) -> None:
    """Make `target`, which is not there, the same file or link: by a hard link where there are such. Raises OSError."""
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    try:
        os.link(source, target)
    except OSError:  # no hard links here
        shutil.copy2(source, target)
