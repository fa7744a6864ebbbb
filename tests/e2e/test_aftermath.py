"""After a batch has run: what was printed, runs again, outputs brought here, a page about it all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import Program
from tests.servers import S3Server

BATCH = """
remote_output_path: out
nprocs: 4
runs:
- cmd: echo hello; echo oops >&2; echo kept > $SATURN_RUN_LOCAL_RESULTS_DIR/deep
  remote_output_path: first
- cmd: echo bad row 17 >&2; exit 3
- cmd: echo bad row 18 >&2; exit 3
- cmd: echo try $SATURN_RUN_ATTEMPT; exit 4
  retries: 1
- cmd: [sh, -c, 'echo "$GREETING $SATURN_RUN_REMOTE_OUTPUT_PATH" >&2; kill -9 $$']
  env: {GREETING: good morning}
"""
RECIPE = """
type: job
spec:
  name: aftermath
  instance_type: local
  environment_variables: {COLOUR: blue}
"""


@pytest.fixture
def folder(tmp_path: Path, program: Program) -> Path:
    """A batch that has run, some of it in vain."""
    (tmp_path / "batch.yaml").write_text(BATCH)
    done = program.run("batch", "batch.yaml", "--quiet", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    return tmp_path


def told(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_a_run_is_named_by_number_path_or_end_of_path(folder: Path, program: Program) -> None:
    for words in (
        ["batch.yaml", "0"],
        ["batch.yaml", "first"],
        ["out/first"],
        [f"{folder}/out/first"],
    ):
        done = program.run("logs", *words, cwd=folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    assert program.run("logs", "batch.yaml", "0", "--stderr", cwd=folder).stdout == "oops\n"
    assert told(program.run("logs", "out/3", "--json", cwd=folder)) == {
        "remote_output_path": f"{folder}/out/3",
        "stream": "stdout",
        "attempt": None,
        "status_code": 4,
        "text": "try 2\n",
    }
    assert program.run("logs", "out/3", "--attempt", "1", cwd=folder).stdout == "try 1\n"
    missing = program.run("logs", "out/3", "--attempt", "3", cwd=folder)
    assert (missing.returncode, "was tried 2 times" in missing.stderr) == (2, True)


def test_a_run_that_goes_on_is_followed_to_its_end(tmp_path: Path, program: Program) -> None:
    go = tmp_path / "go"
    script = f"echo one; while [ ! -e {go} ]; do sleep 0.1; done; echo two; exit 7"
    batch = {"remote_output_path": "out", "runs": [{"cmd": script}]}
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    running = program.start("batch", "batch.json", cwd=tmp_path)
    following = program.start("logs", "batch.json", "0", "-f", cwd=tmp_path)
    assert following.stdout is not None
    assert following.stdout.readline() == "one\n"
    go.touch()
    rest, said = following.communicate(timeout=60)
    running.communicate(timeout=60)
    assert (following.returncode, rest) == (1, "two\n")
    assert "failed with exit code 7" in said


def test_failures_that_are_alike_are_shown_once(folder: Path, program: Program) -> None:
    found = told(program.run("logs", "batch.yaml", "--failed", "--json", cwd=folder))
    assert (found["failed"], found["read"]) == (4, 4)
    kinds = [(group["count"], group["status_code"], group["text"]) for group in found["groups"]]
    assert kinds[0] == (2, 3, "bad row #")
    assert [kind[:2] for kind in kinds] == [(2, 3), (1, 4), (1, 137)]
    assert found["groups"][0]["example"]["lines"] == ["bad row 17"]
    shown = program.run("logs", "batch.yaml", "--failed", cwd=folder)
    assert "2 runs failed with exit code 3: bad row #" in shown.stdout
    assert "4 runs of 5 failed, in 3 ways" in shown.stderr


def test_each_failure_is_reproduced_and_nothing_is_stored(folder: Path, program: Program) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*")}
    done = program.run("rerun", "batch.yaml", "--failed", "--json", cwd=folder)
    assert done.returncode == 1
    runs = told(done)["runs"]
    assert [(run["status_code"], run["before"]) for run in runs] == [
        (3, 3),
        (3, 3),
        (4, 4),
        (137, 137),
    ]
    assert f"good morning {folder}/out/4" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*")} == before


def test_a_saved_rerun_replaces_what_was_stored(folder: Path, program: Program) -> None:
    (folder / "batch.yaml").write_text(BATCH.replace("exit 3", "exit 0", 1))
    done = program.run("rerun", "batch.yaml", "1", "--save", cwd=folder)
    assert (done.returncode, "those of another command (exit code 3)" in done.stderr) == (0, True)
    assert (folder / "out/1/status_code").read_text() == "0"
    again = program.run("rerun", "batch.yaml", "--failed", "--json", cwd=folder)
    assert len(told(again)["runs"]) == 3


def test_a_shell_has_the_environment_and_the_command_of_the_run(
    folder: Path, program: Program
) -> None:
    words = 'echo "$GREETING|$SATURN_RUN_LOCAL_RANK|$SATURN_RUN_REMOTE_OUTPUT_PATH"; eval "$SC_CMD"; echo $?'
    surroundings = {"SHELL": "/bin/sh"}
    done = program.run(
        "rerun", "batch.yaml", "4", "--shell", cwd=folder, stdin=words, environment=surroundings
    )
    assert (done.returncode, done.stdout) == (0, f"good morning|0|{folder}/out/4\n137\n")


def test_what_jobs_give_to_their_runs_is_there_again(tmp_path: Path, program: Program) -> None:
    batch = {"remote_output_path": "out", "runs": [{"cmd": "echo $COLOUR; exit 5"}] * 3}
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = ["split", "recipe.yaml", "batch.json", "commands", "--start", "--wait"]
    done = program.run(*words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    job = "out/.sc/aftermath"
    for meant in ("batch.json", "commands", job):
        done = program.run("rerun", meant, "1", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "blue\n"), done.stderr
        found = told(program.run("logs", meant, "--failed", "--json", cwd=tmp_path))
        assert [group["count"] for group in found["groups"]] == [3]
    worker = os.listdir(tmp_path / job / "workers")[0][: -len(".json")]
    log = told(program.run("logs", "batch.json", "--worker", worker[-6:], "--json", cwd=tmp_path))
    assert log["worker"] == worker
    wrong = program.run("logs", "batch.json", "--worker", "nobody", cwd=tmp_path)
    assert (wrong.returncode, worker in wrong.stderr) == (2, True)


def test_outputs_come_from_s3_and_only_what_changed_comes_again(
    tmp_path: Path, program: Program, seaweed: S3Server, bucket: str
) -> None:
    (tmp_path / "batch.yaml").write_text(BATCH.replace("path: out", f"path: s3://{bucket}/out"))
    here: dict[str, Any] = {"cwd": tmp_path, "environment": seaweed.environment()}
    assert program.run("batch", "batch.yaml", **here).returncode == 1
    first = told(program.run("pull", "batch.yaml", "here", "--json", **here))
    assert (first["runs"], first["objects"], first["fetched"]) == (5, 18, 18)
    assert (tmp_path / "here/first/results/deep").read_text() == "kept\n"
    assert (tmp_path / "here/3/attempts/1/stdout").read_text() == "try 1\n"
    assert program.run("rerun", "batch.yaml", "4", "--save", **here).returncode == 1
    again = told(program.run("pull", "batch.yaml", "here", "--json", **here))
    assert (again["fetched"], again["unchanged"]) == (0, 18)
    seaweed.client().put_object(Bucket=bucket, Key="out/1/status_code", Body=b"0")
    third = program.run("pull", "batch.yaml", "here", "--json", **here)
    assert told(third)["fetched"] == 1
    assert (tmp_path / "here/1/status_code").read_text() == "0"
    only = told(
        program.run("pull", "batch.yaml", "few", "--failed", "--only", "stderr", "--json", **here)
    )
    assert (only["runs"], only["objects"]) == (3, 3)
    assert sorted(os.listdir(tmp_path / "few")) == [".sc-pull", "2", "3", "4"]
    done = program.run("logs", "batch.yaml", "first", **here)
    assert done.stdout == "hello\n"
    again = told(program.run("report", "batch.yaml", "-o", "report.html", "--json", **here))
    assert (again["completed"], again["failed"]) == (2, 3)


def test_wrong_words_are_told_before_anything_is_done(folder: Path, program: Program) -> None:
    for words, sentence in (
        (["logs", "batch.yaml"], "which run of batch.yaml"),
        (["logs", "7"], "of which batch is 7"),
        (["logs", "batch.yaml", "99"], "the indices go from 0 to 4"),
        (["logs", "batch.yaml", "0", "--failed"], "takes a BATCH and no RUN"),
        (["logs", "out/nobody"], "there is no run at"),
        (["rerun", "batch.yaml"], "say which runs"),
        (["rerun", "batch.yaml", "0", "--failed"], "not both"),
        (["rerun", "batch.yaml", "0", "1", "--shell"], "--shell takes one RUN"),
        (["pull", "batch.yaml", "here", "--only", "all"], "is none of results"),
        (["pull", "batch.yaml", "batch.yaml"], "name another DEST"),
        (["report", "batch.yaml", "-o", "nowhere/report.html"], "a folder that is there"),
        (["report", ".", "-o", "report.html"], "none that 'sc split' wrote"),
    ):
        done = program.run(*words, cwd=folder)
        assert (done.returncode, sentence in done.stderr, done.stdout) == (2, True, ""), (
            words,
            done.stderr,
        )
    assert sorted(os.listdir(folder)) == ["batch.yaml", "out"]
