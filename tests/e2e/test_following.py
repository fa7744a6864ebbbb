"""Whoever follows a run, a worker or a job ends when nothing more can come, with a word and the right code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.faults import wait_until
from tests.e2e.program import LIMIT_SECONDS
from tests.e2e.test_stop import Job, job

__all__ = ["job"]


def _follow(job: Job, *words: str) -> subprocess.Popen[str]:
    return job.program.start(*words, cwd=job.folder, environment={"SC_TEST_OF": "none"})


def _end(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    return process.returncode, out + err


@pytest.mark.parametrize("how", ["stop", "stop --now", "kill"])
def test_followers_of_a_job_that_is_stopped_or_killed_end(job: Job, how: str) -> None:
    job.start("echo begun; sleep 900")
    wait_until(lambda: len(job.sleepers()) >= 4, "four runs")
    going_on = [path.parent.name for path in (job.folder / "out").glob("*/stdout")]
    idle = next(str(number) for number in range(8) if str(number) not in going_on)
    (worker, *_) = os.listdir(job.folder / "out/.sc/job/workers")
    run = _follow(job, "logs", "batch.json", going_on[0], "-f")
    by_path = _follow(job, "logs", f"out/{going_on[1]}", "-f", "--json")
    waiting = _follow(job, "logs", "batch.json", idle, "-f")
    of_worker = _follow(job, "logs", "batch.json", "--worker", worker[:-5], "-f")
    watch = _follow(job, "watch", "c")
    wait_until(lambda: run.stdout and run.stdout.readline() == "begun\n", "it follows")
    if how == "kill":
        for pid in job.workers():
            os.kill(pid, signal.SIGKILL)
    else:
        done = job.stop("c", *how.split()[1:])
        assert done.returncode == 0, done.stderr
    word = "has no workers any more" if how == "kill" else "was stopped"
    for process in (run, by_path, waiting):
        code, told = _end(process)
        assert code == 3, told
        assert word in told
    assert _end(watch)[0] == 3
    code, told = _end(of_worker)
    # A worker that hears of --now before it is killed says goodbye.
    assert code in {"stop": (0,), "stop --now": (0, 3), "kill": (3,)}[how], told


def test_follower_of_a_run_of_a_stopped_job_that_begins_later_ends(job: Job) -> None:
    job.start("echo begun; sleep 900")
    wait_until(lambda: len(job.sleepers()) >= 4, "four runs")
    job.stop("c", "--now")
    code, told = _end(_follow(job, "logs", "batch.json", "0", "-f", "--json"))
    assert code == 3
    last = json.loads([line for line in told.splitlines() if line.startswith("{")][-1])
    assert last["status_code"] is None
    assert "was stopped" in last["reason"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_follower_of_a_plain_batch_that_is_ended_ends(job: Job, number: int) -> None:
    batch = {"remote_output_path": "out", "nprocs": 1, "runs": [{"cmd": "echo begun; sleep 900"}]}
    (job.folder / "b.json").write_text(json.dumps(batch))
    process = job.program.start("batch", "b.json", cwd=job.folder)
    wait_until(job.sleepers, "the run")
    run = _follow(job, "logs", "b.json", "0", "-f")
    wait_until(lambda: run.stdout and run.stdout.readline() == "begun\n", "it follows")
    process.send_signal(number)
    process.communicate()
    code, told = _end(run)
    assert code == 3, told
    assert "nobody executes it" in told


def test_follower_of_what_nobody_has_begun_waits_a_while_and_ends(job: Job) -> None:
    batch = {
        "remote_output_path": "out",
        "nprocs": 1,
        "runs": [{"cmd": "echo ok"}, {"cmd": "false"}],
    }
    (job.folder / "b.json").write_text(json.dumps(batch))
    before = [_follow(job, "logs", "b.json", number, "-f") for number in ("0", "1")]
    job.program.run("batch", "b.json", cwd=job.folder)
    assert [_end(process)[0] for process in before] == [0, 1]
    for path in Path(job.folder / "out").glob("*/status_code"):
        path.unlink()
    code, told = _end(_follow(job, "logs", "b.json", "0", "-f"))
    assert code == 3, told
