"""The Pythons of this machine, found once: on the PATH and among those of pyenv."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Optional

OLDEST = (3, 9)


@cache
def pythons() -> Mapping[tuple[int, int], str]:
    """Version to program, oldest first; one of each minor version, those too old for sc included."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found: dict[tuple[int, int], str] = {}
    for program in (path for folder in folders for path in sorted(folder.glob("python[23]*"))):
        if program.name.replace("python", "").replace(".", "").isdigit() and "shims" not in str(
            program
        ):
            version = _version(program)
            if version:
                found.setdefault(version, str(program))
    return dict(sorted(found.items()))


def _version(program: Path) -> Optional[tuple[int, int]]:
    """None if it does not start."""
    ask = [str(program), "-c", "import sys; print('%d %d' % sys.version_info[:2])"]
    try:
        told = subprocess.run(ask, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    except OSError:
        return None
    numbers = [int(word) for word in told.split()]
    return (numbers[0], numbers[1]) if numbers else None
