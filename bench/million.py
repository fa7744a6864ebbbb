"""A batch of a million runs of `true`, interrupted after ten thousand: the peak of `sc`'s memory."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import footprint
from stopwatch import Failed

TITLE = "Memory over a million runs"

RUNS, EXECUTED, LIMIT_SECONDS = 1_000_000, 10_000, 300.0


def measure(args: Any, folder: Path) -> dict[str, Any]:
    runs = args.count or RUNS
    out, batch = folder / "out", folder / "batch.json"
    with batch.open("w") as file:
        place = json.dumps(str(out))
        file.write(f'{{"nprocs": {args.slots or 4}, "remote_output_path": {place}, "runs": [')
        file.write(",".join(['{"cmd":"true"}'] * runs))
        file.write("]}")
    begin, peak = time.monotonic(), 0
    watched = footprint.Watched(args, batch, folder)
    while watched.process.poll() is None:
        peak = max(peak, watched.pss_bytes())
        if out.exists() and len(os.listdir(out)) >= EXECUTED:
            watched.process.send_signal(signal.SIGINT)
            watched.process.wait(60)
        if time.monotonic() - begin > LIMIT_SECONDS:
            watched.process.kill()
            raise Failed(f"{EXECUTED} runs took longer than {LIMIT_SECONDS:g} s")
        time.sleep(0.1)
    return {
        "what": f"a batch of {runs:,} runs of `true`, interrupted after {EXECUTED:,}",
        "pss_mb": round(peak / 1e6, 1),
        "exit_code": watched.process.returncode,
        "executed": len(list(out.glob("*/status_code"))),
        "seconds": round(time.monotonic() - begin, 1),
        "limits": {"pss_mb": "< 300", "exit_code": "130", "executed": "", "seconds": ""},
        "notes": {},
    }


def text(result: Mapping[str, Any]) -> str:
    names = {
        "pss_mb": "peak memory in all (PSS), MB",
        "executed": "runs executed",
        "exit_code": "exit code",
        "seconds": "seconds, reading included",
    }
    return footprint.rows(result, names)
