"""The temporary folder of one execution, and the rescue of what could not be stored from it."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Optional

from sc.executor.messages import Save

PREFIX, KEPT_PREFIX, LOCK = "sc-run-", "sc-kept-", "lock"


class TemporaryFolder:
    """A folder that is removed at the end; if that end never comes, the next execution removes it.

    It holds a locked file: the lock ends with its owner, whatever that dies of.
    """

    def __init__(self, parent: Optional[str]) -> None:
        self.parent = parent or tempfile.gettempdir()
        _remove_forsaken(self.parent)
        self.path = tempfile.mkdtemp(prefix=PREFIX, dir=self.parent)
        self._lock = os.open(f"{self.path}/{LOCK}", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def keep(self, saves: Sequence[Save], kept: Optional[str]) -> str:
        """Move what could not be stored to a folder that nobody removes, and return that.

        Each is a folder with `stdout`, `stderr`, `results`, and `run.json`, which says where they belong and the code.
        """
        kept = kept or tempfile.mkdtemp(prefix=KEPT_PREFIX, dir=self.parent)
        for save in saves:
            target = f"{kept}/{save.number}"
            if save.left.folder is not None:
                shutil.move(save.left.folder, target)
            os.makedirs(target, exist_ok=True)
            results = save.left.results
            if results and os.path.isdir(results) and not os.path.lexists(f"{target}/results"):
                shutil.move(results, f"{target}/results")
            with open(f"{target}/run.json", "w") as file:
                json.dump(
                    {
                        "remote_output_path": save.remote_output_path,
                        "code": save.code,
                        "attempt": save.attempt,
                    },
                    file,
                )
        return kept


def _remove_forsaken(parent: str) -> None:
    """Remove the folders of executions that have died."""
    for path in glob.glob(f"{glob.escape(parent)}/{PREFIX}*"):
        try:
            lock = os.open(f"{path}/{LOCK}", os.O_RDWR)
        except OSError:
            continue  # another user's, or not locked yet
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # its owner lives
        finally:
            os.close(lock)
