"""What a start script leaves running: runs may use it, and it ends with the worker, whatever that dies of."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.faults import wait_until
from tests.e2e.test_stop import Job, job

__all__ = ["job"]
SERVER = "while :; do date +%s%N > alive; sleep 0.1; done"
LEFT = {
    "job of the shell": f"({SERVER}) &",
    "nohup": f"nohup sh -c '{SERVER}' >/dev/null 2>&1 &",
    "session": f"setsid sh -c '{SERVER}' &",
    "daemon": f"setsid sh -c 'setsid sh -c \"{SERVER}\" >/dev/null 2>&1 </dev/null &'",
    "deaf": f"setsid sh -c 'trap \"\" TERM HUP INT; {SERVER}' &",
}
USES = "rm -f alive; until test -s alive; do sleep 0.1; done"
"""The server lives."""


def start(job: Job, script: str, *commands: str, scale: int = 1) -> None:
    spec = {"name": "job", "instance_type": "local", "scale": scale, "start_script": script}
    spec["working_directory"] = str(job.folder)
    (job.folder / "recipe.yaml").write_text(json.dumps({"type": "job", "spec": spec}))
    runs = [{"cmd": command} for command in commands]
    batch = {"remote_output_path": job.place, "nprocs": 2, "runs": runs}
    (job.folder / "batch.json").write_text(json.dumps(batch))
    done = job.program.run("split", "recipe.yaml", "batch.json", "c", "--start", cwd=job.folder)
    assert done.returncode == 0, done.stderr


def _named(job: Job, words: str) -> int:
    found = [pid for pid, told in job.processes().items() if told.startswith(words)]
    return found[0] if found else 0


@pytest.mark.parametrize("kind", LEFT)
def test_server_of_a_start_script_is_there_for_runs_and_ends_with_the_job(
    job: Job, kind: str
) -> None:
    script = f"{LEFT[kind]}\nuntil test -s alive; do sleep 0.05; done"
    start(job, script, USES, f"sleep 0.5; {USES}")
    done = job.program.run("watch", "c", cwd=job.folder)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not job.processes(), "nothing is left")


@pytest.mark.parametrize("killed", ["work", "sc preparation"])
@pytest.mark.parametrize("kind", ["daemon", "deaf"])
def test_server_ends_with_a_worker_that_is_killed(job: Job, kind: str, killed: str) -> None:
    start(job, f"{LEFT[kind]}", "sleep 900")
    wait_until(lambda: _named(job, "sleep 900") and (job.folder / "alive").exists(), "the run")
    (worker,), preparation = job.workers(), _named(job, "sc preparation")
    assert preparation
    os.kill(worker if killed == "work" else preparation, signal.SIGKILL)
    if killed != "work":
        wait_until(lambda: preparation not in job.processes(), "it is dead")
        os.kill(worker, signal.SIGTERM)
    wait_until(lambda: not job.processes(), "nothing is left")


def test_server_outlives_a_slot_process_that_is_killed(job: Job) -> None:
    script = f"{LEFT['daemon']}\nuntil test -s alive; do sleep 0.05; done"
    start(job, script, f"touch begun; until test -e go; do sleep 0.1; done; {USES}")
    wait_until((job.folder / "begun").exists, "the run has begun")
    (job.folder / "begun").unlink()
    os.kill(_named(job, "sc keeper 0"), signal.SIGKILL)
    wait_until((job.folder / "begun").exists, "it was begun again")
    (job.folder / "go").touch()
    assert job.program.run("watch", "c", cwd=job.folder).returncode == 0
    wait_until(lambda: not job.processes(), "nothing is left")


@pytest.mark.parametrize("words", [[], ["--now"]])
def test_stop_ends_the_server(job: Job, words: list[str]) -> None:
    start(job, LEFT["deaf"], "sleep 900")
    wait_until(lambda: _named(job, "sleep 900"), "the run has begun")
    done = job.stop("c", *words)
    assert done.returncode == 0, done.stderr
    assert job.processes() == {}


@pytest.mark.parametrize("end", ["exit 3", "sleep 900"])
def test_server_of_a_start_script_that_fails_or_is_stopped_ends(job: Job, end: str) -> None:
    start(job, f"{LEFT['daemon']}\nuntil test -s alive; do sleep 0.05; done\n{end}", "true")
    wait_until((job.folder / "alive").exists, "the server")
    if "sleep" in end:
        job.stop("c")
    wait_until(lambda: not job.processes(), "nothing is left")
    assert not list(Path(job.folder / "out").glob("*/status_code"))
