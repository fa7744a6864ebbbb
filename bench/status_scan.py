"""How long it takes to learn what became of 100,000 runs on S3: `sc` against `s5cmd ls` of the same prefix.

`s5cmd ls` only lists: it is the limit. Saturn's client asks for each run; it gets a hundredth of them in a place of
their own, and what is told is a hundred times its own, its start included. The server counts the requests in its
metrics, so they are those of the real program. Then the same with the records of a job, and with a batch of ten times
as many runs, most of them not started.
"""

from __future__ import annotations

import statistics
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import equipment
import rounds
import seaweedfs
from contenders import Contender, Room, Saturn, Sc, Task, write_batch
from ended_runs import COMMAND, code_of, store_outputs, store_records
from stopwatch import Failed, Sample
from stopwatch import measure as time_command
from tables import draw

TITLE = "Status at scale"
PLACE, FEW = f"s3://{seaweedfs.BUCKET}/out", f"s3://{seaweedfs.BUCKET}/few"
LIMIT, SUMMARY, SPLIT = "s5cmd ls", "sc summarize-batch", "sc split --skip-completed"
SHARE = 100
"""Saturn's client gets one of so many runs."""
TIMES = 10
"""How many times the runs the large batch has."""
_RECIPE = '{"type": "job", "spec": {"name": "scan", "instance_type": "r6a.xlarge", "scale": 20}}'

Words = Callable[[Room, str], Sequence[str]]
"""What to run in a room, of the batch with this path."""


class Listing(Contender):
    name = "s5cmd"

    def prepare(self) -> str:
        return equipment.version([str(equipment.peers() / "s5cmd"), "version"])


class Reader(Contender):
    """A command that reads what is there, of `times` the task's runs. What it says has to contain `told`."""

    def __init__(
        self,
        name: str,
        inner: Contender,
        server: seaweedfs.Server,
        words: Words,
        told: str,
        times: float = 1.0,
    ) -> None:
        self.name, self.inner, self.server = name, inner, server
        self.words, self.told, self.times = words, told, times
        self.requests: list[int] = []

    def prepare(self) -> str:
        return self.inner.prepare()

    def environment(self, room: Room) -> Mapping[str, str]:
        return {**self.inner.environment(room), **self.server.environment()}

    def measure(self, task: Task, room: Room) -> Sample:
        own = replace(task, count=max(1, int(task.count * self.times)))
        if self.times < 1:
            own = replace(own, place=FEW)  # it looks at everything below the batch's place
        command, log = self.words(room, write_batch(own, room)), room.folder / "log"
        before = self.server.requests()
        sample = time_command(command, self.environment(room), log, server_pid=self.server.pid)
        self.requests.append(self.server.requests() - before)
        return sample

    def check(self, task: Task, room: Room) -> None:
        said = (room.folder / "log").read_text(errors="replace")
        if self.told not in said:
            raise Failed(f"it does not say {self.told!r}, but {said[-300:]!r}")


def readers(args: Namespace, server: seaweedfs.Server, count: int) -> list[Reader]:
    """In the order of the table."""
    codes = [code_of(number) for number in range(count)]
    completed, incomplete = codes.count(0), codes.count(None)
    sc, saturn = Sc(args.sc, args.python), Saturn()

    def split(room: Room, batch: str) -> list[str]:
        recipe = room.folder / "recipe.json"
        recipe.write_text(_RECIPE)
        return [*sc.words(), "split", str(recipe), batch, "--skip-completed", "--dry-run"]

    def summary(room: Room, batch: str) -> list[str]:
        return [*sc.words(), "summarize-batch", batch]

    def summary_as_json(room: Room, batch: str) -> list[str]:
        return [*summary(room, batch), "--json"]

    def saturns(room: Room, batch: str) -> list[str]:
        return [str(saturn.folder / "sc"), "summarize-batch", batch]

    def listed(room: Room, batch: str) -> list[str]:
        return [server.s5cmd, "ls", f"{PLACE}/*"]

    small = f" {completed:,} completed, {incomplete:,} incomplete"
    large = f" {completed:,} completed, {incomplete + (TIMES - 1) * count:,} incomplete"
    skipped, of_many = f"skipping {completed:,} completed", f", {TIMES * count:,} runs"
    saturn_share = f"{saturn.name} (1/{SHARE} of it, x {SHARE})"
    return [
        Reader(LIMIT, Listing(), server, listed, f"{count - 1}/stdout"),
        Reader(SUMMARY, sc, server, summary, small),
        Reader(SPLIT, sc, server, split, skipped),
        Reader(saturn_share, saturn, server, saturns, "completed", 1 / SHARE),
        Reader(SPLIT + ", with records", sc, server, split, skipped),
        Reader(SUMMARY + of_many, sc, server, summary, large, TIMES),
        Reader(SUMMARY + " --json" + of_many, sc, server, summary_as_json, large, TIMES),
        Reader(SPLIT + of_many, sc, server, split, skipped, TIMES),
    ]


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    count = args.count or 100_000
    task = Task(count, args.slots or 16, COMMAND, "", PLACE)
    with seaweedfs.server(folder) as server:
        rounds.to_stderr(f"storing what {count:,} runs leave")
        objects = store_outputs(server, PLACE, count, folder)
        store_outputs(server, FEW, max(1, count // SHARE), folder)
        found = readers(args, server, count)
        ready, notes = rounds.prepare(rounds.chosen(found, args.only), rounds.to_stderr)
        rows, failed = _rows(ready, found[:4], task, args.rounds, objects, folder)
        objects += store_records(server, PLACE, count, folder)
        # The limit is measured again, next to these: its own row is that of the first time.
        for some, number in (([found[0], found[4]], args.rounds), (found[5:], 1)):
            more, wrong = _rows(ready, some, task, number, objects, folder)
            rows += [row for row in more if row["contender"] != LIMIT]
            failed.update(wrong)
    return {
        "what": f"the status of {count:,} runs, {objects:,} objects on SeaweedFS here",
        "notes": {
            **{reader.inner.name: notes[reader.name] for reader in found if reader.name in notes},
            **{name: f"failed: {why}" for name, why in failed.items()},
        },
        "rows": rows,
    }


def _rows(
    ready: Sequence[Contender],
    some: Sequence[Reader],
    task: Task,
    number: int,
    objects: int,
    folder: Path,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row for each of `some` that is ready. `ratio`: the median of the ratios of each round."""
    wanted = [reader for reader in some if reader in ready]
    samples, failed = rounds.run(wanted, task, number, folder, rounds.to_stderr)
    rows = []
    for reader in wanted:
        measured = samples[reader.name]
        if not measured:
            continue
        scale = 1 / min(1.0, reader.times)
        seconds = [sample.wall_seconds * scale for sample in measured]
        row: dict[str, Any] = {
            "contender": reader.name,
            "seconds": statistics.median(seconds),
            "lowest": min(seconds),
            "highest": max(seconds),
            "cpu_seconds": statistics.median(s.cpu_seconds for s in measured) * scale,
            "server_cpu_seconds": statistics.median(s.server_cpu_seconds for s in measured) * scale,
            "requests": round(max(reader.requests[-len(measured) :]) * scale),
            "pages": objects / 1000,
            "peak_mb": max(sample.peak_bytes for sample in measured) / 1e6,
            "others": statistics.median(sample.others for sample in measured),
        }
        limit = samples.get(LIMIT, [])
        if limit:
            ratios = [own / other.wall_seconds for own, other in zip(seconds, limit)]
            row["ratio"] = statistics.median(ratios)
        rows.append(row)
    return rows, failed


def text(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    columns = {
        "": "contender",
        "seconds": "seconds",
        "lowest": "lowest",
        "highest": "highest",
        f"x {LIMIT}": "ratio",
        "requests": "requests",
        "objects/1000": "pages",
        "peak MB": "peak_mb",
        "CPU s": "cpu_seconds",
        "server CPU s": "server_cpu_seconds",
        "noise": "others",
    }
    return draw(
        list(columns), [[row.get(key) for key in columns.values()] for row in result["rows"]]
    )
