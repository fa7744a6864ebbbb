"""How many short runs a second, outputs kept on a tmpfs: `sc batch`, its peers, and the limit of the machine."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import rounds
from contenders import Contender, Limit, Sc, Task, peers
from tables import draw, rate_rows

TITLE = "Short runs, outputs in a folder"


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    wanted: list[Contender] = [Sc(args.sc, args.python), Limit(), *peers()]
    task = Task(args.count or 5000, args.slots or 4, "echo hello", "hello\n")
    ready, notes = rounds.prepare(rounds.chosen(wanted, args.only), rounds.to_stderr)
    samples, failed = rounds.run(ready, task, args.rounds, folder, rounds.to_stderr)
    against = "sc" if samples.get("sc") else "C limit"
    return {
        "what": f"{task.count:,} x `{task.command}`, {task.slots} slots, outputs kept on tmpfs",
        "against": against,
        "notes": {**notes, **{name: f"failed: {why}" for name, why in failed.items()}},
        "rows": rate_rows(samples, task.count, against),
    }


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    headings = [
        "",
        "runs/s",
        "lowest",
        "highest",
        f"{result['against']} is x",
        "CPU ms/run",
        "noise",
    ]
    keys = ["contender", "rate", "lowest", "highest", "ratio", "cpu_ms_per_run", "others"]
    rows = [[row.get(key) for key in keys] for row in result["rows"]]
    return draw(headings, rows)
