"""Whether the outputs of runs that have ended are still there when the last run of their batch ends."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice

from sc import paths
from sc.codes import each_code, read_codes
from sc.listed_folders import ListedFolders
from sc.model import Batch, Run
from sc.storage import Storage
from sc.strangers import Own


def ended_with_outputs(storage: Storage, own: Own, batch: Batch, total: int) -> int:
    """How many of the first `total` runs of a batch have outputs, or may have them. Raises StorageError.

    If what the execution keeps of itself is gone, all else there may be gone, too: each code is read. Otherwise the
    folders of this machine in which runs have theirs are listed, and nothing is asked of S3, where it would cost a LIST
    for every 1,000 objects.
    """
    runs = islice(batch.runs, total)
    if storage.stat(paths.leased_runs(own.url, own.execution)) is None:
        codes = each_code(read_codes(storage, batch.remote_output_path, batch.runs), batch.runs)
        return sum(code is not None for _, code in islice(codes, total))
    return sum(_have_folders(storage, runs))


def _have_folders(storage: Storage, runs: Iterable[Run]) -> Iterator[bool]:
    listed = ListedFolders()
    for run in runs:
        folder = storage.local_path(run.remote_output_path)
        if folder is None:
            yield True
        else:
            folder = folder.rstrip("/")
            # Also what is not in the listing: there are file systems that write names in a way of their own.
            yield listed.has(folder) or os.path.lexists(folder)
