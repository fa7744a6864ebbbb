"""Signals that are ignored when `sc` starts: `nohup`, the background of a script, `trap '' TERM`."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.faults import wait_until
from tests.e2e.program import LIMIT_SECONDS, Program

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def _start(
    program: Program, folder: Path, words: Sequence[str], number: int
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ["env", f"--ignore-signal={signal.Signals(number).name[3:]}", *program.words, *words],
        cwd=folder,
        env=program.surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: _ignores(process.pid, number), "it ignores the signal")
    return process


def _ignores(pid: int, number: int) -> bool:
    """Or has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")]
    return not masks or bool(int(masks[0], 16) >> (number - 1) & 1)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text("type: job\nspec: {name: job, instance_type: local}\n")
    (tmp_path / "batch.yaml").write_text(
        "remote_output_path: out\nnprocs: 1\nruns:\n"
        f"- cmd: touch {tmp_path}/begun; until test -e {tmp_path}/go; do sleep 0.05; done; echo ok\n"
    )
    return tmp_path


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", ["batch batch.yaml", "split recipe.yaml batch.yaml c --start"])
def test_who_starts_runs_with_a_signal_ignored_goes_on(
    program: Program, job: Path, words: str, number: int
) -> None:
    more = ["--wait", "--on-end", "echo $SC_EXIT_CODE > ended"] if "split" in words else []
    process = _start(program, job, [*words.split(), *more], number)
    wait_until((job / "begun").exists, "the run has begun")
    process.send_signal(number)
    process.send_signal(number)
    (job / "go").touch()
    told, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, told
    assert (job / "out/0/status_code").read_text() == "0"
    assert not more or (job / "ended").read_text() == "0\n"


def test_who_follows_or_helps_with_a_signal_ignored_goes_on(program: Program, job: Path) -> None:
    started = program.run("split", "recipe.yaml", "batch.yaml", "c", "--start", cwd=job)
    assert started.returncode == 0, started.stderr
    wait_until((job / "begun").exists, "the run has begun")
    lines = (
        ["watch", "c"],
        ["apply", "c/recipe.yaml", "--wait"],
        ["logs", "batch.yaml", "0", "-f"],
        ["work", "out/.sc/job", "--yes"],
    )
    processes = [
        (words, number, _start(program, job, words, number))
        for words in lines
        for number in SIGNALS
    ]
    for _ in range(50):  # from their first moment on
        for _, number, process in processes:
            process.send_signal(number)
        time.sleep(0.02)
    (job / "go").touch()
    for words, number, process in processes:
        told, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 0, (words, number, told)


def test_signal_that_is_not_ignored_ends_who_follows(program: Program, job: Path) -> None:
    program.run("split", "recipe.yaml", "batch.yaml", "c", "--start", cwd=job)
    wait_until((job / "begun").exists, "the run has begun")
    for number in SIGNALS:
        other = signal.SIGHUP if number != signal.SIGHUP else signal.SIGTERM
        process = _start(program, job, ["watch", "c", "--json"], other)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("{")  # it has begun to look
        process.send_signal(number)
        told, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 130, (number, told)
    (job / "go").touch()
    assert program.run("watch", "c", cwd=job).returncode == 0
