"""Processes of `sc` that stand still for a while, again and again, as on a machine that is far too busy."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sc.errors import ExitCode
from tests.e2e.faults import Record
from tests.e2e.hurt_work import HurtWork
from tests.e2e.program import Program
from tests.servers import S3Server

LONGEST_SECONDS = 1.5
"""Less than a lease: one who is late for that is told that its runs are another's."""
RUNS = 48


@dataclass
class Freezer:
    """Stops one process after the other, wherever it is, and lets it go on."""

    work: HurtWork
    frozen: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _choose: random.Random = field(default_factory=random.Random)

    def freeze_some(self) -> None:
        """Until `over`. Of `sc` itself, all its kinds alike; a run that stands still is none of its troubles."""
        while not self._over.wait(0.02):
            found = [pid for pid in self.work.processes() if is_ours(pid)]
            if found:
                self._freeze(self._choose.choice(found))

    def _freeze(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            (self.work.folder / f"frozen-{self.frozen}").touch()
            self.frozen += 1
            self._over.wait(LONGEST_SECONDS * self._choose.random() ** 3)
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self.freeze_some)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


def is_ours(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return words.startswith(b"sc ") or b"sc.pyz" in words


@pytest.mark.parametrize(
    "words",
    [
        ("batch", "batch.json"),
        (
            "split",
            "recipe.yaml",
            "batch.json",
            "commands",
            "--start",
            "--wait",
            "--batch-size",
            "4",
        ),
    ],
    ids=["batch", "split"],
)
def test_all_is_right_though_processes_of_sc_stand_still(
    tmp_path: Path,
    program: Program,
    seaweed: S3Server,
    words: tuple[str, ...],
    record_property: Record,
) -> None:
    """Nothing is lost, done twice or marked before it is whole, whoever of them is late."""
    number = "${SATURN_RUN_REMOTE_OUTPUT_PATH##*/}"  # it ends when as many have stood still
    before = f"until test -e {tmp_path}/frozen-{number}; do sleep 0.05; done; "
    work = HurtWork(tmp_path, program, seaweed, RUNS, before=before)
    process = subprocess.Popen(
        [*program.words, *words],
        cwd=tmp_path,
        env=program.surroundings(work.surroundings(None)),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    freezer = Freezer(work)
    try:
        with freezer.at_work():
            _, said = process.communicate(timeout=240)
    finally:
        work.end_all()
        process.wait()
    assert process.returncode == ExitCode.RUNS_FAILED, said
    assert "Traceback" not in said
    work.assert_all_is_right()
    record_property("frozen", freezer.frozen)
    assert freezer.frozen >= RUNS
