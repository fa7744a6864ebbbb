"""`sc split --start --sync`: a folder of 20,000 small files, and one of 1 GB, brought to a worker of this machine.

From the call to the end of a job of one run that needs nothing. Beside it, the least that can be done with the same
format: `tar` packs the folder with `gzip -1` into a file, `sha256sum` reads that, and `tar` unpacks it.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import contenders
from stopwatch import Sample, adopt_orphans
from stopwatch import measure as time_command
from tables import draw

TITLE = "Starting with a synced folder"

SMALL_FILES, SMALL_BYTES = 20_000, 2_000
LARGE_FILES, LARGE_BYTES = 8, 125_000_000
MOST_ROUNDS = 3
_SEED = 20261127
_PLAIN = """
set -e
mkdir {to}
tar -C {source} -cf - . | gzip -1 > {archive}
sha256sum {archive}
tar -C {to} -xzf {archive}
"""


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    adopt_orphans()
    rounds = min(args.rounds, MOST_ROUNDS)
    sc = contenders.Sc(args.sc, args.python)
    notes = {"sc": sc.prepare()}
    rows = []
    for what, make in (("20,000 files of 2 kB", _small), ("8 files of 125 MB", _large)):
        source = folder / "source"
        make(source)
        synced = [_synced(sc.words(), source, folder) for _ in range(rounds)]
        plain = [_plain(source, folder) for _ in range(rounds)]
        rows += [
            _row("sc", what, synced, plain),
            _row("tar, gzip -1, sha256sum", what, plain, plain),
        ]
        shutil.rmtree(source)
    return {
        "what": "`sc split --start --wait --sync` of a job of one run",
        "rows": rows,
        "notes": notes,
    }


def _small(folder: Path) -> None:
    """Digits, which pack to a little more than half."""
    words = random.Random(_SEED)
    for number in range(SMALL_FILES):
        path = folder / f"{number // 200:03}" / f"{number:05}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(words.randbytes(SMALL_BYTES // 2).hex().encode())


def _large(folder: Path) -> None:
    """Weights of a model, say: they hardly pack."""
    words = random.Random(_SEED)
    folder.mkdir()
    for number in range(LARGE_FILES):
        (folder / f"{number}.bin").write_bytes(words.randbytes(LARGE_BYTES))


def _synced(words: Sequence[str], source: Path, folder: Path) -> Sample:
    def start() -> Sample:
        spec = {"name": "sync", "instance_type": "local", "scale": 1}
        (here / "recipe.yaml").write_text(json.dumps({"type": "job", "spec": spec}))
        out = {"remote_output_path": str(here / "out"), "nprocs": 1, "runs": [{"cmd": "true"}]}
        (here / "batch.json").write_text(json.dumps(out))
        line = [str(here / name) for name in ("recipe.yaml", "batch.json", "commands")]
        sync = f"{source}:{here}/code"
        return time_command(
            [*words, "split", *line, "--start", "--wait", "--sync", sync], os.environ, here / "log"
        )

    here = folder / "here"
    return _in_new(here, start)


def _plain(source: Path, folder: Path) -> Sample:
    here = folder / "here"
    names = {"source": source, "to": here / "code", "archive": here / "archive.tar.gz"}
    script = _PLAIN.format(**{name: shlex.quote(str(path)) for name, path in names.items()})
    return _in_new(here, lambda: time_command(["sh", "-c", script], os.environ, here / "log"))


def _in_new(here: Path, work: Callable[[], Sample]) -> Sample:
    here.mkdir()
    try:
        return work()
    finally:
        shutil.rmtree(here)


def _row(
    name: str, what: str, samples: Sequence[Sample], plain: Sequence[Sample]
) -> dict[str, Any]:
    pairs = zip(samples, plain)
    return {
        "contender": name,
        "folder": what,
        "seconds": round(median(one.wall_seconds for one in samples), 1),
        "cpu_seconds": round(median(one.cpu_seconds for one in samples), 1),
        "peak_mb": round(max(one.peak_bytes for one in samples) / 1e6) if name == "sc" else None,
        "ratio": round(median(one.wall_seconds / other.wall_seconds for one, other in pairs), 2),
    }


def text(result: dict[str, Any]) -> str:
    """The result as Markdown. Memory is that of the process that packs; the worker unpacks in a stream."""
    keys = ["folder", "contender", "seconds", "ratio", "cpu_seconds", "peak_mb"]
    headings = ["folder", "", "seconds", "times tar's", "CPU seconds", "peak memory, MB"]
    return str(draw(headings, [[row[key] for key in keys] for row in result["rows"]]))
