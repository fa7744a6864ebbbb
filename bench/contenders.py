"""Everybody who can run a list of commands and keep what they print: `sc`, its peers, and the limit.

A contender is prepared once (installs what it needs, or raises Missing) and then measured as often as wanted. Each
measurement has a fresh, empty room on tmpfs for its inputs, its temporary files and its outputs, and is checked
afterwards: who did not keep every output is not measured, but failed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import equipment
from stopwatch import Failed, Sample, measure


@dataclass(frozen=True)
class Task:
    """`count` times the same shell command, `slots` at a time."""

    count: int
    slots: int
    command: str
    prints: str
    place: str = ""
    """Where the outputs go; empty: into the room's `out`."""


@dataclass(frozen=True)
class Room:
    """The folder of one measurement; `tmp` and `out` exist and are empty."""

    folder: Path

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def make(self) -> None:
        self.tmp.mkdir(parents=True)
        self.out.mkdir()

    def environment(self) -> dict[str, str]:
        """This process's environment, with the room's folder for temporary files."""
        return {**os.environ, "TMPDIR": str(self.tmp)}


class Contender:
    """The interface, and what most have in common: one command, timed from its start to its end."""

    name = ""
    stdout = "{}/stdout"
    """Where the outputs of run n are, below `out`."""
    first = 0
    keeps_codes = False

    def prepare(self) -> str:
        """Install what is needed. Returns the version. Raises Missing."""
        raise NotImplementedError

    def command(self, task: Task, room: Room) -> list[str]:
        """Write the inputs into the room and say what to run. Not timed."""
        raise NotImplementedError

    def environment(self, room: Room) -> Mapping[str, str]:
        return room.environment()

    def measure(self, task: Task, room: Room) -> Sample:
        command = self.command(task, room)
        return measure(command, self.environment(room), room.folder / "log")

    def check(self, task: Task, room: Room) -> None:
        """Raises Failed unless each run has its output (and its code, where the contender keeps it)."""
        for number in range(self.first, self.first + task.count):
            path = room.out / self.stdout.format(number)
            _expect(path, task.prints)
            if self.keeps_codes:
                _expect(path.parent / "status_code", "0")


def _expect(path: Path, text: str) -> None:
    try:
        found = path.read_text()
    except FileNotFoundError:
        raise Failed(f"{path} was not kept") from None
    if found != text:
        raise Failed(f"{path} holds {found[:80]!r}")


class Limit(Contender):
    name = "C limit"
    keeps_codes = True

    def prepare(self) -> str:
        self.program = equipment.compiled_limit()
        return "bench/limit.c"

    def command(self, task: Task, room: Room) -> list[str]:
        return [str(self.program), str(task.count), str(task.slots), str(room.out), task.command]


class Sc(Contender):
    """`sc batch`. `program` is the path of an `sc.pyz`, or the words that start `sc`."""

    keeps_codes = True

    def __init__(self, program: str, python: str, name: str = "sc") -> None:
        self.name, self.program, self.python = name, program, python

    def words(self) -> list[str]:
        path = Path(self.program)
        return [self.python, str(path.resolve())] if path.exists() else shlex.split(self.program)

    def prepare(self) -> str:
        if self.program.endswith(".pyz") and not Path(self.program).exists():
            raise equipment.Missing(f"{self.program} does not exist; make it with: ./build.sh")
        # The first start of a zipapp unpacks it; no measurement is to pay for that.
        return equipment.version([*self.words(), "--version"])

    def command(self, task: Task, room: Room) -> list[str]:
        return [*self.words(), "batch", write_batch(task, room)]


def write_batch(task: Task, room: Room, results: str = "") -> str:
    """The batch file of a task, as `sc` and Saturn's client both read it. Returns its path.

    `results` is the pattern of each run's own results folder, for who would not put it below TMPDIR.
    """
    place = task.place or str(room.out)
    runs = []
    for number in range(task.count):
        run = {"cmd": task.command, "remote_output_path": f"{place}/{number}"}
        if results:
            run["local_results_dir"] = results.format(number)
        runs.append(run)
    document = {"nprocs": task.slots, "remote_output_path": place, "runs": runs}
    path = room.folder / "batch.json"
    path.write_text(json.dumps(document))
    return str(path)


class HyperQueue(Contender):
    """From submit to done; its server and its worker were started before."""

    name = "HyperQueue"

    def prepare(self) -> str:
        self.python = equipment.peers() / "python"
        code = "from importlib.metadata import version; print(version('hyperqueue'))"
        return equipment.version([str(self.python), "-c", code])

    def command(self, task: Task, room: Room) -> list[str]:
        script = str(equipment.BENCH / "hyperqueue_cluster.py")
        words = [str(task.count), str(task.slots), str(room.out), task.command]
        return [str(self.python), script, *words]

    def measure(self, task: Task, room: Room) -> Sample:
        whole = super().measure(task, room)
        told = json.loads((room.folder / "log").read_text().splitlines()[-1])
        return dataclasses.replace(whole, **told)


class Parallel(Contender):
    """GNU parallel, keeping outputs and a log of codes."""

    name = "GNU parallel"
    stdout = "1/{}/stdout"
    first = 1

    def prepare(self) -> str:
        self.program = equipment.tool("parallel", "parallel")
        return equipment.version([self.program, "--version"])

    def command(self, task: Task, room: Room) -> list[str]:
        numbers = room.folder / "numbers"
        numbers.write_text("".join(f"{number}\n" for number in range(1, task.count + 1)))
        keeping = ["--results", str(room.out), "--joblog", str(room.folder / "joblog")]
        # The argument becomes a comment of the command: its number is only to name the folder.
        what = [f"{task.command} #", "::::", str(numbers)]
        return [self.program, "--will-cite", f"-j{task.slots}", *keeping, *what]


class Saturn(Contender):
    """Saturn Cloud's client, `sc batch`."""

    name = "Saturn's client"
    keeps_codes = True

    def prepare(self) -> str:
        self.folder = equipment.saturn()
        code = "from importlib.metadata import version; print(version('saturn-client'))"
        return equipment.version([str(self.folder / "python"), "-c", code])

    def environment(self, room: Room) -> Mapping[str, str]:
        told = {"SATURN_BASE_URL": "http://127.0.0.1:9", "SATURN_TOKEN": "none"}
        return {**room.environment(), **told}

    def command(self, task: Task, room: Room) -> list[str]:
        batch = write_batch(task, room, results=f"{room.tmp}/results-{{}}/")
        return [str(self.folder / "sc"), "batch", batch]


def peers() -> Iterator[Contender]:
    yield HyperQueue()
    yield Parallel()
    yield Saturn()
