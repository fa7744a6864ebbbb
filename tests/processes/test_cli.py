"""The program in a process of its own, whatever its streams and its limits are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_output_survives_a_terminal_that_knows_ascii_only(checkout: Path, tmp_path: Path) -> None:
    name = "naïve-\N{SNOWMAN}.json"
    ran = subprocess.run(
        [sys.executable, "-m", "sc", "batch", str(tmp_path / name)],
        cwd=checkout,
        env={
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C",
            "PYTHONIOENCODING": "ascii",
            "PYTHONUTF8": "0",
        },
        capture_output=True,
    )
    assert ran.returncode == 2
    assert b"Traceback" not in ran.stderr
    assert ran.stderr.startswith(b"sc: ")


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", ">/dev/full"])
def test_a_closed_or_full_stream_is_no_crash(closed: str, checkout: Path) -> None:
    line = f'"{sys.executable}" -m sc --help {closed}'
    ran = subprocess.run(["/bin/sh", "-c", line], cwd=checkout, capture_output=True, text=True)
    assert "Traceback" not in ran.stderr
    assert ran.returncode == (3 if "full" in closed else 0)


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_a_batch_runs_whatever_streams_are_closed(
    closed: str, checkout: Path, tmp_path: Path
) -> None:
    """Else the number of a closed stream goes to a pipe of ours, which a fork then loses: it waits for ever."""
    (tmp_path / "batch.yaml").write_text("runs: [{cmd: cat}, {cmd: echo two}]")
    line = f'"{sys.executable}" -m sc batch "$0/batch.yaml" --remote-output-path "$0/out" {closed}'
    command = ["/bin/sh", "-c", line, str(tmp_path)]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=30)
    codes = [(tmp_path / "out" / name / "status_code").read_text() for name in "01"]
    assert (ran.returncode, codes) == (0, ["0", "0"])
    assert (tmp_path / "out/1/stdout").read_text() == "two\n"


def test_a_machine_that_allows_no_process_is_told_in_a_sentence(
    checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "batch.txt").write_text("true\n")
    line = (
        f'ulimit -n 16; "{sys.executable}" -m sc batch "$0/batch.txt" --remote-output-path "$0/out"'
    )
    command = ["/bin/sh", "-c", line, str(tmp_path)]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, "Traceback" in ran.stderr) == (3, False)
    assert ran.stderr.splitlines()[-1].startswith("sc: ")
    assert not (tmp_path / "out/0/status_code").exists()


def test_a_reader_that_leaves_is_no_trouble(checkout: Path) -> None:
    line = f'"{sys.executable}" -c "import sc.cli; sc.cli.overview = lambda: 9**9**5 and str(9) * 10**6; '
    line += "raise SystemExit(sc.cli.main(['--help']))\" | head -c 1"
    ran = subprocess.run(["/bin/sh", "-c", line], cwd=checkout, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("9", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("word", ["batch", "rerun"])
def test_a_reader_that_leaves_makes_no_success_of_runs_that_failed(
    word: str, unbuffered: str, checkout: Path, tmp_path: Path
) -> None:
    batch = {"remote_output_path": str(tmp_path / "out"), "runs": [{"cmd": "exit 3"}]}
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    command = [sys.executable, "-m", "sc", word, str(tmp_path / "batch.json")]
    command += ["--json"] if word == "batch" else ["0", "--json"]
    read, write = os.pipe()
    os.close(read)
    surroundings = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    try:
        ran = subprocess.run(
            command, cwd=checkout, env=surroundings, stdout=write, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(write)
    assert (ran.returncode, "Traceback" in ran.stderr) == (1, False), ran.stderr
    assert "exit code 3" in ran.stderr
