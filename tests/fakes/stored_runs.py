"""Outputs of runs in a storage, as if they had been worked on."""

from __future__ import annotations

from collections.abc import Sequence

from sc.model import Run
from sc.storage import Storage

OUT = "s3://bucket/out"


def stored(storage: Storage, path: str, code: bytes, results: int = 0) -> None:
    """A run's outputs."""
    storage.put(f"{path}/stdout", b"said")
    storage.put(f"{path}/stderr", b"")
    for number in range(results):
        storage.put(f"{path}/results/{number}.csv", b"1,2")
    storage.put(f"{path}/status_code", code)


def runs_of(paths_: Sequence[str]) -> list[Run]:
    return [Run("true", path) for path in paths_]
