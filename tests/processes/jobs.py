"""A job in a folder or a bucket, real workers on it, and what they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional

from sc import claims, paths
from sc.heartbeats import Heartbeat, heartbeat_of
from sc.model import Outcome, Run
from sc.staging import Job, clear, is_fresh, stage
from sc.storage import Storage, open_storage
from tests.processes.conftest import ROOT, all_processes, environment, send, wait_until

TOKEN = "SC_TEST_JOB"


class JobUnderTest:
    """One job, staged as `sc split --start` does it."""

    def __init__(self, out: str, folder: Path) -> None:
        self.out = out
        self.folder = folder
        self.url = paths.job(out, "job")
        self.storage: Storage = open_storage()
        self.token = f"{os.getpid()}-{time.monotonic_ns()}"
        self.workers: list[subprocess.Popen[bytes]] = []

    def stage(self, commands: Sequence[str], part: int, **fields: Any) -> None:
        """Every command a run, `part` of them to a part."""
        runs = [Run(cmd, f"{self.out}/{number}") for number, cmd in enumerate(commands)]
        parts = [
            json.dumps({"runs": [run.to_json() for run in runs[first : first + part]]}).encode()
            for first in range(0, len(runs), part)
        ]
        given: dict[str, Any] = {"nprocs": 2, "scale": 2, "lease_seconds": 8.0, **fields}
        given.setdefault("is_fresh", is_fresh(self.storage, self.out))
        archives = given.pop("archives", ())
        job = Job("job", self.out, parts=len(parts), runs=len(runs), **given)
        clear(self.storage, self.url)
        assert list(stage(self.storage, self.url, job, parts, archives=archives))[-1] == len(parts)

    def work(self, *words: str, how: Sequence[str] = ("-m", "sc")) -> subprocess.Popen[bytes]:
        """Start a worker."""
        log = (self.folder / f"log-{len(self.workers)}").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, *how, "work", self.url, *words],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), TOKEN: self.token},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(process)
        return process

    def gate(self, free: int = 0) -> str:
        """Words of a shell that wait until `let_go`; so many runs, the first that come, go through before."""
        tickets = [f"mkdir {self.folder}/free-{number} 2>/dev/null || " for number in range(free)]
        wait = f"until test -e {self.folder}/go; do sleep 0.02; done"
        return f"{''.join(tickets)}{{ touch {self.folder}/slot-$PPID; {wait}; }}"

    def slots_at_gate(self) -> int:
        """Each slot is counted once, by its keeper."""
        return len(list(self.folder.glob("slot-*")))

    def let_go(self) -> None:
        (self.folder / "go").touch()

    def said(self) -> str:
        """What all workers have said."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("log-*")))

    def codes(self) -> list[str]:
        """Of all runs that have ended."""
        return [
            self.storage.get(entry.place).decode()
            for entry in self.storage.list(self.out)
            if entry.place.endswith("/status_code")
        ]

    def stdout(self, number: int) -> str:
        return self.storage.get(f"{self.out}/{number}/stdout").decode()

    def done(self) -> list[claims.DoneNote]:
        return [
            claims.read_done_note(self.storage.get(entry.place))
            for entry in self.storage.list(paths.join(self.url, "done"))
        ]

    def is_done(self, parts: int) -> bool:
        return len(list(self.storage.list(paths.join(self.url, "done")))) == parts

    def records(self) -> list[Outcome]:
        return [
            Outcome.from_line(line)
            for entry in self.storage.list(paths.join(self.url, "records"))
            for line in self.storage.get(entry.place).decode().splitlines()
        ]

    def heartbeats(self) -> list[Heartbeat]:
        found = [
            heartbeat_of(self.storage.get(entry.place))
            for entry in self.storage.list(paths.join(self.url, "workers"))
        ]
        return [one for one in found if one is not None]

    def free_claims(self) -> int:
        listed = self.storage.list(paths.join(self.url, "claims"))
        return sum(claims.is_free(entry) for entry in listed)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        try:
            return wait_until(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from error

    def processes(self, *titles: str) -> list[int]:
        """All processes of this job's workers; with a title, only those of that name."""
        mine = [pid for pid in all_processes() if self.token.encode() in environment(pid)]
        return [pid for pid in mine if not titles or title(pid) in titles]

    def end_all(self) -> None:
        send(self.processes(), signal.SIGKILL)
        for worker in self.workers:
            worker.wait(30)


def title(pid: int) -> Optional[str]:
    """How a process calls itself."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None
