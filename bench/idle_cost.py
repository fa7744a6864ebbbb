"""What `sc` costs while its runs only sleep: 64 slots of `sleep 60`."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import footprint

TITLE = "What sc costs while runs run"

SLOTS, SECONDS = 64, 20.0


def measure(args: Any, folder: Path) -> dict[str, Any]:
    slots = args.slots or SLOTS
    batch = folder / "batch.json"
    runs = [{"cmd": "sleep 60"}] * slots
    document = {"nprocs": slots, "remote_output_path": str(folder / "out"), "runs": runs}
    batch.write_text(json.dumps(document))
    watched = footprint.Watched(args, batch, folder)
    try:
        watched.wait_until_live(slots)
        time.sleep(2)
        cpu, begin = watched.cpu_seconds(), time.monotonic()
        time.sleep(SECONDS)
        share = 100 * (watched.cpu_seconds() - cpu) / (time.monotonic() - begin)
        processes, pss = len(watched.pids()), watched.pss_bytes()
    finally:
        watched.process.send_signal(signal.SIGINT)
        watched.process.wait(60)
    return {
        "what": f"{slots} slots of `sleep 60`",
        "processes": processes,
        "core_percent": round(share, 3),
        "pss_mb": round(pss / 1e6, 1),
        "limits": {"processes": "", "core_percent": "< 1", "pss_mb": "< 150"},
        "notes": {},
    }


def text(result: Mapping[str, Any]) -> str:
    names = {
        "processes": "processes of `sc`",
        "core_percent": "CPU, % of a core",
        "pss_mb": "memory in all (PSS), MB",
    }
    return footprint.rows(result, names)
