"""A large batch is read in little memory: a process of its own reads one, and tells how much it took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 96_000
READER = """
import json, resource, sys
from sc.documents import read_batch
from sc.splitting import part_documents, part_sizes, select
unit = 1024 if sys.platform == "linux" else 1
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
before = peak()
batch = read_batch(sys.argv[1], remote_output_path="/out")
selection = select(batch.runs)
sizes = part_sizes(selection.included, 16)
parts = [len(json.loads(part)["runs"]) for part in part_documents(batch, selection.runs, sizes)]
print(json.dumps({"runs": len(batch.runs), "parts": parts, "grown": peak() - before}))
"""


@pytest.mark.parametrize("kind", ["paths.json", "folders.json", "default.json", "commands.txt"])
def test_memory_does_not_grow_with_the_batch(tmp_path: Path, checkout: Path, kind: str) -> None:
    path = tmp_path / kind
    with open(path, "w") as file:
        begin, between, end = (
            ('{"runs": [', ",\n", "]}") if kind != "commands.txt" else ("", "", "")
        )
        for number in range(RUNS):
            run = {"cmd": f"python enrich.py --number {number} --enrich --first-seen"}
            if kind == "paths.json":
                run["remote_output_path"] = f"s3://bucket/backfill/{number}"
            elif kind == "folders.json":  # each with a folder of its own
                run["remote_output_path"] = f"s3://bucket/backfill/{number}/out"
            text = json.dumps(run) if begin else run["cmd"] + "\n"
            file.write((between if number else begin) + text)
        file.write(end)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], cwd=checkout, capture_output=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["runs"] == sum(answer["parts"]) == RUNS
    assert set(answer["parts"]) == {48}
    # 8 bytes for a path, 8 for its folder, and a list of Python's numbers while they are sorted.
    assert answer["grown"] < 10 * 2**20 + RUNS * 60
