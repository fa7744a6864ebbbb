"""How soon the program is there, and how large it is: `sc.pyz` against what peers install.

`first unpacking` is the first start of a new version on a machine, with an empty home.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import contenders
import equipment
import seaweedfs
from stopwatch import Failed
from tables import draw

TITLE = "Start and size"

ROUNDS = 15


class Start(NamedTuple):
    """One kind of start."""

    name: str
    words: Sequence[str]
    env: Mapping[str, str]


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    sc = contenders.Sc(args.sc, args.python)
    notes = {"sc": sc.prepare()}
    rows = [_first_start(sc.words(), folder)]
    here = dict(os.environ)
    starts = [Start("sc --version", [*sc.words(), "--version"], here)]
    starts += [Start("sc --help", [*sc.words(), "--help"], here)]
    starts += [Start("python -c pass", [args.python, "-c", "pass"], here)]
    starts += _peers(notes)
    with seaweedfs.server(folder) as server:
        on_s3 = {**here, **server.environment()}
        batch = folder / "batch.json"
        place = f"s3://{seaweedfs.BUCKET}/startup"
        batch.write_text(f'{{"remote_output_path": "{place}", "runs": [{{"cmd": "true"}}]}}')
        look = [*sc.words(), "summarize-batch", str(batch)]
        starts.append(Start("sc summarize-batch, one run on S3", look, on_s3))
        listing = [server.s5cmd, "ls", f"s3://{seaweedfs.BUCKET}/"]
        starts.append(Start("s5cmd ls, on S3", listing, on_s3))
        rows += _in_turn(starts, max(ROUNDS, args.rounds))
    return {
        "what": "milliseconds from the call to the end, and bytes to download",
        "rows": rows,
        "sizes": _sizes(args),
        "notes": notes,
    }


def _first_start(words: Sequence[str], folder: Path) -> dict[str, Any]:
    home = folder / "home"
    seconds = []
    for _ in range(3):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        env = {"HOME": str(home), "PATH": os.environ["PATH"]}
        seconds.append(_seconds(Start("", [*words, "--version"], env)))
    return _row("sc --version, first unpacking", seconds)


def _peers(notes: dict[str, str]) -> list[Start]:
    starts = []
    try:
        saturn = equipment.saturn()
        told = {"SATURN_BASE_URL": "http://127.0.0.1:9", "SATURN_TOKEN": "none"}
        words = [str(saturn / "sc"), "--help"]
        starts.append(Start("Saturn's client, --help", words, {**os.environ, **told}))
    except equipment.Missing as why:
        notes["Saturn's client"] = f"left out: {why}"
    return starts


def _in_turn(starts: Sequence[Start], rounds: int) -> list[dict[str, Any]]:
    seconds: dict[str, list[float]] = {start.name: [] for start in starts}
    for _ in range(rounds):
        for start in starts:
            seconds[start.name].append(_seconds(start))
    return [_row(name, some) for name, some in seconds.items()]


def _seconds(start: Start) -> float:
    begin = time.monotonic()
    done = subprocess.run(
        start.words, env=dict(start.env), stdin=subprocess.DEVNULL, capture_output=True
    )
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        raise Failed(f"{start.words} ended with {done.returncode}: {done.stderr.decode()[-300:]}")
    return seconds


def _row(name: str, seconds: Sequence[float]) -> dict[str, Any]:
    some = [1000 * one for one in seconds]
    return {"start": name, "ms": round(median(some)), "lowest": round(min(some))}


def _sizes(args: Namespace) -> list[dict[str, Any]]:
    sizes = []
    if Path(args.sc).exists():
        sizes.append({"what": "sc.pyz", "mb": Path(args.sc).stat().st_size / 1e6})
    try:
        folder = equipment.saturn().parent
    except equipment.Missing:
        return sizes
    total = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    return [*sizes, {"what": "Saturn's client and what it needs, installed", "mb": total / 1e6}]


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = [[row["start"], row["ms"], row["lowest"]] for row in result["rows"]]
    starts = draw(["start", "ms", "lowest"], rows)
    sizes = draw(["size", "MB"], [[row["what"], row["mb"]] for row in result["sizes"]])
    return f"{starts}\n\n{sizes}"
