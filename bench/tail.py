"""How long the last run is waited for: makespans in simulated time over the real code, and a small job for real.

Run times are log-normal. The lower bound of the makespan is what nobody can beat: all work divided by all slots, or
the longest run, if that is longer. Boot times are left out.

- fixed batches: 24 runs to a batch, a fresh machine for each, as many machines at a time as there may be.
- immediate pull: any slot that is free takes the next run, at once. As run times are independent of each other and
  unknown, whatever the order, nobody who does not know them can do better on average.
- sc: real desks, clerks, boards, schedulers and parts, with requests that take 50 ms (`simulated_job`).
- sc, times known: the same, with `expected_time`, or what the runs took before: the longest first.
- sc, times guessed: the same, but what was expected is off by a third (log-normal, sigma 0.3).
"""

from __future__ import annotations

import heapq
import json
import math
import subprocess
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Callable, NamedTuple

import contenders
from simulated_job import run_job
from stopwatch import Failed
from tables import draw

from sc.model import Run
from sc.ordering import longest_first, times
from sc.splitting import part_sizes

TITLE = "The tail"

RUNS, NPROCS, FIXED_BATCH = 10_000, 8, 24
MACHINES, SIGMAS = (20, 100), (0.5, 1.0, 1.5)
MEDIAN_SECONDS, GUESS_SIGMA = 60.0, 0.3
REAL_RUNS, REAL_WORKERS, REAL_NPROCS, REAL_SECONDS = 300, 2, 4, 0.5


class Made(NamedTuple):
    """What a scheme made of one set of run times."""

    makespan: float
    paid: float
    """Machine-seconds."""


Scheme = Callable[[Sequence[float], int, Random], Made]


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    rounds = max(1, args.rounds)
    count = args.count or RUNS
    rows = [row for sigma in SIGMAS for row in _simulated(sigma, count, rounds)]
    return {
        "what": f"makespans of {count:,} log-normal runs on machines of {NPROCS} slots, simulated "
        f"(median of {rounds}), and of {REAL_RUNS} on {REAL_WORKERS} workers of {REAL_NPROCS}, real",
        "rows": rows,
        "real": [_real(args, folder, number) for number in range(min(rounds, 3))],
        "notes": {},
    }


def _simulated(sigma: float, count: int, rounds: int) -> Iterator[dict[str, Any]]:
    for machines in MACHINES:
        for name, scheme in SCHEMES.items():
            ratios, paid = [], []
            for seed in range(rounds):
                seconds = log_normal(Random(seed), count, sigma, MEDIAN_SECONDS)
                made = scheme(seconds, machines, Random(seed))
                ratios.append(made.makespan / lower_bound(seconds, machines * NPROCS))
                paid.append(made.paid * NPROCS / sum(seconds))
            yield {
                "sigma": sigma,
                "machines": machines,
                "scheme": name,
                "makespan": round(median(ratios), 3),
                "worst": round(max(ratios), 3),
                "paid": round(median(paid), 3),
            }


def log_normal(random: Random, count: int, sigma: float, middle: float) -> list[float]:
    return [middle * math.exp(random.gauss(0, sigma)) for _ in range(count)]


def lower_bound(seconds: Sequence[float], slots: int) -> float:
    longest = max(seconds)
    return max(sum(seconds) / slots, longest)


def fixed_batches(seconds: Sequence[float], machines: int, random: Random) -> Made:
    """A batch has its machine until its last run has ended."""
    free = [0.0] * machines
    paid = 0.0
    for first in range(0, len(seconds), FIXED_BATCH):
        took = pull(seconds[first : first + FIXED_BATCH], 1, random).makespan
        heapq.heapreplace(free, free[0] + took)
        paid += took
    return Made(max(free), paid)


def pull(seconds: Sequence[float], machines: int, random: Random) -> Made:
    """Each run to the slot that is free first; a machine leaves with its last run."""
    slots = [(0.0, number) for number in range(machines * NPROCS)]
    left = [0.0] * machines
    for one in seconds:
        now, slot = slots[0]
        heapq.heapreplace(slots, (now + one, slot))
        left[slot // NPROCS] = max(left[slot // NPROCS], now + one)
    return Made(max(left), sum(left))


def sc_unknown(seconds: Sequence[float], machines: int, random: Random) -> Made:
    return _sc(seconds, machines, [None] * len(seconds))


def sc_known(seconds: Sequence[float], machines: int, random: Random) -> Made:
    return _sc(seconds, machines, seconds)


def sc_guessed(seconds: Sequence[float], machines: int, random: Random) -> Made:
    return _sc(seconds, machines, [one * math.exp(random.gauss(0, GUESS_SIGMA)) for one in seconds])


def _sc(seconds: Sequence[float], machines: int, expected: Sequence[Any]) -> Made:
    """As `sc split` cuts it and its workers do it."""
    runs = [Run("x", str(n), expected_time=one) for n, one in enumerate(expected)]
    known = times(runs, lambda run: run.expected_time)
    costs = list(known.costs()) if known.is_useful else None
    ordered = longest_first(runs, known.classes) if known.is_useful else iter(runs)
    sizes = part_sizes(len(runs), NPROCS, machines, None, costs)
    parts = [[int(next(ordered).remote_output_path) for _ in range(size)] for size in sizes]
    ended = run_job(parts, seconds, machines, NPROCS)
    if ended.executed != len(runs):
        raise Failed(f"{ended.executed} runs were executed instead of {len(runs)}")
    return Made(ended.makespan, ended.paid)


SCHEMES: Mapping[str, Scheme] = {
    "fixed batches": fixed_batches,
    "immediate pull": pull,
    "sc": sc_unknown,
    "sc, times known": sc_known,
    "sc, times guessed": sc_guessed,
}


def _real(args: Namespace, folder: Path, seed: int) -> dict[str, Any]:
    """Sleeps, by two workers of this machine; from the first start to the last end, as the records tell."""
    seconds = log_normal(Random(seed), REAL_RUNS, 1.0, REAL_SECONDS)
    bound = lower_bound(seconds, REAL_WORKERS * REAL_NPROCS)
    row: dict[str, Any] = {"round": seed + 1, "bound_seconds": round(bound, 1)}
    row["pull"] = round(pull_slots(seconds, REAL_WORKERS * REAL_NPROCS) / bound, 3)
    for name, known in (("sc", False), ("sc_known", True)):
        room = folder / f"real-{seed}-{name}"
        room.mkdir()
        row[name] = round(_real_makespan(args, room, seconds, known) / bound, 3)
    return row


def pull_slots(seconds: Sequence[float], slots: int) -> float:
    free = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def _real_makespan(args: Namespace, room: Path, seconds: Sequence[float], known: bool) -> float:
    runs = [
        {"cmd": f"exec sleep {one:.3f}", **({"expected_time": round(one, 3)} if known else {})}
        for one in seconds
    ]
    place = str(room / "out")
    batch = {"nprocs": REAL_NPROCS, "remote_output_path": place, "runs": runs}
    (room / "batch.json").write_text(json.dumps(batch))
    spec = {"name": "tail", "instance_type": "local", "scale": REAL_WORKERS}
    (room / "recipe.yaml").write_text(json.dumps({"type": "job", "spec": spec}))
    words = contenders.Sc(args.sc, args.python).words()
    split = ["split", "recipe.yaml", "batch.json", "commands", "--start", "--wait"]
    done = subprocess.run([*words, *split], cwd=room, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        raise Failed(f"sc split ended with {done.returncode}: {done.stderr.decode()[-400:]}")
    records = [
        json.loads(line)
        for path in (room / "out" / ".sc" / "tail" / "records").iterdir()
        for line in path.read_text().splitlines()
    ]
    if len(records) != len(seconds):
        raise Failed(f"{len(records)} runs were recorded instead of {len(seconds)}")
    return float(max(one["ended"] for one in records) - min(one["started"] for one in records))


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    keys = ["sigma", "machines", "scheme", "makespan", "worst", "paid"]
    headings = ["sigma", "machines", "scheme", "makespan / bound", "worst", "paid / work"]
    simulated = draw(headings, [[row[key] for key in keys] for row in result["rows"]])
    keys = ["round", "bound_seconds", "pull", "sc", "sc_known"]
    headings = ["round", "bound, s", "immediate pull, computed", "sc", "sc, times known"]
    real = draw(headings, [[row[key] for key in keys] for row in result["real"]])
    return f"{simulated}\n\nFor real, makespan / bound:\n\n{real}"
