"""Saturn Cloud's own client reads what sc wrote, and sc reads what that client wrote."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.program import Program

LIMIT_SECONDS = 300
WORDS = {"completed": "completed", "error": "failed", "": "incomplete"}
"""What that client calls a status, and what sc calls it."""


@pytest.fixture(scope="session")
def saturn(checkout: Path) -> Path:
    """That client's `sc`, in an environment of its own, made from requirements/saturn.txt."""
    venv = checkout / ".build" / f"saturn-{sys.version_info[0]}.{sys.version_info[1]}"
    with open(
        f"{venv}.lock", "w"
    ) as lock:  # tests of several processes may want it at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_environment(venv, checkout / "requirements/saturn.txt")
    return venv / "bin/sc"


def make_environment(venv: Path, pins: Path) -> None:
    """With exactly what is pinned, unless it is there already."""
    installed = venv / "installed.txt"
    if installed.exists() and installed.read_bytes() == pins.read_bytes():
        return
    shutil.rmtree(venv, ignore_errors=True)
    install = ["-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(pins)]
    steps: Sequence[Sequence[str]] = (
        [sys.executable, "-m", "venv", str(venv)],
        [str(venv / "bin/python"), *install],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=LIMIT_SECONDS)
        if done.returncode:
            pytest.skip(f"saturn-client cannot be installed: {done.stderr.strip()[-300:]}")
    installed.write_bytes(pins.read_bytes())


def run_saturn(saturn: Path, *words: str, cwd: Path) -> str:
    """Run that client; it wants a server's address and a token, and asks neither for batches."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "SATURN_BASE_URL": "http://127.0.0.1:9",
        "SATURN_TOKEN": "none",
    }
    done = subprocess.run(
        [str(saturn), *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_batch(folder: Path, commands: Sequence[str]) -> Path:
    """A batch whose outputs go to a `file://` place, as that client needs it."""
    place = f"file://{folder}/out/"
    runs = [
        {"cmd": command, "remote_output_path": f"{place}run-{number}"}
        for number, command in enumerate(commands)
    ]
    path = folder / "batch.json"
    path.write_text(json.dumps({"nprocs": 2, "remote_output_path": place, "runs": runs}))
    return path


def rows(table: str, order: int) -> dict[str, tuple[str, str]]:
    """Status and code by output path, from the table of either program. `order`: lines before the header."""
    lines = table.splitlines()[order:]
    starts = [lines[0].index(header) for header in ("status_code", "remote_output_path", "cmd")]
    found = {}
    for line in lines[2:]:
        cells = [line[: starts[0]], line[starts[0] : starts[1]], line[starts[1] : starts[2]]]
        status, code, path = (cell.strip() for cell in cells)
        found[path] = (status, code)
    return found


def test_saturns_summary_tells_the_same_as_ours(
    program: Program, saturn: Path, tmp_path: Path
) -> None:
    batch = write_batch(tmp_path, ["echo good", "exit 3", "kill -9 $$", "exit 0", "echo late"])
    assert program.run("batch", str(batch), "--max-jobs", "4", cwd=tmp_path).returncode == 1

    theirs = rows(run_saturn(saturn, "summarize-batch", str(batch), cwd=tmp_path), 1)
    ours = rows(program.run("summarize-batch", str(batch), cwd=tmp_path).stdout, 0)
    assert {path: (WORDS[status], code) for path, (status, code) in theirs.items()} == ours
    assert sorted(ours.values()) == [
        ("completed", "0"),
        ("completed", "0"),
        ("failed", "137"),
        ("failed", "3"),
        ("incomplete", ""),
    ]


def test_what_saturns_client_completed_is_skipped(
    program: Program, saturn: Path, tmp_path: Path
) -> None:
    batch = write_batch(tmp_path, ["echo $SATURN_RUN_LOCAL_RANK", "exit 3", "echo third"])
    run_saturn(saturn, "batch", str(batch), cwd=tmp_path)
    (tmp_path / "recipe.yaml").write_text(
        "type: job\nspec:\n  name: trial\n  instance_type: local\n  scale: 1\n"
    )
    words = ["split", "recipe.yaml", "batch.json", "commands", "--skip-completed", "--json"]
    ran = program.run(*words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["included"], told["skipped_completed"], told["parts"]) == (1, 2, 1)
    part = json.loads((tmp_path / "commands/0.json").read_text())
    assert [run["cmd"] for run in part["runs"]] == ["exit 3"]


def test_saturns_client_runs_the_parts_that_sc_has_cut(
    program: Program, saturn: Path, tmp_path: Path
) -> None:
    write_batch(tmp_path, ["echo one", "echo two", "exit 5"])
    (tmp_path / "recipe.yaml").write_text(
        "type: job\nspec:\n  name: trial\n  instance_type: local\n  scale: 1\n"
    )
    assert program.run("split", "recipe.yaml", "batch.json", "c", cwd=tmp_path).returncode == 0
    run_saturn(saturn, "batch", str(tmp_path / "c/0.json"), cwd=tmp_path)
    codes = [(tmp_path / f"out/run-{number}/status_code").read_text() for number in range(3)]
    assert codes == ["0", "0", "5"]
