"""Two starts of one job at once; over a folder and over S3."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from sc import paths
from sc.holder import this_process
from sc.start_lease import StartLease
from sc.storage import open_storage
from tests.e2e.program import Program
from tests.e2e.test_executions import Place, end, place, wait_until

__all__ = ["place"]
START = ("split", "recipe.yaml", "job.json")
RUNS = 6


def job(place: Place, command: str) -> str:
    """A job of some runs; its URL."""
    spec = {"name": "twice", "instance_type": "local", "scale": 2}
    (place.folder / "recipe.yaml").write_text(json.dumps({"type": "job", "spec": spec}))
    place.batch("job.json", {str(number): command for number in range(RUNS)}, nprocs=2)
    return paths.job(place.place, "twice")


def test_of_several_starts_at_once_one_is_made_and_each_run_goes_once(place: Place) -> None:
    url = job(place, f"echo ran >>{place.folder}/ran; sleep 0.3")
    starts = [place.start(*START, f"commands{n}", "--start") for n in range(4)]
    ended = [end(start) for start in starts]
    codes = sorted(code for code, _ in ended)
    assert codes[0] == 0, ended
    assert all(code in (2, 3) for code in codes[1:]), ended
    for code, said in ended:
        # 2: the one that was made had got to its end before this one looked.
        assert code != 3 or "another start of the job" in said
        assert code != 2 or "is running on" in said or "already" in said
    assert place.run("watch", url).returncode == 0
    assert (place.folder / "ran").read_text().count("ran") == RUNS
    assert not [name for name, _ in place._all() if name.endswith("/starting")]


def test_start_beside_another_one_says_whose_and_changes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    url = job(place, "echo never")
    names = place.run(*START, "commands")
    assert names.returncode == 0, names.stderr
    storage = open_storage()
    pause = time.sleep
    other = StartLease(storage, url, "00", this_process(time.time()), time.monotonic, pause)
    other.acquire(print)
    before = place._all()
    for words in ((*START, "commands", "--start"), ("apply", "commands/recipe.yaml", "--start")):
        done = place.run(*words)
        assert done.returncode == 3, done.stderr
        assert f"(process {os.getpid()}) since " in done.stderr
        assert "nothing was changed here" in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 3
        assert place._all() == before
    other.release()
    done = place.run(*START, "commands", "--start", "--wait")
    assert done.returncode == 0, done.stderr


def test_start_that_was_killed_does_not_block_the_next(program: Program, tmp_path: Path) -> None:
    place = Place(program, tmp_path, str(tmp_path / "out"), {})
    url = job(place, "true")
    place.batch("job.json", {str(number): "true" for number in range(20_000)})
    first = place.start(*START, "commands", "--start")
    wait_until(lambda: Path(paths.starting(url)).exists())
    os.killpg(first.pid, signal.SIGKILL)
    end(first)
    place.run("stop", url, "--now")  # its workers, if it had got so far
    job(place, "true")
    done = place.run(*START, "commands", "--start", "--wait")
    assert done.returncode == 0, done.stderr
    assert not Path(paths.starting(url)).exists()
