"""Requests of many workers for their parts, in simulated time over the real board: how many, of which kind, and when.

`--count` is the number of parts of the largest setting; the 100,000 of the default take four minutes.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tables import draw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fakes.clerks import Clerks
from tests.fakes.crowd import Crowd, Setting

TITLE = "Requests of many workers for their parts"

SETTINGS: tuple[tuple[type[Crowd], Setting], ...] = (
    (Crowd, Setting(1, 50)),
    (Crowd, Setting(2, 30)),
    (Crowd, Setting(20, 600)),
    (Crowd, Setting(200, 5_000)),
    (Crowd, Setting(200, 5_000, deaths=10)),
    (Crowd, Setting(200, 5_000, boot_seconds=0.1)),
    (Clerks, Setting(20, 600, deaths=3)),
    (Crowd, Setting(1_000, 1_000, boot_seconds=0.1)),
    (Crowd, Setting(1_000, 10_000)),
    (Crowd, Setting(1_000, 100_000)),
)


MOST_PARTS = 100_000


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    rows = []
    for kind, setting in SETTINGS:
        if setting.parts <= (args.count or MOST_PARTS):
            rows.append(_row(kind, setting))
    return {
        "what": "Requests for each part, and the most in any second; `clerks`: with renewals, heartbeats and all. "
        "The leave is from the end of a worker's last part to its own",
        "rows": rows,
        "notes": {},
    }


def _row(kind: type[Crowd], setting: Setting) -> dict[str, Any]:
    tale = kind(setting).simulate()
    twice = tale.worked_on - tale.lost - Counter(range(setting.parts))
    start, middle, end = tale.peaks(1.0)
    return {
        "setting": f"{setting.workers:,} workers, {setting.parts:,} parts, within {setting.boot_seconds:g} s",
        "of": "clerks" if kind is Clerks else "boards",
        "died": setting.deaths,
        "twice": sum(twice.values()),
        "per_part": round(tale.requests_per_part(), 2),
        "kinds": {name: round(number, 2) for name, number in tale.per_part().items()},
        "start": start,
        "middle": middle,
        "end": end,
        "leave": round(max(tale.leaving), 1) if tale.leaving else "",
    }


def text(result: Mapping[str, Any]) -> str:
    keys = [
        "setting",
        "of",
        "died",
        "twice",
        "per_part",
        "kinds",
        "start",
        "middle",
        "end",
        "leave",
    ]
    rows = [{**row, "kinds": _kinds(row["kinds"])} for row in result["rows"]]
    headings = ["setting", "of", "died", "parts twice", "requests per part", "of these"]
    headings += [f"most in 1 s: {phase}" for phase in ("start", "middle", "end")]
    headings += ["longest leave, s"]
    return draw(headings, [[row[key] for key in keys] for row in rows])


def _kinds(kinds: Mapping[str, float]) -> str:
    return ", ".join(f"{number:.2f} {name}" for name, number in kinds.items() if number >= 0.01)
