"""What a run left running is told wherever the run is told of."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.program import Program
from tests.servers import S3Server

RECIPE = "type: job\nspec: {name: left, instance_type: local}\n"
SENTENCE = "1 process was still running when the command exited and was ended: sleep"
COUNTS = {"runs_with_ended_processes": 1, "runs_with_unstored_files": 0}


class There(NamedTuple):
    """Where outputs go, and a program that is led there."""

    place: str
    program: Program


@pytest.fixture(params=["folder", "s3"])
def there(request: pytest.FixtureRequest, tmp_path: Path, program: Program) -> There:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    if request.param == "folder":
        return There(str(tmp_path / "out"), program)
    server: S3Server = request.getfixturevalue("seaweed")
    return There(f"s3://{server.bucket()}/out", replace(program, environment=server.environment()))


def write_batch(folder: Path, place: str) -> None:
    runs = [{"cmd": "echo one"}, {"cmd": "sleep 600 & echo two"}]
    document = {"remote_output_path": place, "nprocs": 2, "runs": runs}
    (folder / "batch.json").write_text(json.dumps(document))


def test_ended_processes_are_told_everywhere(tmp_path: Path, there: There) -> None:
    place, program = there
    write_batch(tmp_path, place)
    done = program.run("batch", "batch.json", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).items() >= {**COUNTS, "completed": 2}.items()
    assert f"1 of 2 runs left processes running, which were ended: {place}/1" in done.stderr
    assert f"{place}/1: {SENTENCE}" in done.stderr
    assert_told_afterwards(tmp_path, program, place)


def test_ended_processes_of_a_job_are_told_everywhere(tmp_path: Path, there: There) -> None:
    place, program = there
    write_batch(tmp_path, place)
    words = ("recipe.yaml", "batch.json", "commands", "--start", "--wait", "--json")
    done = program.run("split", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]).items() >= COUNTS.items()
    assert "1 of 2 runs left processes running, which were ended" in done.stderr
    seen = program.run("watch", "commands", "--json", cwd=tmp_path)
    assert json.loads(seen.stdout.splitlines()[-1]).items() >= COUNTS.items()
    assert_told_afterwards(tmp_path, program, place)


def assert_told_afterwards(folder: Path, program: Program, place: str) -> None:
    summary = json.loads(program.run("summarize-batch", "batch.json", "--json", cwd=folder).stdout)
    assert summary["counts"].items() >= {**COUNTS, "completed": 2, "not_stored": 0}.items()
    assert [run.get("reason", "") for run in summary["runs"]] == ["", SENTENCE]
    table = program.run("summarize-batch", "batch.json", cwd=folder)
    assert f"{place}/1: {SENTENCE}" in table.stderr
    logs = program.run("logs", "batch.json", "1", cwd=folder)
    assert (logs.stdout, SENTENCE in logs.stderr) == ("two\n", True)
    assert (
        json.loads(program.run("logs", f"{place}/1", "--json", cwd=folder).stdout)["reason"]
        == SENTENCE
    )
    assert program.run("logs", f"{place}/0", cwd=folder).stderr == ""
    program.run("report", "batch.json", "-o", "page.html", cwd=folder)
    assert SENTENCE in (folder / "page.html").read_text()


def test_run_that_cannot_be_stored_is_not_stored_everywhere(
    tmp_path: Path, program: Program, seaweed: S3Server
) -> None:
    """By one classification: in the batch, in a job, and in all that looks at them afterwards."""
    place = f"s3://{seaweed.bucket()}/out"
    program = replace(program, environment=seaweed.environment())
    deep = "d=$SATURN_RUN_LOCAL_RESULTS_DIR; n=$(printf 'n%.0s' $(seq 200)); for i in 1 2 3 4 5 6; do d=$d/$n; done; "
    runs = [{"cmd": "echo one"}, {"cmd": deep + "mkdir -p $d; echo kept > $d/f"}, {"cmd": "exit 4"}]
    document = {"remote_output_path": place, "nprocs": 3, "runs": runs}
    (tmp_path / "batch.json").write_text(json.dumps(document))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    counts = {"completed": 1, "failed": 1, "not_stored": 1}
    done = program.run("batch", "batch.json", "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout).items() >= counts.items()
    kept = re.search(r"the files of 1 run could not be stored .* kept in (\S+);", done.stderr)
    assert kept is not None
    assert [path.read_text() for path in Path(kept[1]).rglob("f")] == ["kept\n"]
    shutil.rmtree(kept[1])
    assert_not_stored_afterwards(tmp_path, program, counts)
    words = ("recipe.yaml", "batch.json", "commands", "--start", "--wait", "--json")
    job = program.run("split", *words, cwd=tmp_path)
    assert job.returncode == 3, job.stderr
    assert json.loads(job.stdout.splitlines()[-1]).items() >= counts.items()
    assert "1 completed, 1 failed, 1 not stored" in job.stderr
    watched = program.run("watch", "commands", "--json", cwd=tmp_path)
    assert (watched.returncode, json.loads(watched.stdout)["not_stored"]) == (3, 1)
    assert_not_stored_afterwards(tmp_path, program, counts)


def assert_not_stored_afterwards(folder: Path, program: Program, counts: dict[str, int]) -> None:
    words = ("summarize-batch", "batch.json", "--json", "--status", "not-stored")
    summary = json.loads(program.run(*words, cwd=folder).stdout)
    assert summary["counts"].items() >= {**counts, "incomplete": 0}.items()
    (run,) = summary["runs"]
    assert (run["status"], run["status_code"]) == ("not stored", None)
    assert "1024 bytes" in run["reason"]
    page = program.run("report", "batch.json", "-o", "page.html", "--json", cwd=folder)
    assert json.loads(page.stdout).items() >= {**counts, "incomplete": 0}.items()
