"""Executions in a process of their own, and what they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import pytest

from sc.model import Outcome

ROOT = Path(__file__).parent.parent.parent
LIMIT_SECONDS = 60.0
TOKEN = "SC_TEST_TOKEN"


def wait_until(condition: Callable[[], Any], what: str, seconds: float = LIMIT_SECONDS) -> Any:
    """The condition's first true answer; fails when it does not come in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Execution:
    """One execution: its runs, its process, and where to look afterwards."""

    def __init__(self, folder: Path, is_far: bool) -> None:
        self.folder = folder
        self.is_far = is_far
        self.out = folder / "out"
        self.temp = folder / "temp"
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.token = uuid.uuid4().hex
        self.out.mkdir()
        self.temp.mkdir()

    def place(self, name: str) -> str:
        return f"far:/{name}" if self.is_far else str(self.out / name)

    def start(
        self, *runs: dict[str, Any], nprocs: int = 2, before: Sequence[str] = (), **plan: Any
    ) -> Execution:
        """Runs without `remote_output_path` get their index. `before` are the words of a command that starts ours."""
        documents = [
            {"remote_output_path": self.place(str(i)), **run} for i, run in enumerate(runs)
        ]
        plan = {"grace_seconds": 5, **plan}
        plan = {**plan, "nprocs": nprocs, "machine": "m", "temp_folder": str(self.temp)}
        spec = self.folder / "spec.json"
        spec.write_text(
            json.dumps({"runs": documents, "plan": plan, "far": self.is_far and str(self.out)})
        )
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.processes.driver", str(spec)],
            cwd=ROOT,
            env={**os.environ, TOKEN: self.token},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def run(self, *runs: dict[str, Any], **plan: Any) -> list[Outcome]:
        self.start(*runs, **plan)
        return self.finish()

    def finish(self) -> list[Outcome]:
        """Wait for the end; the outcomes by output path."""
        assert self.process is not None
        assert self.process.wait(LIMIT_SECONDS) == 0
        return self.outcomes()

    def outcomes(self) -> list[Outcome]:
        told = self.folder / "outcomes.jsonl"
        lines = told.read_text().splitlines() if told.exists() else []
        return sorted(map(Outcome.from_line, lines), key=lambda one: one.remote_output_path)

    def ending(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "ending.json").read_text()))

    def gauge(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "gauge.json").read_text()))
        except (OSError, ValueError):
            return {}

    def read(self, name: str) -> str:
        return (self.out / name).read_text()

    def processes(self) -> list[int]:
        """All live processes that this execution started, `sc`'s own included."""
        return [pid for pid in all_processes() if self.token.encode() in environment(pid)]

    def files_left(self) -> list[str]:
        return sorted(os.listdir(self.temp))

    def assert_nothing_left(self) -> None:
        wait_until(lambda: not self.processes(), "no process is left")
        assert self.files_left() == []


def all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def send(pids: Iterable[int], number: int) -> None:
    """A signal to those of these processes that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.fixture(params=["in-place", "far"])
def execution(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Execution]:
    """Over a folder in which outputs are written in place, and over a storage to which they are sent."""
    yield from _execution(tmp_path, request.param == "far")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Execution]:
    yield from _execution(tmp_path, True)


@pytest.fixture
def near(tmp_path: Path) -> Iterator[Execution]:
    yield from _execution(tmp_path, False)


def _execution(folder: Path, is_far: bool) -> Iterator[Execution]:
    one = Execution(folder, is_far)
    try:
        yield one
        one.assert_nothing_left()
    finally:
        send(one.processes(), signal.SIGKILL)
