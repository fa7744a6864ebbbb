"""How many short runs a second with outputs on S3: `sc batch`, Saturn's client, and s5cmd as the limit.

s5cmd only uploads, from memory, as many objects with the same content as the runs leave: it shows what the server on
this machine can take. It starts no process.
"""

from __future__ import annotations

import itertools
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import equipment
import rounds
import seaweedfs
from contenders import Contender, Room, Saturn, Sc, Task
from stopwatch import Sample
from stopwatch import measure as time_command
from tables import draw, rate_rows

TITLE = "Short runs, outputs on S3"

_numbers = itertools.count()


class OnS3(Contender):
    """A contender whose outputs go below a new prefix of the bucket each time."""

    keeps_codes = True

    def __init__(self, inner: Contender, server: seaweedfs.Server) -> None:
        self.inner, self.server, self.name = inner, server, inner.name
        self.prefix = ""

    def prepare(self) -> str:
        return self.inner.prepare()

    def environment(self, room: Room) -> Mapping[str, str]:
        return {**self.inner.environment(room), **self.server.environment()}

    def command(self, task: Task, room: Room) -> list[str]:
        return self.inner.command(replace(task, place=self.prefix), room)

    def measure(self, task: Task, room: Room) -> Sample:
        self.prefix = f"s3://{seaweedfs.BUCKET}/{next(_numbers)}"
        command = self.command(task, room)
        log = room.folder / "log"
        return time_command(command, self.environment(room), log, server_pid=self.server.pid)

    def check(self, task: Task, room: Room) -> None:
        """All objects are fetched and compared, then removed."""
        self.server.run("cp", f"{self.prefix}/*", f"{room.out}/")
        super().check(task, room)
        self.server.run("rm", f"{self.prefix}/*")


class Upload(Contender):
    name = "s5cmd (upload only)"

    def prepare(self) -> str:
        self.program = str(equipment.peers() / "s5cmd")
        return equipment.version([self.program, "version"])

    def command(self, task: Task, room: Room) -> list[str]:
        for number in range(task.count):
            folder = room.folder / "made" / str(number)
            folder.mkdir(parents=True)
            (folder / "stdout").write_text(task.prints)
            (folder / "stderr").touch()
            (folder / "status_code").write_text("0")
        return [self.program, "cp", f"{room.folder}/made/", f"{task.place}/"]


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    task = Task(args.count or 1000, args.slots or 16, "echo hello", "hello\n")
    wanted: list[Contender] = [Sc(args.sc, args.python), Upload(), Saturn()]
    with seaweedfs.server(folder) as server:
        on_s3 = [OnS3(one, server) for one in rounds.chosen(wanted, args.only)]
        ready, notes = rounds.prepare(on_s3, rounds.to_stderr)
        samples, failed = rounds.run(ready, task, args.rounds, folder, rounds.to_stderr)
    against = "sc" if samples.get("sc") else Upload.name
    return {
        "what": f"{task.count:,} x `{task.command}`, {task.slots} slots, outputs on SeaweedFS here",
        "against": against,
        "notes": {**notes, **{name: f"failed: {why}" for name, why in failed.items()}},
        "rows": rate_rows(samples, task.count, against),
    }


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    headings = ["", "runs/s", "lowest", "highest", f"{result['against']} is x", "CPU ms/run"]
    keys = ["contender", "rate", "lowest", "highest", "ratio", "cpu_ms_per_run"]
    headings += ["server CPU ms/run", "noise"]
    keys += ["server_cpu_ms_per_run", "others"]
    return draw(headings, [[row.get(key) for key in keys] for row in result["rows"]])
