#!/usr/bin/env python3
"""Side-by-side measurements of `sc` with its peers and the physical limit.

    bench/run.py local                      5,000 short runs, outputs on tmpfs
    bench/run.py s3                         1,000 short runs, outputs on a SeaweedFS of this machine
    bench/run.py idle                       64 slots that sleep: CPU and memory of sc itself
    bench/run.py million                    memory over a batch of 1,000,000 runs
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

import equipment
import idle_cost
import local_rate
import million
import s3_rate
import tail

MEASUREMENTS = {
    "local": local_rate,
    "s3": s3_rate,
    "idle": idle_cost,
    "million": million,
    "tail": tail,
}


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("measurement", choices=sorted(MEASUREMENTS))
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
    return words


def main() -> int:
    args = parser().parse_args()
    measurement = MEASUREMENTS[args.measurement]
    folder = Path(tempfile.mkdtemp(prefix="sc-bench-", dir=args.tmpfs))
    try:
        result = measurement.measure(args, folder)
    except equipment.Missing as why:
        print(f"bench: {why}", file=sys.stderr)
        return 3
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.update(machine=equipment.machine(), date=time.strftime("%Y-%m-%d"))
    if args.json:
        print(json.dumps(result, indent=1))
        return 0
    print(f"{result['what']}\n\n{measurement.text(result)}\n")
    for name, note in result["notes"].items():
        print(f"- {name}: {note}")
    print(f"- machine: {result['machine']}, {result['date']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
