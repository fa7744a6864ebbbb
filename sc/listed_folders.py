"""Which paths of this machine are there, by one listing for all that lie in one folder, such as those of runs."""

from __future__ import annotations

import os
from typing import Optional

MOST_NAMES = 100_000
"""Of a folder with more in it nothing is kept in memory."""
MOST_FOLDERS = 100
"""So many listings are kept."""


class ListedFolders:
    """Each folder is listed once, when it is first asked for: what comes or goes later is not seen."""

    def __init__(self) -> None:
        self._names: dict[str, Optional[frozenset[str]]] = {}

    def has(self, path: str) -> Optional[bool]:
        """Whether there is anything at an absolute path; None where its folder has too much in it to be kept in memory,
        or may not be listed."""
        above, _, name = path.rpartition("/")
        if above not in self._names:
            if len(self._names) >= MOST_FOLDERS:
                self._names.clear()
            self._names[above] = _names(above or "/")
        names = self._names[above]
        return None if names is None else name in names


def _names(folder: str) -> Optional[frozenset[str]]:
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if len(names) > MOST_NAMES:
                    return None
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError:
        return None
    return frozenset(names)
