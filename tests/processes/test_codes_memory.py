"""The status of a large batch takes a few bytes a run: a process of its own reads one, and tells how much it took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUNS = 150_000
READER = """
import hashlib, json, resource, sys
from sc.codes import read_codes
from sc.model import Outcome, Run, command_hash
from sc.standing import Commands
from sc.storage import Entry

RUNS, OUT = int(sys.argv[1]), "s3://bucket/out"
NAMES = {"status_code": b"0", "stderr": b"", "stdout": b"said"}
OBJECTS = [(name, len(data), hashlib.md5(data).hexdigest()) for name, data in NAMES.items()]

class Runs:
    def __iter__(self):
        return (Run("true", f"{OUT}/run-{number:07}") for number in range(RUNS))

class Storage:
    def local_path(self, place):
        return None

    def list(self, place, start_after="", end_before=""):
        for number in range(int(start_after[4:] or 0), int(end_before[4:] or RUNS)):
            for name, size, tag in OBJECTS:
                yield Entry(f"{OUT}/run-{number:07}/{name}", size, tag, 1.0)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)

def record(number):
    run = Run("true", f"{OUT}/run-{number:07}")
    return Outcome(run.remote_output_path, command_hash(run), 0, "exit", 1, "here", 0, 1.0, 2.0)

before = peak()
codes = read_codes(Storage(), OUT, Runs())
commands = Commands(Runs())
for number in range(0, 5 * RUNS, 10):  # most of them of runs that are no longer in the batch
    commands.add(record(number).to_line())
known = sum(commands.last(run.remote_output_path) is not None for run in Runs())
print(json.dumps({"ended": len(codes), "known": known, "grown": peak() - before}))
"""


def test_memory_is_a_few_bytes_a_run(checkout: Path) -> None:
    command = [sys.executable, "-c", READER, str(RUNS)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["ended"] == RUNS
    assert answer["known"] == RUNS // 10
    # 10 bytes for a path and its code, 30 for its last record, and what the threads need.
    assert answer["grown"] < 4 * 2**20 + RUNS * 50
