"""`sc stop`: nothing of a job is left, or what is left is named; also where workers are frozen or just starting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

import pytest

from sc.heartbeats import Heartbeat
from tests.e2e.faults import wait_until
from tests.e2e.program import Program

TOKEN = "SC_TEST_OF"
SYSTEM_PYTHON = "/usr/bin/python3"
DEAF = "trap '' TERM HUP INT; {sc}setsid sh -c \"trap '' TERM; sleep 900\" & sleep 900"


class Job:
    """A job of two workers with two slots each. All that it starts has a token in its environment."""

    def __init__(
        self,
        program: Program,
        folder: Path,
        place: str = "out",
        more: Optional[Mapping[str, str]] = None,
    ) -> None:
        """Its outputs go to `place`; all of its processes have `more` in their environment."""
        self.token = uuid.uuid4().hex
        self.folder, self.place = folder, place
        self.program = Program(program.words, {TOKEN: self.token, **(more or {})})
        (folder / "recipe.yaml").write_text(
            "type: job\nspec: {name: job, instance_type: local, scale: 2}\n"
        )

    def start(self, command: str = DEAF.format(sc="")) -> None:
        runs = [{"cmd": command + " " * number} for number in range(8)]
        batch = {"remote_output_path": self.place, "nprocs": 2, "runs": runs}
        (self.folder / "batch.json").write_text(json.dumps(batch))
        words = ("split", "recipe.yaml", "batch.json", "c", "--batch-size", "2", "--start")
        done = self.program.run(*words, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def wait_for_runs(self) -> None:
        wait_until(lambda: len(self.sleepers()) >= 8, "four runs, and what each leaves")

    def stop(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.program.run("stop", *words, cwd=self.folder, environment={TOKEN: "none"})

    def processes(self) -> dict[int, str]:
        """Those of the job that live, with their command lines."""
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                mark = f"{TOKEN}={self.token}".encode()
                has_token = mark in Path(f"/proc/{name}/environ").read_bytes()
                state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
                if has_token and state != "Z":
                    text = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(name)] = text.decode(errors="replace")
            except OSError:
                continue
        return found

    def sleepers(self) -> list[int]:
        return [pid for pid, words in self.processes().items() if words.startswith("sleep 900")]

    def workers(self) -> list[int]:
        return [pid for pid, words in self.processes().items() if " work " in words]


@pytest.fixture
def job(program: Program, tmp_path: Path) -> Iterator[Job]:
    one = Job(program, tmp_path)
    yield one
    for pid in one.processes():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("frozen", ["nothing", "workers", "all"])
def test_stop_now_leaves_nothing_of_deaf_runs_and_frozen_workers(job: Job, frozen: str) -> None:
    job.start()
    job.wait_for_runs()
    there = {"nothing": [], "workers": job.workers(), "all": list(job.processes())}[frozen]
    for pid in there:
        os.kill(pid, signal.SIGSTOP)
    done = job.stop("batch.json", "--now", "--json")
    assert job.processes() == {}
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left"] == []
    assert list((job.folder / "out").glob("*/status_code")) == []


def test_stop_of_frozen_workers_wakes_and_ends_them(job: Job) -> None:
    job.start("setsid sleep 900 & sleep 900")
    job.wait_for_runs()
    for pid in job.processes():
        os.kill(pid, signal.SIGSTOP)
    done = job.stop("batch.json")
    assert job.processes() == {}
    assert done.returncode == 0, done.stderr


def test_stop_now_from_within_a_run_ends_the_run_too(job: Job) -> None:
    stop = (
        " ".join(job.program.words)
        + f" stop {job.folder}/out/.sc/job --now > {job.folder}/told 2>&1; "
    )
    job.start(DEAF.format(sc=f"mkdir only && {stop}"))
    wait_until(lambda: (job.folder / "told").exists() and not job.processes(), "all has ended")
    assert "nothing is left" in (job.folder / "told").read_text()


def test_stop_now_finds_workers_by_hand_and_by_another_way_to_the_folder(job: Job) -> None:
    job.start()
    by_hand = job.program.start("work", "out/.sc/job", "--yes", cwd=job.folder)
    job.wait_for_runs()
    wait_until(lambda: len(job.workers()) >= 3, "three workers")
    (job.folder / "way").symlink_to("out")
    done = job.stop(f"file://{job.folder}/way/.sc/job", "--now")
    assert done.returncode == 0, done.stderr
    by_hand.communicate()
    assert job.processes() == {}


def test_stop_now_while_workers_start_leaves_nothing(job: Job) -> None:
    for number in range(5):
        job.start()
        time.sleep(0.05 * number)
        done = job.stop("c", "--now")
        assert done.returncode == 0, done.stderr
        assert job.processes() == {}


@pytest.mark.parametrize("more", [[], ["--now"]])
def test_stop_names_a_worker_of_another_machine_that_goes_on(job: Job, more: list[str]) -> None:
    job.start("true")
    job.program.run("watch", "c", cwd=job.folder)
    place = job.folder / "out/.sc/job/workers/other-1.json"
    state = "working" if more else "left"
    place.write_bytes(Heartbeat("other-1", "other", "", "local", 1, state, 1.0, pid=77).to_bytes())
    done = job.stop("c", *more)
    assert done.returncode == (3 if more else 0)
    if more:
        assert "worker other-1 on other" in done.stderr
        assert "process 77 there" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.skipif(not os.path.exists(SYSTEM_PYTHON), reason="no Python that all users have")
def test_stop_now_by_another_user_names_whose_the_worker_is(
    job: Job, pyz: Path, tmp_path: Path
) -> None:
    for folder in [*pyz.parents, *tmp_path.parents]:
        if len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o055)
    for folder in (tmp_path, tmp_path / "out", tmp_path / "home"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)

    def as_user(number: int) -> Program:
        words = ["setpriv", f"--reuid={number}", "--regid=65534", "--clear-groups"]
        words += ["sh", "-c", 'umask 0; exec "$@"', "sh", SYSTEM_PYTHON, str(pyz)]
        home = str(tmp_path / "home")
        return Program(words, {TOKEN: job.token, "HOME": home, "TMPDIR": home})

    job.program = as_user(65534)
    job.start()
    job.wait_for_runs()
    pids = job.workers()
    job.program = as_user(65533)
    there = job.processes()
    for pid in there:
        os.kill(pid, signal.SIGSTOP)
    done = job.stop("out/.sc/job", "--now")
    assert done.returncode == 3
    assert all(f"process id {pid} belongs to nobody" in done.stderr for pid in pids), done.stderr
    job.program = as_user(65534)
    assert job.stop("out/.sc/job", "--now").returncode == 0
    assert job.processes() == {}
