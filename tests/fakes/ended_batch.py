"""A batch that has ended, with its records and its machines, as large as a test wants it: for what looks back."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from sc.heartbeats import Heartbeat
from sc.model import Outcome, Run, command_hash

ERRORS = (
    (1, "ValueError: could not convert string to float: 'x{n}'"),
    (3, "FileNotFoundError: [Errno 2] No such file or directory: '/data/in/{n}.csv'"),
    (137, "Killed"),
    (124, "worker {n}: still waiting for 10.0.0.{n}:8080"),
)
BEGAN = 1_790_000_000.0


def runs_of(place: str, count: int) -> Iterator[Run]:
    for number in range(count):
        day = f"2024-{number // 28 % 12 + 1:02}-{number % 28 + 1:02}"
        cmd = f"python3 enrich.py --day {day} --shard {number} --out $SATURN_RUN_LOCAL_RESULTS_DIR"
        yield Run(cmd, f"{place}/{day}/{number}")


def code_of(number: int) -> int:
    """About three of a hundred fail, in four ways."""
    return ERRORS[number % 4][0] if number % 33 == 5 else 0


def outcomes_of(place: str, count: int, machines: int, slots: int) -> Iterator[tuple[int, Outcome]]:
    """The number of the machine, and what it recorded; each slot works without a pause, but for a boot."""
    chance = random.Random(7)
    free = [
        (BEGAN + 9 * machine + chance.random(), machine, rank)
        for machine in range(machines)
        for rank in range(slots)
    ]
    for number, run in enumerate(runs_of(place, count)):
        free.sort()
        began, machine, rank = free[0]
        seconds = min(900.0, chance.lognormvariate(2.5, 0.8))
        code = code_of(number)
        free[0] = (began + seconds + 0.01, machine, rank)
        line = ERRORS[number % 4][1].format(n=number) if code else ""
        cause = {124: "timeout", 137: "oom"}.get(code, "exit")
        name = f"i-{machine:017x}"
        yield (
            machine,
            Outcome(
                *(run.remote_output_path, command_hash(run), code, cause, 1, name, rank),
                *(began, began + seconds, "", line),
            ),
        )


def write(folder: Path, count: int, machines: int, slots: int) -> Path:
    """The folder of a batch `batch.json` whose outputs lie in `out`; returns the batch's path."""
    place = f"{folder}/out"
    job = folder / "out/.sc/backfill"
    for name in ("records", "workers"):
        (job / name).mkdir(parents=True, exist_ok=True)
    documents = [run.to_json() for run in runs_of(place, count)]
    batch = folder / "batch.json"
    batch.write_text(json.dumps({"remote_output_path": place, "nprocs": slots, "runs": documents}))
    lines: dict[int, list[str]] = {}
    for machine, outcome in outcomes_of(place, count, machines, slots):
        lines.setdefault(machine, []).append(outcome.to_line())
        output = Path(outcome.remote_output_path)
        output.mkdir(parents=True, exist_ok=True)
        (output / "status_code").write_text(str(outcome.code))
        (output / "stdout").write_text("done\n")
        (output / "stderr").write_text(outcome.error_line + "\n" if outcome.error_line else "")
    for machine, some in lines.items():
        worker = f"i-{machine:017x}"
        (job / f"records/{worker}-0.jsonl").write_text("\n".join(some) + "\n")
        heartbeat = Heartbeat(worker, worker, "local", "local", slots, "left", BEGAN)
        (job / f"workers/{worker}.json").write_bytes(heartbeat.to_bytes())
    return batch
