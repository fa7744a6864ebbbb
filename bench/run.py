#!/usr/bin/env python3
"""Side-by-side measurements of `sc` with its peers and the physical limit.

    bench/run.py all --write docs/benchmarks.md     everything, as the document has it (a good half hour)

    bench/run.py local                      5,000 short runs, outputs on tmpfs
    bench/run.py s3                         1,000 short runs, outputs on a SeaweedFS of this machine
    bench/run.py split                      1,000,000 runs cut into parts
    bench/run.py pull                       outputs of 5,000 runs fetched from a SeaweedFS
    bench/run.py sync                       a start with a folder of 20,000 files, and one of 1 GB
    bench/run.py startup                    how soon the program is there, and how large it is
    bench/run.py idle                       64 slots that sleep: CPU and memory of sc itself
    bench/run.py million                    memory over a batch of 1,000,000 runs
    bench/run.py claims                     requests of a thousand workers for 100,000 parts, simulated
    bench/run.py claims --count 10000       the same for 10,000 parts at most
    bench/run.py scan                       the status of 100,000 runs on a SeaweedFS of this machine
    bench/run.py tail                       how long the last run is waited for, simulated and real
    bench/run.py local --rounds 7 --json    the same, as data
    bench/run.py local --only limit saturn  only these contenders

What is needed is installed under bench/.cache at the first use. A contender that is missing is left
out, and the reason told.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import claims
import document
import equipment
import idle_cost
import local_rate
import million
import pull_rate
import s3_rate
import split_rate
import startup
import status_scan
import sync_start
import tail
from stopwatch import Failed

MEASUREMENTS: dict[str, Any] = {
    "local": local_rate,
    "s3": s3_rate,
    "scan": status_scan,
    "split": split_rate,
    "pull": pull_rate,
    "sync": sync_start,
    "startup": startup,
    "idle": idle_cost,
    "million": million,
    "tail": tail,
    "claims": claims,
}
"""In the order of the document."""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("measurement", choices=["all", *MEASUREMENTS])
    default = str(equipment.BENCH.parent / "dist" / "sc.pyz")
    words.add_argument("--sc", default=default, help="sc.pyz, or the words that start sc")
    words.add_argument("--python", default=sys.executable, help="the Python that runs sc.pyz")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--count", type=int, help="runs of each round")
    words.add_argument("--slots", type=int, help="runs at a time")
    words.add_argument(
        "--only", nargs="+", type=str.lower, default=[], help="contenders with one of these words"
    )
    words.add_argument("--tmpfs", default="/dev/shm", help="a folder in memory")
    words.add_argument("--json", action="store_true", help="the result as JSON")
    words.add_argument("--write", metavar="FILE", help="the tables as a document of Markdown")
    return words


def main() -> int:
    args = parser().parse_args()
    names = list(MEASUREMENTS) if args.measurement == "all" else [args.measurement]
    results = {}
    for name in names:
        begin = time.monotonic()
        try:
            result = _measured(MEASUREMENTS[name], args)
        except (equipment.Missing, Failed) as why:
            print(f"bench: {name}: {why}", file=sys.stderr)
            return 3
        result.update(machine=equipment.machine(), date=time.strftime("%Y-%m-%d"))
        results[name] = {**result, "took_seconds": round(time.monotonic() - begin)}
        if args.json:
            print(json.dumps({"measurement": name, **results[name]}, indent=1), flush=True)
        else:
            print(document.section(MEASUREMENTS[name], results[name]), flush=True)
        if args.write:
            words = f"bench/run.py {args.measurement} --rounds {args.rounds}"
            Path(args.write).write_text(document.page(MEASUREMENTS, results, words))
    return 0


def _measured(measurement: Any, args: argparse.Namespace) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="sc-bench-", dir=args.tmpfs))
    try:
        result: dict[str, Any] = measurement.measure(args, folder)
        return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
