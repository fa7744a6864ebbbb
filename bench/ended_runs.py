"""What 100,000 ended runs and their job leave on S3: made by the thousand, and put there by s5cmd.

One run of 20 has failed, one of 50 has not ended and has no `status_code`.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Optional

import equipment
import seaweedfs

sys.path.insert(0, str(equipment.BENCH.parent))

COMMAND = "true"
_WORKERS = 20


def code_of(number: int) -> Optional[int]:
    """What run `number` has ended with; None if it has not."""
    if number % 50 == 7:
        return None
    return 1 + number % 255 if number % 20 == 3 else 0


def store_outputs(server: seaweedfs.Server, place: str, count: int, folder: Path) -> int:
    """stdout, stderr and status_code of each run. Returns the number of objects."""
    made, objects = folder / "made", 0
    for number in range(count):
        run = made / str(number)
        run.mkdir(parents=True)
        (run / "stdout").write_text("hello\n")
        (run / "stderr").touch()
        code = code_of(number)
        if code is not None:
            (run / "status_code").write_text(str(code))
        objects += 2 + (code is not None)
    server.run("--log", "error", "cp", f"{made}/", f"{place}/")
    shutil.rmtree(made)
    return objects


def store_records(server: seaweedfs.Server, place: str, count: int, folder: Path) -> int:
    """A record of each ended run, as the workers of a job keep them. Returns the number of objects."""
    from sc.model import Outcome, Run, command_hash
    from sc.records import Records

    workers = [Records("", f"worker-{number}") for number in range(_WORKERS)]
    now = time.time()
    for number in range(count):
        code, run = code_of(number), Run(COMMAND, f"{place}/{number}")
        if code is not None:
            what = (run.remote_output_path, command_hash(run), code, "exit", 1, "machine", 0)
            workers[number * _WORKERS // count].add(Outcome(*what, now, now + 1.0))
    kept = folder / "records"
    kept.mkdir()
    for worker in workers:
        while (due := worker.due(time.monotonic(), at_once=True)) is not None:
            (kept / os.path.basename(due[0])).write_bytes(due[1])
    server.run("--log", "error", "cp", f"{kept}/", f"{place}/.sc/scan/records/")
    return len(os.listdir(kept))
