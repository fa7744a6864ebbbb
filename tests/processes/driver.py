"""A process that executes some runs and tells what the executor said of them: `python -m tests.processes.driver SPEC`.

The executor wants a process of its own: it takes its signals and adopts its orphans.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Optional

from sc.executor import Feed, Gauge, Plan, Sink, Task
from sc.executor.loop import execute
from sc.model import Outcome, Run
from sc.storage import open_storage
from tests.fakes.far_folder import FarFolder


class ListFeed:
    """Gives the runs of a list, and writes each outcome to a file as it comes.

    A file `revoke` beside it takes origin 1 away.
    """

    def __init__(self, runs: Iterator[Task], told: Path) -> None:
        self._runs = runs
        self._told = told
        self._is_over = False
        self._turns = self._ticks = 0

    def take(self, wanted: int = 1) -> Optional[Task]:
        task = next(self._runs, None)
        self._is_over = task is None
        return task

    def is_over(self) -> bool:
        return self._is_over

    def fileno(self) -> Optional[int]:
        return None

    def read_news(self) -> None:
        raise AssertionError("there is no news without a descriptor")

    def revoked(self) -> frozenset[int]:
        self._turns += 1  # the loop asks once a turn
        return frozenset([1]) if (self._told.parent / "revoke").exists() else frozenset()

    def is_in_doubt(self) -> bool:
        return False

    def is_stopping(self) -> bool:
        return False

    def is_urgent(self) -> bool:
        return False

    def ended(self, task: Task, outcome: Outcome) -> None:
        with self._told.open("a") as file:
            file.write(outcome.to_line() + "\n")

    def tick(self, gauge: Gauge) -> float:
        self._ticks += 1
        told = {**gauge._asdict(), "turns": self._turns, "ticks": self._ticks}
        half = self._told.parent / "gauge.half"
        half.write_text(json.dumps(told))
        half.replace(self._told.parent / "gauge.json")  # whoever reads sees a whole one
        return 0.2


def main(spec: Path) -> None:
    wanted: dict[str, Any] = json.loads(spec.read_text())
    runs = iter(Task(run_of(one), one.get("origin", 0)) for one in wanted["runs"])
    feed: Feed = ListFeed(runs, spec.parent / "outcomes.jsonl")
    wanted["plan"]["gpus"] = tuple(wanted["plan"].get("gpus", ()))
    open_sink = partial(FarFolder, wanted["far"]) if wanted["far"] else open_in_place
    ending = execute(Plan(**wanted["plan"]), feed, open_sink)
    (spec.parent / "ending.json").write_text(json.dumps(vars(ending)))


def open_in_place() -> Sink:
    return open_storage(os.environ)


def run_of(document: dict[str, Any]) -> Run:
    fields = {name: value for name, value in document.items() if name in Run._fields}
    if isinstance(fields["cmd"], list):
        fields["cmd"] = tuple(fields["cmd"])
    return Run(**fields)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
