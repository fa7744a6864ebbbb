"""How fast outputs come back: `sc pull` and `s5cmd cp` of the same objects from a SeaweedFS of this machine."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equipment
import rounds
import seaweedfs
from contenders import Contender, Room, Sc, Task, write_batch
from stopwatch import Failed, Sample
from stopwatch import measure as time_command
from tables import draw, rate_rows

TITLE = "Fetching outputs"

RUNS = 5000
NAMES = ("stdout", "stderr", "status_code")
PLACE = f"s3://{seaweedfs.BUCKET}/pulled"


class Pull(Contender):
    """All outputs into a fresh folder."""

    def __init__(self, inner: Sc, server: seaweedfs.Server) -> None:
        self.inner, self.server, self.name = inner, server, inner.name

    def prepare(self) -> str:
        return self.inner.prepare()

    def environment(self, room: Room) -> Mapping[str, str]:
        return {**room.environment(), **self.server.environment()}

    def command(self, task: Task, room: Room) -> list[str]:
        return [*self.inner.words(), "pull", write_batch(task, room), str(room.out)]

    def measure(self, task: Task, room: Room) -> Sample:
        command, log = self.command(task, room), room.folder / "log"
        return time_command(command, self.environment(room), log, server_pid=self.server.pid)

    def check(self, task: Task, room: Room) -> None:
        for number in range(task.count):
            for name in NAMES:
                if not (room.out / str(number) / name).exists():
                    raise Failed(f"{number}/{name} was not fetched")


class Copy(Pull):
    """The same with s5cmd."""

    def __init__(self, server: seaweedfs.Server) -> None:
        self.server, self.name = server, "s5cmd cp"

    def prepare(self) -> str:
        return equipment.version([self.server.s5cmd, "version"])

    def command(self, task: Task, room: Room) -> list[str]:
        return [self.server.s5cmd, "cp", f"{PLACE}/*", f"{room.out}/"]


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    task = Task(args.count or RUNS, 4, "echo hello", "hello\n", PLACE)
    with seaweedfs.server(folder) as server:
        _fill(server, task, folder)
        wanted: list[Contender] = [Pull(Sc(args.sc, args.python), server), Copy(server)]
        ready, notes = rounds.prepare(rounds.chosen(wanted, args.only), rounds.to_stderr)
        samples, failed = rounds.run(ready, task, args.rounds, folder, rounds.to_stderr)
    return {
        "what": f"outputs of {task.count:,} runs ({len(NAMES) * task.count:,} small objects) "
        "fetched from SeaweedFS here",
        "against": "sc",
        "notes": {**notes, **{name: f"failed: {why}" for name, why in failed.items()}},
        "rows": rate_rows(samples, task.count, "sc"),
    }


def _fill(server: seaweedfs.Server, task: Task, folder: Path) -> None:
    made = folder / "made"
    for number in range(task.count):
        (made / str(number)).mkdir(parents=True)
        for name, content in zip(NAMES, (task.prints, "", "0")):
            (made / str(number) / name).write_text(content)
    server.run("cp", f"{made}/", f"{PLACE}/")


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    headings = ["", "runs/s", "lowest", "highest", "sc is x", "CPU ms/run", "noise"]
    keys = ["contender", "rate", "lowest", "highest", "ratio", "cpu_ms_per_run", "others"]
    return draw(headings, [[row.get(key) for key in keys] for row in result["rows"]])
