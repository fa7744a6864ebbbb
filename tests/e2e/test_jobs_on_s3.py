"""Jobs of this machine with outputs on S3: synced folders, what a start script leaves, `stop --now`, `logs -f`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.faults import wait_until
from tests.e2e.program import LIMIT_SECONDS, Program
from tests.e2e.test_code_sync import READER, write_version
from tests.e2e.test_start_script import LEFT, USES, start
from tests.e2e.test_stop import Job
from tests.servers import S3Server

CODE = "code"


@pytest.fixture
def job(program: Program, tmp_path: Path, seaweed: S3Server, bucket: str) -> Iterator[Job]:
    one = Job(program, tmp_path, f"s3://{bucket}/out", seaweed.environment())
    yield one
    for pid in one.processes():
        os.kill(pid, signal.SIGKILL)


def _sync(job: Job, name: str, commands: Sequence[str], *words: str) -> None:
    spec = {"name": name, "instance_type": "local", "scale": 2}
    batch = {"remote_output_path": f"{job.place}-{name}", "nprocs": 2}
    (job.folder / f"{name}.yaml").write_text(json.dumps({"type": "job", "spec": spec}))
    (job.folder / f"{name}.json").write_text(
        json.dumps({**batch, "runs": [{"cmd": command} for command in commands]})
    )
    line = ("split", f"{name}.yaml", f"{name}.json", f"cut-{name}", "--start", "--batch-size", "2")
    done = job.program.run(*line, "--sync", f"src:{CODE}", *words, cwd=job.folder)
    assert done.returncode == 0, done.stderr


def test_sync_of_changed_code_disturbs_no_reader_of_a_job_on_s3(job: Job) -> None:
    (job.folder / "reader.py").write_text(READER)
    gate = job.folder / "gate"
    gate.mkdir()
    write_version(job.folder / "src", "v1")
    command = f"cd {CODE} && exec python3 {job.folder}/reader.py a . {gate}"
    _sync(job, "a", [command] * 4)
    wait_until(lambda: len(list(gate.iterdir())) == 4, "four runs read the first version")
    write_version(job.folder / "src", "v2")
    _sync(job, "b", [f"cat {CODE}/version"] * 4, "--wait")
    (gate / "go").touch()
    assert job.program.run("watch", "cut-a", cwd=job.folder).returncode == 0
    for name, said in (("a", "v1\n"), ("b", "v2")):
        for number in range(4):
            told = job.program.run("logs", f"{name}.json", str(number), cwd=job.folder)
            assert told.stdout.strip("\n") == said.strip("\n"), told.stderr


def test_server_of_a_start_script_ends_with_a_job_on_s3(job: Job) -> None:
    start(job, f"{LEFT['deaf']}\nuntil test -s alive; do sleep 0.05; done", USES)
    assert job.program.run("watch", "c", cwd=job.folder).returncode == 0
    wait_until(lambda: not job.processes(), "nothing is left")


@pytest.mark.parametrize("is_frozen", [False, True])
def test_stop_now_of_a_job_on_s3_leaves_nothing(job: Job, is_frozen: bool) -> None:
    job.start()
    job.wait_for_runs()
    for pid in job.workers() if is_frozen else ():
        os.kill(pid, signal.SIGSTOP)
    done = job.stop("c", "--now")
    assert done.returncode == 0, done.stderr
    assert job.processes() == {}


def test_follower_of_a_job_on_s3_that_is_stopped_ends(job: Job) -> None:
    job.start("sleep 900")
    wait_until(lambda: len(job.sleepers()) >= 4, "four runs")
    none = {"SC_TEST_OF": "none"}
    follower = job.program.start("logs", "batch.json", "0", "-f", cwd=job.folder, environment=none)
    done = job.stop("c")
    assert done.returncode == 0, done.stderr
    out, err = follower.communicate(timeout=LIMIT_SECONDS)
    assert follower.returncode == 3, out + err
    assert "was stopped" in out + err
