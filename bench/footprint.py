"""What `sc` itself takes of a machine: processes, proportional set size, CPU time."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stopwatch import Failed, process_cpu_seconds

TOKEN = "SC_BENCH_TOKEN"


class Watched:
    """A `sc batch` that goes on, and all processes of its own; its runs' processes are not `sc`'s.

    A run's process is told apart by `SATURN_RUN_ATTEMPT` in its environment.
    """

    def __init__(self, args: Any, batch: Path, folder: Path, words: tuple[str, ...] = ()) -> None:
        self.token = uuid.uuid4().hex
        program = [args.python, args.sc] if args.sc.endswith(".pyz") else shlex.split(args.sc)
        self.process = subprocess.Popen(
            [*program, "batch", str(batch), *words],
            env={**os.environ, TOKEN: self.token, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def pids(self) -> list[int]:
        return [pid for pid, env in environments() if self._is_own(env)]

    def count_runs(self) -> int:
        mine = self.token.encode()
        return sum(mine in env and b"SATURN_RUN_ATTEMPT=" in env for _, env in environments())

    def pss_bytes(self) -> int:
        """The memory of all its processes; a page that several share is divided among them."""
        return sum(map(pss_bytes, self.pids()))

    def cpu_seconds(self) -> float:
        return sum(map(process_cpu_seconds, self.pids()))

    def wait_until_live(self, runs: int, limit_seconds: float = 120.0) -> None:
        end = time.monotonic() + limit_seconds
        while self.count_runs() < runs:
            if time.monotonic() > end or self.process.poll() is not None:
                raise Failed(f"{runs} runs did not start")
            time.sleep(0.1)

    def _is_own(self, env: bytes) -> bool:
        return self.token.encode() in env and b"SATURN_RUN_ATTEMPT=" not in env


def environments() -> Iterator[tuple[int, bytes]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                yield int(name), Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue


def pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def rows(result: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """A table of one line a figure."""
    lines = ["| figure | measured | issue's limit |", "|---|---:|---:|"]
    lines += [
        f"| {text} | {result[name]} | {result['limits'][name]} |" for name, text in names.items()
    ]
    return "\n".join(lines)
