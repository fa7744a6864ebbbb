"""What a run left running is told wherever the run is told of."""

from __future__ import annotations

import json
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
