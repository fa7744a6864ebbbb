"""What a newcomer types, and what comes back: the real sc.pyz on this machine, over folders and over S3."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.e2e.program import Program
from tests.servers import S3Server

LIMIT_SECONDS = 60
RECIPE = "type: job\nspec:\n  name: trial\n  instance_type: local\n  scale: 2\n"


def write_batch(folder: Path, commands: Sequence[object], place: str = "out", **more: Any) -> Path:
    """A batch whose runs go to `<place>/0`, `<place>/1` …; and a recipe beside it."""
    runs = [{"cmd": command} for command in commands]
    path = folder / "batch.json"
    path.write_text(json.dumps({"remote_output_path": place, "runs": runs, **more}))
    (folder / "recipe.yaml").write_text(RECIPE)
    return path


def wait_until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.02)


def codes(folder: Path, count: int) -> list[Optional[str]]:
    """What is in each run's status_code."""
    files = [folder / f"out/{number}/status_code" for number in range(count)]
    return [file.read_text() if file.exists() else None for file in files]


def workers_of(folder: Path) -> list[str]:
    """The live processes that work on a job below this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"work" in words and any(os.fsencode(folder) in word for word in words):
            found.append(path.parent.name)
    return found


def test_a_batch_leaves_what_each_run_printed_and_made(program: Program, tmp_path: Path) -> None:
    commands = [
        'echo out; echo err >&2; echo made > "$SATURN_RUN_LOCAL_RESULTS_DIR/file"',
        ["printf", "%s", "no $shell"],
    ]
    write_batch(tmp_path, commands)
    ran = program.run("batch", "batch.json", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["runs"], told["completed"], told["failed"], told["exit_code"]) == (2, 2, 0, 0)
    out = tmp_path / "out"
    assert {path.name for path in (out / "0").iterdir()} == {
        *("stdout", "stderr", "results", "status_code")
    }
    assert (out / "0/stdout").read_text() == "out\n"
    assert (out / "0/stderr").read_text() == "err\n"
    assert (out / "0/results/file").read_text() == "made\n"
    assert (out / "1/stdout").read_text() == "no $shell"
    assert codes(tmp_path, 2) == ["0", "0"]


def test_failures_are_told_with_where_to_look(program: Program, tmp_path: Path) -> None:
    write_batch(tmp_path, ["true", "echo before; echo 'no such day' >&2; exit 3", "kill -9 $$"])
    ran = program.run("batch", "batch.json", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "1 completed, 2 failed" in ran.stderr
    assert f"{tmp_path}/out/1: exit code 3\nsc:     no such day\n" in ran.stderr
    assert f"{tmp_path}/out/2: ended by signal 9" in ran.stderr
    pasted = next(line for line in ran.stderr.splitlines() if "all of them: " in line)
    again = subprocess.run(
        ["/bin/sh", "-c", pasted.partition("all of them: ")[2]],
        cwd=tmp_path,
        env=program.surroundings(),
        capture_output=True,
        text=True,
    )
    assert [line.split()[:2] for line in again.stdout.splitlines()[2:]] == [
        ["failed", "3"],
        ["failed", "137"],
    ]


def test_lines_of_stdin_are_a_batch(program: Program, tmp_path: Path) -> None:
    words = ["batch", "-", "--remote-output-path", "out", "--quiet"]
    ran = program.run(*words, cwd=tmp_path, stdin="exit 0\n# a comment\n\nexit 4\n")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert codes(tmp_path, 2) == ["0", "4"]


def test_a_summary_is_one_line_a_run_whatever_is_in_a_command(
    program: Program, tmp_path: Path
) -> None:
    write_batch(tmp_path, ["echo one\necho two", "printf '\x1b[2J\u202e'", "exit 1", "true"])
    assert program.run("batch", "batch.json", "--max-jobs", "3", cwd=tmp_path).returncode == 1
    ran = program.run("summarize-batch", "batch.json", cwd=tmp_path)
    assert ran.returncode == 0
    place = f"{tmp_path}/out"
    assert [line.split(None, 2) for line in ran.stdout.splitlines()[2:5]] == [
        [
            "failed",
            "1",
            f"{place}/2    exit 1".ljust(len(f"{place}/2    printf '\\x1b[2J\\u202e'")),
        ],
        ["completed", "0", f"{place}/0    echo one\\necho two    "],
        ["completed", "0", f"{place}/1    printf '\\x1b[2J\\u202e'"],
    ]
    assert ran.stdout.splitlines()[5].split() == ["incomplete", f"{place}/3", "true"]
    assert ran.stderr == "sc: 4 runs: 1 failed, 2 completed, 1 incomplete\n"


def test_the_command_that_split_names_can_be_pasted(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "a'; echo foo"
    folder.mkdir()
    write_batch(folder, ["true", "exit 5"])
    cut = program.run("split", "recipe.yaml", "batch.json", "commands", cwd=folder)
    assert cut.returncode == 0, cut.stderr
    (line,) = cut.stdout.splitlines()
    assert shlex.split(line)[-3:] == ["apply", "commands/recipe.yaml", "--start"]
    ran = subprocess.run(
        ["/bin/sh", "-c", f"{line} --wait"],
        cwd=folder,
        env=program.surroundings(),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
    assert "1 completed, 1 failed" in ran.stderr
    assert codes(folder, 2) == ["0", "5"]


def test_two_workers_share_a_job(program: Program, tmp_path: Path) -> None:
    here = f": >{tmp_path}/here-$PPID"  # that is the keeper, of which each worker has one
    both = f"until set -- {tmp_path}/here-* && [ $# = 2 ]; do sleep 0.05; done"
    write_batch(tmp_path, [f"{here}; {both}"] * 12, nprocs=1)
    words = ["split", "recipe.yaml", "batch.json", "commands", "--start", "--wait", "--json"]
    ran = program.run(*words, "--batch-size", "2", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    cut, ended = map(json.loads, ran.stdout.splitlines())
    assert (cut["included"], cut["parts"]) == (12, 6)
    assert (ended["runs"], ended["failed"], ended["parts_done"], ended["exit_code"]) == (
        12,
        0,
        6,
        0,
    )
    assert codes(tmp_path, 12) == ["0"] * 12
    records = tmp_path / "out/.sc/trial/records"
    workers = [path.read_text().splitlines() for path in records.iterdir()]
    assert len(workers) == 2
    assert sum(map(len, workers)) == 12
    assert workers_of(tmp_path) == []


def test_a_start_that_was_refused_can_be_repeated_by_apply(
    program: Program, tmp_path: Path
) -> None:
    write_batch(tmp_path, ["true"] * 40)
    in_the_way = tmp_path / "out/.sc/trial/parts"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where a folder has to be")
    words = ["split", "recipe.yaml", "batch.json", "commands", "--start", "--batch-size", "1"]
    ran = program.run(*words, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert str(in_the_way) in ran.stderr
    in_the_way.unlink()
    ran = program.run("apply", "commands/recipe.yaml", "--start", "--wait", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert codes(tmp_path, 40) == ["0"] * 40


def test_the_longest_runs_start_first_where_they_are_known(
    program: Program, tmp_path: Path
) -> None:
    write_batch(tmp_path, [f"echo {number} >>order" for number in range(3)])
    for known, words in (
        (["0", "1", "2"], []),
        (["1", "0", "2"], []),
        (["0", "1", "2"], ["--keep-order"]),
    ):
        ran = program.run("batch", "batch.json", "--nprocs", "1", *words, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert ("the longest first" in ran.stderr) == (known[0] == "1")
        assert (tmp_path / "order").read_text().split() == known
        (tmp_path / "order").unlink()
        make_them_take(tmp_path / "out/.sc/batch/records", [0.0, 100.0, 0.0])


def make_them_take(records: Path, seconds: list[float]) -> None:
    """Write down that run n took so long, each time that it ran."""
    for path in records.iterdir():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line["ended"] = line["started"] + seconds[int(line["remote_output_path"][-1])]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("base", ["", "store"])
def test_synced_folders_are_there_before_the_first_run(
    program: Program, tmp_path: Path, base: str
) -> None:
    write_batch(tmp_path, ["cat code/data.txt", "test ! -e code/.git"])
    (tmp_path / "recipe.yaml").write_text(f"{RECIPE}  working_directory: elsewhere\n")
    (tmp_path / "code/.git").mkdir(parents=True)
    (tmp_path / "code/.git/config").write_text("[core]")
    (tmp_path / "code/data.txt").write_text("synced")
    words = ["split", "recipe.yaml", "batch.json", "commands", "--sync", "code"]
    words += ["--file-syncs-base-dir-url", str(tmp_path / base)] if base else []
    assert program.run(*words, cwd=tmp_path).returncode == 0
    ran = program.run("apply", "commands/recipe.yaml", "--start", "--wait", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out/0/stdout").read_text() == "synced"
    assert (tmp_path / "elsewhere/code/data.txt").read_text() == "synced"
    kept = tmp_path / base if base else tmp_path / "out/.sc/trial/sync"
    assert len(list(kept.glob("*.tar.gz"))) == 1


def test_ctrl_c_while_waiting_stops_nothing(program: Program, tmp_path: Path) -> None:
    go = tmp_path / "go"
    write_batch(tmp_path, [f"until test -e {go}; do sleep 0.05; done"] * 3)
    waiting = program.start(
        "split", "recipe.yaml", "batch.json", "commands", "--start", "--wait", cwd=tmp_path
    )
    assert waiting.stderr is not None
    assert any(" running" in line for line in waiting.stderr)  # now it waits
    wait_until(lambda: len(list(tmp_path.glob("out/*/stdout"))) >= 1)
    os.killpg(waiting.pid, signal.SIGINT)
    _, told = waiting.communicate(timeout=LIMIT_SECONDS)
    assert waiting.returncode == 130
    again = next(line for line in told.splitlines() if "watch it with: " in line)
    assert f"stop {tmp_path}/out/.sc/trial" in told
    assert len(workers_of(tmp_path)) >= 1
    go.touch()
    ran = subprocess.run(
        ["/bin/sh", "-c", again.partition("watch it with: ")[2]],
        cwd=tmp_path,
        env=program.surroundings(),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert codes(tmp_path, 3) == ["0"] * 3
    wait_until(lambda: not workers_of(tmp_path))


def test_a_running_job_is_not_started_twice(program: Program, tmp_path: Path) -> None:
    go = tmp_path / "go"
    write_batch(tmp_path, [f"until test -e {go}; do sleep 0.05; done"])
    words = ["split", "recipe.yaml", "batch.json", "commands", "--start"]
    assert program.run(*words, cwd=tmp_path).returncode == 0
    wait_until(lambda: workers_of(tmp_path))
    ran = program.run(*words, cwd=tmp_path)
    assert ran.returncode == 2
    assert "has 1 workers on this machine already" in ran.stderr
    go.touch()
    assert program.run("apply", "commands/recipe.yaml", "--wait", cwd=tmp_path).returncode == 0


def test_a_job_of_this_machine_is_listed_and_stopped_by_its_name(
    program: Program, tmp_path: Path
) -> None:
    name = f"trial-{os.getpid()}"
    write_batch(tmp_path, ["echo begun; sleep 986"])
    words = ["split", "recipe.yaml", "batch.json", "commands", "--start", "--name", name]
    assert program.run(*words, cwd=tmp_path).returncode == 0
    printed = tmp_path / "out/0/stdout"
    wait_until(lambda: printed.exists() and printed.read_text() == "begun\n")
    listed = program.run("ps", name, "--json", cwd=tmp_path)
    assert listed.returncode == 0
    assert [machine["job"] for machine in json.loads(listed.stdout)] == [name]
    stopped = program.run("stop", name, cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    assert workers_of(tmp_path) == []
    assert codes(tmp_path, 1) == [None]
    assert (tmp_path / "out/0/stdout").read_text() == "begun\n"
    waited = program.run("apply", "commands/recipe.yaml", "--wait", cwd=tmp_path)
    assert waited.returncode == 3
    assert "The job was stopped." in waited.stderr


def test_an_interrupted_batch_leaves_no_process_and_can_go_on(
    program: Program, tmp_path: Path
) -> None:
    write_batch(tmp_path, ["true", f"echo $$ > {tmp_path}/pid; sleep 987"])
    running = program.start("batch", "batch.json", "--nprocs", "2", cwd=tmp_path)
    pid = tmp_path / "pid"
    wait_until(lambda: pid.exists() and pid.read_text().strip())
    wait_until(lambda: codes(tmp_path, 2)[0] == "0")
    os.killpg(running.pid, signal.SIGINT)
    _, told = running.communicate(timeout=LIMIT_SECONDS)
    assert running.returncode == 130, told
    assert "interrupted in" in told
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    assert codes(tmp_path, 2) == ["0", None]
    words = ["split", "recipe.yaml", "batch.json", "commands", "--skip-completed", "--json"]
    told = program.run(*words, cwd=tmp_path).stdout
    assert (json.loads(told)["included"], json.loads(told)["skipped_completed"]) == (1, 1)


@pytest.mark.parametrize(
    ("words", "included"),
    [
        ([], [0, 1, 2, 3]),
        (["--skip-completed"], [1, 2, 3]),
        (["--skip-failures"], [0, 2, 3]),
        (["--skip-completed", "--skip-failures"], [2, 3]),
        (["--skip-completed", "--max-jobs", "2"], [1, 2]),
        (["--max-jobs", "-1"], [0, 1, 2, 3]),
    ],
)
def test_what_the_skips_leave_out(
    program: Program, tmp_path: Path, words: list[str], included: list[int]
) -> None:
    """Of four runs the first completed, the second failed, the third has changed since, the last never ran."""
    write_batch(tmp_path, ["true", "exit 1", "echo before", "echo last"])
    assert program.run("batch", "batch.json", "--max-jobs", "3", cwd=tmp_path).returncode == 1
    write_batch(tmp_path, ["true", "exit 1", "echo after", "echo last"])
    words = ["commands", "--keep-order", *words]  # on a slow machine a run may have taken long
    ran = program.run("split", "recipe.yaml", "batch.json", *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    parts = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("commands/[0-9]*.json"))]
    paths = [run["remote_output_path"] for part in parts for run in part["runs"]]
    assert [int(path.rpartition("/")[2]) for path in paths] == included
    is_skipping = any(word.startswith("--skip-c") for word in words)
    assert ("1 run ended with another command" in ran.stderr) == is_skipping


def test_a_split_for_ec2_needs_no_cloud(program: Program, tmp_path: Path) -> None:
    write_batch(tmp_path, ["true"] * 30, place="s3://bucket/out")
    words = ["split", "recipe.yaml", "batch.json", "commands", "--instance-type", "r6axlarge"]
    ran = program.run(*words, "--dry-run", cwd=tmp_path)
    assert ran.returncode == 3
    assert "credentials" in ran.stderr
    assert not (tmp_path / "commands").exists()


def test_over_s3_the_same(program: Program, tmp_path: Path, seaweed: S3Server, bucket: str) -> None:
    place = f"s3://{bucket}/out"
    made = 'mkdir -p "$SATURN_RUN_LOCAL_RESULTS_DIR/a/b"; echo x > "$SATURN_RUN_LOCAL_RESULTS_DIR/a/b/c"'
    write_batch(tmp_path, [made, "exit 3", "echo third"], place=place)
    environment = seaweed.environment()
    words = ["split", "recipe.yaml", "batch.json", "commands", "--start", "--wait"]
    ran = program.run(*words, cwd=tmp_path, environment=environment)
    assert ran.returncode == 1, ran.stderr
    found = seaweed.client().list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]
    keys = {entry["Key"] for entry in found}
    assert "out/0/results/a/b/c" in keys
    assert {f"out/{number}/status_code" for number in range(3)} <= keys
    summary = program.run("summarize-batch", "batch.json", cwd=tmp_path, environment=environment)
    rows = [line.split()[:3] for line in summary.stdout.splitlines()[2:]]
    assert rows == [
        ["failed", "3", f"{place}/1"],
        ["completed", "0", f"{place}/0"],
        ["completed", "0", f"{place}/2"],
    ]
    again = program.run("batch", "batch.json", "--quiet", cwd=tmp_path, environment=environment)
    assert again.returncode == 1, again.stderr


def test_a_failed_run_loses_its_old_code_before_it_starts_again(
    program: Program, tmp_path: Path, seaweed: S3Server, bucket: str
) -> None:
    place = f"s3://{bucket}/out"
    write_batch(tmp_path, ["exit 3"], place=place)
    environment = seaweed.environment()
    assert program.run("batch", "batch.json", cwd=tmp_path, environment=environment).returncode == 1
    go = tmp_path / "go"
    write_batch(tmp_path, [f"until test -e {go}; do sleep 0.05; done; touch {go}2"], place=place)
    running = program.start("batch", "batch.json", cwd=tmp_path, environment=environment)
    client = seaweed.client()

    def keys() -> set[str]:
        found = client.list_objects_v2(Bucket=bucket, Prefix="out/0/").get("Contents", [])
        return {entry["Key"] for entry in found}

    wait_until(lambda: "out/0/status_code" not in keys())
    go.touch()
    running.communicate(timeout=LIMIT_SECONDS)
    assert running.returncode == 0
    assert "out/0/status_code" in keys()


def test_on_a_terminal_one_line_is_redrawn_and_removed(program: Program, tmp_path: Path) -> None:
    write_batch(tmp_path, ["sleep 0.8"] * 4)
    ours, theirs = pty.openpty()
    environment = {**program.surroundings({"TERM": "xterm"}), "COLUMNS": "60"}
    running = subprocess.Popen(
        [*program.words, "batch", "batch.json", "--nprocs", "2"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    limit = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < limit:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
    os.close(ours)
    assert running.wait(LIMIT_SECONDS) == 0
    lines = seen.decode().replace("\r\n", "\n").split("\n")
    drawn = [text for line in lines for text in line.split("\r\x1b[K")]
    assert any(text.startswith("sc: 0 of 4 runs, 2 running") for text in drawn)
    assert max(map(len, drawn[1:])) < 60
    assert lines[-2].startswith("\r\x1b[K") or "\r\x1b[K" in lines[-2]
    assert lines[-2].rpartition("\r\x1b[K")[2].startswith("sc: done in ")
