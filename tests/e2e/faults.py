"""A machine that lacks something, with the real `sc` on it; and what has become of each run afterwards.

trial.write(12, place)                    a batch of twelve runs, and a recipe for two workers of this machine
ended = trial.run("batch", "batch.json")  to its end, or `start` and `end`
trial.whole()                             the runs that are marked; each must be there, to the last byte
trial.assert_nothing_left()               no process, and no file in the temp folder
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

import pytest

from sc.errors import MissingError
from sc.storage import open_storage
from tests.e2e.program import Program

LIMIT_SECONDS = 60.0
RECIPE = "type: job\nspec:\n  name: trial\n  instance_type: local\n  scale: 2\n"
TOKEN = "SC_TEST_FAULTS"
LINES = 400
SPLIT = ("split", "recipe.yaml", "batch.json", "commands", "--start", "--wait")
BATCH = ("batch", "batch.json")
Record = Callable[[str, object], None]
"""Tells the report of the tests something: the fixture `record_property`."""


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's first true answer."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not (answer := condition()):
        assert time.monotonic() < limit, f"it took too long until {what}"
        time.sleep(0.02)
    return answer


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own at the folder: `size=1m`, `nr_inodes=40`."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)])
    if made.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass
class Ballast:
    """What takes the room away, and gives it back."""

    disk: Path
    takes: str
    """`bytes` or `inodes`."""

    def take(self) -> None:
        """All that is left."""
        number = 0
        try:
            while True:
                with (self.disk / f"ballast-{number}").open("wb") as file:
                    while self.takes == "bytes":
                        file.write(b"x" * 4096)
                        file.flush()
                number += 1
        except OSError:
            return

    def give_back(self) -> None:
        for path in self.disk.glob("ballast-*"):
            path.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be changed below this path, as on a disk that the kernel has found errors on.

    It is mounted over, at one instant: to remount it is refused while any file there is open.
    """
    beside = folder.with_name(f"{folder.name}-read-only")
    beside.mkdir()
    for words in (
        ["--bind", str(folder), str(beside)],
        ["-o", "remount,bind,ro", str(beside)],
        ["--bind", str(beside), str(folder)],
    ):
        subprocess.run(["mount", *words], check=True)
    try:
        yield
    finally:
        for path in (folder, beside):
            subprocess.run(["umount", "--lazy", str(path)], check=True)


@dataclass
class Trial:
    """A folder with a batch in it, and all that is called there."""

    program: Program
    folder: Path
    place: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()
    """Words of a command that starts ours."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    count: int = 0
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def temp(self) -> Path:
        return self.folder / "temp"

    def write(self, count: int, place: str = "", free: Optional[int] = None, **more: Any) -> None:
        """Runs that go on whatever happens to their output: nobody sees in their codes whether it is whole.

        All but `free` of them, the first that begin, wait in their middle until `let_go`.
        """
        self.temp.mkdir(exist_ok=True)
        self.place, self.count = place or str(self.folder / "out"), count
        between = "true" if free is None else self._gate(free)
        runs = [{"cmd": command(number, between)} for number in range(count)]
        document = {"remote_output_path": self.place, "runs": runs, "nprocs": 2, **more}
        (self.folder / "batch.json").write_text(json.dumps(document))
        (self.folder / "recipe.yaml").write_text(RECIPE)

    def _gate(self, free: int) -> str:
        """Words of a shell; a free one has made one of so many folders."""
        tickets = [f"mkdir {self.folder}/free-{number} 2>/dev/null || " for number in range(free)]
        go = f"touch {self.folder}/waits-$$; until test -e {self.folder}/go; do sleep 0.05; done"
        return f"{''.join(tickets)}{{ {go}; }}"

    def wait_for_waiting(self, count: int) -> None:
        """So many runs are in their middle, and write nothing."""
        wait_until(lambda: len(list(self.folder.glob("waits-*"))) >= count, "some runs wait")

    def let_go(self) -> None:
        (self.folder / "go").touch()

    def surroundings(self) -> dict[str, str]:
        """The environment of a call, its own temp folder included."""
        return {"TMPDIR": str(self.temp), TOKEN: self.token, **self.environment}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Call `sc`, and go on."""
        program = replace(self.program, words=[*self.before, *self.program.words])
        process = program.start(*words, cwd=self.folder, environment=self.surroundings())
        self.started.append(process)
        return process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call `sc` and wait for its end."""
        return self.end(self.start(*words))

    def end(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        """Its end, which has to come by itself. Never a traceback."""
        try:
            out, err = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.end_all()
            out, err = process.communicate()
            pytest.fail(f"it has not ended:\n{out}\n{err}")
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def whole(self) -> set[int]:
        """The runs that have a code, which has to be 0; of each of them all must be there."""
        storage, marked = open_storage(self.environment), set()
        for number in range(self.count):
            try:
                code = storage.get(f"{self.place}/{number}/status_code")
            except MissingError:
                continue
            marked.add(number)
            assert code == b"0", (number, code)
            stdout = storage.get(f"{self.place}/{number}/stdout").decode()
            assert stdout == printed(number), (number, stdout[-200:])
            assert storage.get(f"{self.place}/{number}/results/deep/made") == b"%d\n" % number
        return marked

    def assert_all_whole(self) -> None:
        assert self.whole() == set(range(self.count))

    def processes(self) -> list[int]:
        """All live processes that these calls have started."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue
            if f"{TOKEN}={self.token}".encode() in environment:
                found.append(int(name))
        return found

    def assert_nothing_left(self) -> None:
        wait_until(lambda: not self.processes(), "no process is left")
        assert [name for name in os.listdir(self.temp) if not name.startswith("ballast")] == []

    def end_all(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.started:
            with process:
                pass  # this closes its pipes, which a test that failed has left


def command(number: int, between: str) -> str:
    """Prints some 10 kB in two goes, and makes a result; its code is 0 in any case."""
    return (
        f"seq {LINES} | sed s/^/begin-{number}-/; {between}; seq {LINES} | sed s/^/end-{number}-/; "
        f'mkdir "$SATURN_RUN_LOCAL_RESULTS_DIR/deep"; echo {number} > "$SATURN_RUN_LOCAL_RESULTS_DIR/deep/made"; true'
    )


def printed(number: int) -> str:
    """What that command prints."""
    words = (
        f"{word}-{number}-{line}\n" for word in ("begin", "end") for line in range(1, LINES + 1)
    )
    return "".join(words)


class Count:
    """How often `sc` itself, its runs left out, has met an error of the kernel, as strace has seen it.

    To have met ENOSPC is also to have looked at a disk that had no room left: it is not written to then.
    """

    def __init__(self, trial: Trial, error: str, below: str = "") -> None:
        """All that the trial starts from now on is looked at. `below`: paths that begin so, and no others."""
        self._path = trial.folder / "strace.txt"
        self._error = error
        shows = "|f_bfree=0,|f_ffree=0," if error == "ENOSPC" else ""
        self._is_met = re.compile(rf'<(python|sc )[^>]*> .*"?{re.escape(below)}.*({error}{shows})')
        words = ["strace", "-f", "-qq", "--seccomp-bpf", "--decode-pids=comm", "-e"]
        if shows:
            words += ["trace=%file,write,pwrite64,sendfile,copy_file_range,ftruncate"]
        else:
            words += ["trace=%file,%desc,%network,%process", "-e", "status=failed"]
        self.can = shutil.which("strace") is not None
        if self.can:
            trial.before = [*trial.before, *words, "-o", str(self._path)]

    def faults(self) -> int:
        """Until now; of this call, and not of those before."""
        if not self._path.exists():
            return 0
        lines = self._path.read_text(errors="replace").splitlines()
        return sum(1 for line in lines if self._is_met.search(line))

    def wait(self) -> None:
        """Until it is met."""
        wait_until(lambda: self.faults() or not self.can, f"{self._error} is met")

    def assert_met(self, record: Record) -> None:
        """A fault that never struck is not survived. Tells the report of the tests how often it was."""
        if self.can:
            record(self._error, self.faults())
            assert self.faults()
