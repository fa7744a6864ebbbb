"""A person watches a job: on a terminal, in a log, from a program; and what is left of it when it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sc import paths
from sc.storage import open_storage
from tests.fakes.large_job import done_keys, large_job, worker_keys
from tests.processes.conftest import ROOT, wait_until
from tests.processes.terminal import Terminal
from tests.servers import S3Server

SC = f"{sys.executable} -m sc"
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "TERM": "screen-256color"}
FAILURES = (
    "echo 'KeyError: '\"'user-%d'\" >&2; exit 1",
    "echo 'cannot open /data/%d/x.csv: no such file' >&2; exit 2",
    "exit 7",
    "kill -KILL $$; echo %d",
)
KINDS = ("KeyError: 'user-#'", "cannot open /…: no such file", "exit code 7", "ended by signal 9")


def write_job(folder: Path, runs: int, every: int, cmd: str = ":", scale: int = 2) -> None:
    """Every so-manieth run fails, in one of four ways by turns."""
    commands = [cmd] * runs
    for turn, number in enumerate(range(every // 2, runs, every)):
        failure = FAILURES[turn % 4]
        commands[number] = failure % number if "%d" in failure else failure
    batch = {
        "nprocs": 2,
        "remote_output_path": str(folder / "out"),
        "runs": [{"cmd": one} for one in commands],
    }
    (folder / "batch.json").write_text(json.dumps(batch))
    (folder / "recipe.yaml").write_text(
        f"type: job\nspec: {{name: demo, instance_type: local, scale: {scale}}}\n"
    )


def sc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sc", *words],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )


def start(folder: Path, *words: str) -> None:
    done = sc(folder, "split", "recipe.yaml", "batch.json", "commands", "--start", *words)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    one = Terminal(tmp_path, ENVIRONMENT, 80, 24)
    try:
        yield one
    finally:
        one.close()
        if (tmp_path / "out").exists():
            sc(tmp_path, "stop", str(tmp_path / "out" / ".sc" / "demo"))


def test_two_thousand_runs_with_failures_of_four_kinds(tmp_path: Path, terminal: Terminal) -> None:
    write_job(tmp_path, runs=2000, every=33, cmd="sleep 0.02")
    failed = len(range(16, 2000, 33))
    start(tmp_path)
    terminal.enter(f"{SC} watch commands; echo code $?")
    middle = terminal.wait_for(*KINDS, "2 workers, 4 slots")
    assert re.search(r"^demo +[\d.]+ (s|min)", middle)
    assert re.search(r"^\[#+-+\] +\d+ %$", middle, re.M)
    assert re.search(
        r"^2,000 runs: [\d,]+ completed, \d+ failed, \d+ running, [\d,]+ waiting$", middle, re.M
    )
    assert "2 workers, 4 slots" in middle
    for kind in KINDS:
        assert len(re.findall(rf"^ +\d+  {re.escape(kind)} +\S*/out/\d+$", middle, re.M)) == 1
    assert terminal.state("alternate_on") == "1"

    terminal.resize(40, 20)
    narrow = terminal.wait_for("exit code 7")
    assert max(map(len, narrow.splitlines())) <= 40

    terminal.resize(100, 30)
    terminal.type("C-c")
    left = re.sub(r"\s", "", terminal.wait_for("code 130"))  # it may have been narrow still
    for words in ("interrupted; the job goes on", "watch it with:", "stop it with:"):
        assert words.replace(" ", "") in left
    assert (terminal.state("alternate_on"), terminal.state("cursor_flag")) == ("0", "1")

    terminal.enter("clear")
    terminal.enter(f"NO_COLOR=1 {SC} watch commands; echo code $?")
    end = terminal.wait_for("code 1\n").replace("\n", " ")
    assert f"{2000 - failed:,} completed, {failed} failed" in end
    counts = [int(re.search(rf"(\d+) x {re.escape(kind)} ", end)[1]) for kind in KINDS]  # type: ignore[index]
    assert sorted(counts) == [15, 15, 15, 16]
    assert sum(counts) == failed
    assert (terminal.state("alternate_on"), terminal.state("cursor_flag")) == ("0", "1")


def test_the_screen_is_put_right_when_the_watch_is_killed(
    tmp_path: Path, terminal: Terminal
) -> None:
    write_job(tmp_path, runs=4, every=100, cmd="sleep 60")
    start(tmp_path)
    terminal.enter(f"{SC} watch commands & echo pid $!; wait $!; echo code $?")
    terminal.wait_for("4 runs:")
    found = subprocess.run(
        ["pgrep", "-f", f"sc watch {'commands'}$"], capture_output=True, text=True
    )
    mine = [
        int(pid)
        for pid in found.stdout.split()
        if os.path.realpath(f"/proc/{pid}/cwd") == os.path.realpath(tmp_path)
    ]
    assert len(mine) == 1
    os.kill(mine[0], 15)
    terminal.wait_for("code 130")
    assert (terminal.state("alternate_on"), terminal.state("cursor_flag")) == ("0", "1")


def test_wait_says_lines_in_a_log_runs_the_command_and_has_the_code_of_the_job(
    tmp_path: Path,
) -> None:
    write_job(tmp_path, runs=60, every=20)
    names = "SC_JOB SC_EXIT_CODE SC_RUNS SC_COMPLETED SC_FAILED SC_LOST"
    told = "; ".join(f"echo ${name}" for name in names.split())
    words = ("--start", "--wait", "--json", "--on-end", f"({told}) >told; exit 3")
    done = sc(tmp_path, "split", "recipe.yaml", "batch.json", "commands", *words)
    assert done.returncode == 1, done.stderr
    assert "\x1b" not in done.stderr
    assert "57 completed, 3 failed" in done.stderr
    assert "1 x KeyError: 'user-#'" in done.stderr
    assert "the command of --on-end has ended with 3" in done.stderr
    url = str(tmp_path / "out" / ".sc" / "demo")
    assert (tmp_path / "told").read_text().split() == [url, "1", "60", "57", "3", "0"]
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["runs"], last["completed"], last["failed"], last["exit_code"]) == (60, 57, 3, 1)

    for word in ("commands", "commands/recipe.yaml", "batch.json", "out", url, f"file://{url}"):
        again = sc(tmp_path, "watch", word, "--json")
        assert again.returncode == 1, again.stderr
        state = json.loads(again.stdout.splitlines()[-1])
        assert (state["job_url"], state["failed"], state["exit_code"]) == (url, 3, 1)
    assert "it had ended: 57 completed, 3 failed" in again.stderr


def test_a_job_that_is_plainly_broken_stops_and_everybody_says_why(tmp_path: Path) -> None:
    # Failures are counted once a second at the most: the whole job would take ten.
    write_job(tmp_path, runs=1000, every=4, cmd="sleep 0.05")
    words = ("--start", "--wait", "--json", "--max-failures", "5%")
    done = sc(tmp_path, "split", "recipe.yaml", "batch.json", "commands", *words)
    assert done.returncode == 1, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["failed"] >= 50
    assert last["completed"] + last["failed"] < 1000
    reason = last["stopped"]
    assert re.fullmatch(
        r"\d+ of \d+ runs have failed, and --max-failures is 5%: nothing more is started\.", reason
    )
    assert f"sc: {reason}" in done.stderr
    logs = sorted((tmp_path / "out" / ".sc" / "demo" / "logs").iterdir())
    assert len(logs) == 2
    assert all("--max-failures is 5%: nothing more is started." in log.read_text() for log in logs)
    codes = list((tmp_path / "out").glob("*/status_code"))
    assert len(codes) == last["completed"] + last["failed"], "what was started has ended"
    watched = sc(tmp_path, "watch", "commands")
    assert (watched.returncode, reason in watched.stderr) == (1, True)


def test_a_batch_here_stops_at_its_limit(tmp_path: Path) -> None:
    write_job(tmp_path, runs=400, every=4)
    done = sc(tmp_path, "batch", "batch.json", "--max-failures", "3", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["failed"] in (3, 4)
    assert told["not_run"] > 300
    assert "and --max-failures is 3: nothing more is started." in done.stderr


def test_a_large_job_in_s3(bucket: str, s3_environment: S3Server, tmp_path: Path) -> None:
    """A hundred thousand runs, a hundred workers: made by writing the keys."""
    url, job = large_job(100_000, 100, f"s3://{bucket}/out")
    storage = open_storage()
    storage.put(paths.recipe(url), job.to_bytes())
    keys = [*done_keys(url, range(2700))]
    for number in range(100):
        keys += worker_keys(url, number, 330)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda key: storage.put(*key), keys))
    watching = subprocess.Popen(
        [sys.executable, "-m", "sc", "watch", url, "--json"],
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        states = [json.loads(watching.stdout.readline()) for _ in range(2)]
        for state in states:
            assert (state["runs"], state["completed"], state["failed"]) == (100_000, 32_000, 1000)
            assert (state["parts_done"], len(state["workers"])) == (2700, 100)
            assert [group["count"] for group in state["errors"]] == [200] * 4
            assert state["exit_code"] is None
        watching.terminate()
        assert watching.wait(60) == 130
    finally:
        watching.kill()
        watching.communicate()


def test_a_job_that_nobody_works_on_any_more(tmp_path: Path) -> None:
    """Its workers were stopped: what is left is told, and the code is no code of runs."""
    write_job(tmp_path, runs=8, every=100, cmd="sleep 60")
    start(tmp_path)
    url = tmp_path / "out" / ".sc" / "demo"
    wait_until(lambda: list((url / "glances").glob("*")), "a worker has reported")
    assert sc(tmp_path, "stop", str(url)).returncode == 0
    done = sc(tmp_path, "watch", "commands")
    assert done.returncode == 3
    assert "The job was stopped." in done.stderr
    assert "8 not run" in done.stderr
