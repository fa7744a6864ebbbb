"""`kill -9` of `sc batch` at a hundred random moments, and each time started again with what is left."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from tests.processes.conftest import ROOT, TOKEN, all_processes, environment, wait_until

KILLS = 100
RUNS = 200


def test_killed_a_hundred_times(tmp_path: Path) -> None:
    """No run is marked before its outputs are there, none is lost, nothing is left."""
    out, temp = tmp_path / "out", tmp_path / "temp"
    temp.mkdir()
    chance = random.Random(3)
    kills = rounds = 0
    while kills < KILLS:
        left = [number for number in range(RUNS) if not is_marked(out, number)]
        if not left:
            assert_all_right(out)
            subprocess.run(["rm", "-rf", str(out)], check=True)
            rounds += 1
            continue
        kills += was_killed(tmp_path, left, chance.uniform(0.1, 0.9))
        for number in range(RUNS):
            assert not is_marked(out, number) or is_right(out, number), number
    # The first run is done again if nothing is left: what the last one killed has left is removed by the next.
    left = [number for number in range(RUNS) if not is_marked(out, number)]
    assert not was_killed(tmp_path, left or [0], None)
    assert_all_right(out)
    # By a file of its own, which is none of ours, Python tries whether the temp folder can be written to.
    assert [name for name in os.listdir(temp) if name.startswith("sc-")] == []


def was_killed(folder: Path, left: list[int], after_seconds: object) -> bool:
    """Start `sc batch` with these runs and kill it after so many seconds; False if it ended before."""
    batch = folder / "batch.json"
    batch.write_text(
        json.dumps(
            {
                "nprocs": 4,
                "remote_output_path": str(folder / "out"),
                "runs": [
                    {"cmd": command(number), "remote_output_path": str(number)} for number in left
                ],
            }
        )
    )
    token = os.urandom(8).hex()
    process = subprocess.Popen(
        [sys.executable, "-m", "sc", "batch", str(batch)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder / "temp"), TOKEN: token},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.wait(after_seconds if isinstance(after_seconds, float) else 60) == 0
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        wait_until(lambda: not processes(token), "no process is left")
        return True


def command(number: int) -> str:
    """Prints before and after a moment, has a child and a result: each can be cut off."""
    return (
        f"echo begin {number}; sleep 0.00{number % 9} & "
        f"echo {number} > $SATURN_RUN_LOCAL_RESULTS_DIR/{number % 3 or 'x'}; wait; echo end {number}; echo {number} >&2"
    )


def processes(token: str) -> list[int]:
    return [pid for pid in all_processes() if token.encode() in environment(pid)]


def is_marked(out: Path, number: int) -> bool:
    return (out / str(number) / "status_code").exists()


def is_right(out: Path, number: int) -> bool:
    path = out / str(number)
    return (
        (path / "status_code").read_text() == "0"
        and (path / "stdout").read_text() == f"begin {number}\nend {number}\n"
        and (path / "stderr").read_text() == f"{number}\n"
        and (path / "results" / str(number % 3 or "x")).read_text() == f"{number}\n"
    )


def assert_all_right(out: Path) -> None:
    assert all(is_right(out, number) for number in range(RUNS))
