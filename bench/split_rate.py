"""`split` of a million runs from JSON: seconds and memory; and how soon the first run of such a job ends.

Beside it, the least that Python can do: load the JSON, cut the list, write the files, and check nothing. (Saturn's
client asks its server before it splits, and so cannot be measured here.)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import contenders
from stopwatch import Failed
from stopwatch import measure as time_command
from tables import draw

TITLE = "Splitting a million runs"

RUNS, NPROCS, MACHINES = 1_000_000, 4, 20
LIMIT_SECONDS = 600.0
PLAIN = """
import json, sys
batch, commands, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(batch) as file:
    document = json.load(file)
runs = document["runs"]
for number, first in enumerate(range(0, len(runs), size)):
    with open(f"{commands}/{number}.json", "w") as file:
        json.dump({**document, "runs": runs[first : first + size]}, file)
"""


class Cut(NamedTuple):
    """One split."""

    seconds: float
    peak_mb: float
    """The largest resident set of its process."""
    parts: int


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    runs, rounds = args.count or RUNS, min(args.rounds, 3)
    batch = write_batch(folder / "batch.json", runs, folder / "out")
    recipe = write_recipe(folder / "recipe.yaml")
    sc = contenders.Sc(args.sc, args.python)
    notes = {"sc": sc.prepare()}
    cuts = []
    for number in range(rounds):
        commands = folder / f"commands-{number}"
        words = [*sc.words(), "split", str(recipe), str(batch), str(commands)]
        cuts.append(_cut(words, os.environ, commands, folder))
    rows = [_row("sc", runs, cuts)]
    first = _first_run(sc.words(), recipe, batch, folder)
    commands = folder / "plain"
    commands.mkdir()
    plain = [args.python, "-c", PLAIN, str(batch), str(commands), str(3 * NPROCS)]
    rows.append(_row("json.load and json.dump", runs, [_cut(plain, os.environ, commands, folder)]))
    return {
        "what": f"`sc split` of {runs:,} runs ({batch.stat().st_size / 1e6:.0f} MB of JSON)",
        "rows": rows,
        "first_run_seconds": round(first, 1),
        "notes": notes,
    }


def write_batch(path: Path, runs: int, out: Path) -> Path:
    """Commands as a sweep has them, each with an output path of its own."""
    with path.open("w") as file:
        file.write(
            f'{{"nprocs": {NPROCS}, "remote_output_path": {json.dumps(str(out))}, "runs": [\n'
        )
        for number in range(runs):
            run = {
                "cmd": f"true --seed {number} --lr 0.01 --out results/{number}.json",
                "remote_output_path": f"{out}/sweep/{number:07}",
            }
            file.write((",\n" if number else "") + json.dumps(run))
        file.write("\n]}")
    return path


def write_recipe(path: Path) -> Path:
    spec = {"name": "cut", "instance_type": "local", "scale": MACHINES}
    path.write_text(json.dumps({"type": "job", "spec": spec}))
    return path


def _cut(words: Sequence[str], env: Mapping[str, str], commands: Path, folder: Path) -> Cut:
    sample = time_command(words, env, folder / "log")
    parts = sum(name[0].isdigit() and name.endswith(".json") for name in os.listdir(commands))
    if not parts:
        raise Failed(f"there are no parts in {commands}")
    return Cut(sample.wall_seconds, sample.peak_bytes / 1e6, parts)


def _row(name: str, runs: int, cuts: Sequence[Cut]) -> dict[str, Any]:
    seconds = median(cut.seconds for cut in cuts)
    return {
        "contender": name,
        "runs": runs,
        "seconds": round(seconds, 1),
        "rate": round(runs / seconds),
        "peak_mb": round(max(cut.peak_mb for cut in cuts)),
        "parts": cuts[-1].parts,
    }


def _first_run(words: Sequence[str], recipe: Path, batch: Path, folder: Path) -> float:
    """Seconds from the call of `split --start` until the first run of the job has ended; then it is stopped."""
    commands = folder / "started"
    begin = time.monotonic()
    split = [*words, "split", str(recipe), str(batch), str(commands), "--scale", "1", "--start"]
    process = subprocess.Popen(
        split, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        sweep = folder / "out" / "sweep"
        while not any(path.joinpath("status_code").exists() for path in _some(sweep)):
            if time.monotonic() - begin > LIMIT_SECONDS:
                raise Failed(f"no run had ended after {LIMIT_SECONDS:g} s")
            time.sleep(0.05)
        return time.monotonic() - begin
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        job = str(folder / "out" / ".sc" / "cut")
        subprocess.run([*words, "stop", job], capture_output=True, check=False)


def _some(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)[:20]]
    except FileNotFoundError:
        return []


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    keys = ["contender", "runs", "seconds", "rate", "peak_mb", "parts"]
    headings = ["", "runs", "seconds", "runs/s", "peak memory, MB", "parts"]
    table = draw(headings, [[row[key] for key in keys] for row in result["rows"]])
    first = result["first_run_seconds"]
    return f"{table}\n\nWith `--start`, the first run had ended after {first} s."
