"""What one run gets and leaves: DESIGN.md 3, with real processes, in place and far away."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes.conftest import Execution, wait_until


def test_outputs_codes_and_causes(execution: Execution) -> None:
    ended = execution.run(
        {"cmd": "echo out; echo err >&2"},
        {"cmd": "exit 3"},
        {"cmd": "kill -9 $$"},
        {"cmd": "nosuchcommand"},
        {"cmd": ["/no/such/program"]},
        {"cmd": ["/etc/passwd"]},
        {"cmd": ["printf", "%s|", "a b", "$HOME", "'"]},
        {"cmd": "sleep 600", "timeout": 0.2},
    )
    assert [(one.code, one.cause) for one in ended] == [
        (0, "exit"),
        (3, "exit"),
        (137, "signal"),
        (127, "exit"),  # the shell has run, and says so
        (127, "not-started"),
        (126, "not-started"),
        (0, "exit"),
        (124, "timeout"),
    ]
    assert [execution.read(f"{i}/status_code") for i in range(8)] == [
        str(one.code) for one in ended
    ]
    assert execution.read("0/stdout") == "out\n"
    assert execution.read("0/stderr") == "err\n"
    assert "nosuchcommand" in execution.read("3/stderr")
    assert "/no/such/program: No such file" in execution.read("4/stderr")
    assert execution.read("6/stdout") == "a b|$HOME|'|"
    assert execution.read("1/stdout") == execution.read("1/stderr") == ""
    assert all(one.machine == "m" and one.ended >= one.started > 1e9 for one in ended)


def test_environment(execution: Execution) -> None:
    work = execution.folder / "work"
    work.mkdir()
    command = (
        'pwd; echo $A,$B; echo "$SATURN_RUN_REMOTE_OUTPUT_PATH"; echo $SATURN_RUN_LOCAL_RANK; '
        'echo $SATURN_RUN_ATTEMPT; ls -A "$SATURN_RUN_LOCAL_RESULTS_DIR" | wc -l; '
        "echo ${CUDA_VISIBLE_DEVICES-unset}"
    )
    execution.run(
        {"cmd": command, "env": {"A": "run"}, "working_directory": str(work)},
        nprocs=1,
        environment={"A": "plan", "B": "plan"},
    )
    told = execution.read("0/stdout").splitlines()
    assert told == [str(work), "run,plan", execution.place("0"), "0", "1", "0", "unset"]


@pytest.mark.parametrize(
    ("env", "plan", "told"),
    [({}, {}, "1"), ({"PYTHONUNBUFFERED": ""}, {}, ""), ({}, {"PYTHONUNBUFFERED": "0"}, "0")],
)
def test_output_of_python_is_unbuffered_unless_something_says_otherwise(
    execution: Execution, env: dict[str, str], plan: dict[str, str], told: str
) -> None:
    execution.run({"cmd": "echo $PYTHONUNBUFFERED", "env": env}, environment=plan)
    assert execution.read("0/stdout") == told + "\n"


def test_what_a_python_run_printed_before_its_timeout_is_kept(execution: Execution) -> None:
    script = "import time; print('begun'); time.sleep(1000)"
    (ended,) = execution.run({"cmd": [sys.executable, "-c", script], "timeout": 3})
    assert ended.cause == "timeout"
    assert execution.read("0/stdout") == "begun\n"


def test_a_missing_working_directory_is_told(execution: Execution) -> None:
    (ended,) = execution.run({"cmd": "true", "working_directory": "/no/such/folder"})
    assert (ended.code, ended.cause) == (127, "not-started")
    assert "/no/such/folder" in ended.reason


def test_results_of_all_kinds(execution: Execution) -> None:
    secret = execution.folder / "secret"
    secret.write_text("not yours")
    name = 'it\'s "a" na me\n\\%41+ü'
    script = (
        "import os; os.chdir(os.environ['SATURN_RUN_LOCAL_RESULTS_DIR']); "
        "os.makedirs('a/b'); open('a/b/deep', 'w').write('deep'); open('empty', 'w'); "
        f"open({name!r}, 'w').write('odd'); "
        "open(b'bytes-\\xff', 'w').write('raw'); os.symlink('a/b/deep', 'inside'); "
        f"os.symlink({str(secret)!r}, 'outside'); os.symlink('/etc', 'folder'); os.mkfifo('pipe'); "
        "open('locked', 'w').write('locked'); os.chmod('locked', 0); os.chmod('a', 0)"
    )
    (ended,) = execution.run({"cmd": [sys.executable, "-c", script]})
    assert (ended.code, ended.cause) == (0, "exit")
    results = execution.out / "0" / "results"
    assert (results / "a/b/deep").read_text() == (results / "inside").read_text() == "deep"
    assert (results / "empty").read_text() == ""
    assert (results / name).read_text() == "odd"
    assert (results / "locked").read_text() == "locked"
    names = {path.name.encode("utf-8", "surrogateescape") for path in results.iterdir()}
    assert b"bytes-\xff" in names
    assert not names & {b"outside", b"folder", b"pipe"}
    assert "outside" in ended.reason


def test_an_own_results_folder_is_emptied_and_stays(execution: Execution) -> None:
    mine = execution.folder / "mine"
    run = {"cmd": "echo 1 > $SATURN_RUN_LOCAL_RESULTS_DIR/x", "local_results_dir": str(mine)}
    execution.run(run, {**run, "cmd": "ls $SATURN_RUN_LOCAL_RESULTS_DIR"}, nprocs=1)
    assert execution.read("0/results/x") == "1\n"
    assert list(mine.iterdir()) == []


def test_an_own_results_folder_with_something_in_it_is_left_alone(execution: Execution) -> None:
    mine = execution.folder / "mine"
    mine.mkdir()
    (mine / "precious").write_text("data")
    (ended,) = execution.run({"cmd": "true", "local_results_dir": str(mine)})
    assert ended.code is None
    assert "is not empty" in ended.reason
    assert (mine / "precious").read_text() == "data"


def test_ranks_are_the_lowest_free_and_never_shared(execution: Execution) -> None:
    folder = execution.folder / "ranks"
    folder.mkdir()
    take = f"mkdir {folder}/$SATURN_RUN_LOCAL_RANK || exit 9; sleep 0.02; rmdir {folder}/$SATURN_RUN_LOCAL_RANK"
    ended = execution.run(*[{"cmd": take}] * 60, nprocs=4)
    assert {one.code for one in ended} == {0}
    assert {one.rank for one in ended} == {0, 1, 2, 3}


def test_retries_keep_what_was_printed(execution: Execution) -> None:
    flaky = (
        "echo try $SATURN_RUN_ATTEMPT; echo $SATURN_RUN_ATTEMPT > $SATURN_RUN_LOCAL_RESULTS_DIR/n; "
        "test $SATURN_RUN_ATTEMPT = 3"
    )
    ended = execution.run(
        {"cmd": flaky, "retries": 5},
        {"cmd": ["nosuch"], "retries": 3},
        {"cmd": "exit 1", "retries": 1},
    )
    assert [(one.code, one.attempt) for one in ended] == [(0, 3), (127, 1), (1, 2)]
    assert execution.read("0/stdout") == "try 3\n"
    assert execution.read("0/attempts/1/stdout") == "try 1\n"
    assert execution.read("0/attempts/2/stdout") == "try 2\n"
    assert execution.read("0/results/n") == "3\n"
    assert not (execution.out / "1" / "attempts").exists()


def test_a_run_that_is_not_started_has_nothing_of_the_execution_before(near: Execution) -> None:
    results = "echo x > $SATURN_RUN_LOCAL_RESULTS_DIR/old; test $SATURN_RUN_ATTEMPT = 2"
    near.run({"cmd": results, "retries": 1})
    assert near.read("0/results/old")
    assert near.read("0/attempts/1/stdout") == ""
    (near.folder / "outcomes.jsonl").unlink()
    (ended,) = near.run({"cmd": results, "gpus": 8})
    assert (ended.code, ended.cause) == (126, "not-started")
    assert sorted(os.listdir(near.out / "0")) == ["status_code", "stderr", "stdout"]


def test_a_second_execution_replaces_the_first(near: Execution) -> None:
    near.run({"cmd": "echo old; echo x > $SATURN_RUN_LOCAL_RESULTS_DIR/old; exit 4"})
    assert near.read("0/results/old")
    (near.folder / "outcomes.jsonl").unlink()
    near.start({"cmd": "echo new; sleep 600"})
    stdout = near.out / "0" / "stdout"

    def runs_again() -> bool:
        with suppress(FileNotFoundError):  # the old one may go at any moment
            return stdout.read_text() == "new\n"
        return False

    wait_until(runs_again, "it runs again")
    assert not (near.out / "0" / "status_code").exists()
    assert not (near.out / "0" / "results").exists()
    assert near.process is not None
    near.process.terminate()
    near.finish()


def test_gpus(execution: Execution) -> None:
    see = "echo $CUDA_VISIBLE_DEVICES; sleep 0.05"
    ended = execution.run(
        *[{"cmd": see, "gpus": 1}] * 6,
        *[{"cmd": see, "gpus": 2}] * 2,
        {"cmd": see, "gpus": 3},
        nprocs=4,
        gpus=["4", "GPU-abc"],
    )
    seen = [execution.read(f"{i}/stdout").strip() for i in range(8)]
    assert set(seen[:6]) == {"4", "GPU-abc"}
    assert seen[6:] == ["4,GPU-abc"] * 2
    assert (ended[8].code, ended[8].cause) == (126, "not-started")
    assert "3 GPUs" in ended[8].reason
    assert execution.read("8/status_code") == "126"


def test_output_grows_far_away_while_the_run_goes_on(far: Execution) -> None:
    far.start({"cmd": "echo first; sleep 600"})
    wait_until((far.out / "0/stdout").exists, "the output is stored in between")
    assert far.read("0/stdout") == "first\n"
    assert not (far.out / "0/status_code").exists()
    assert far.process is not None
    far.process.terminate()
    far.finish()


@pytest.mark.parametrize("size", [100_000, 300_000])
def test_a_long_command(execution: Execution, size: int) -> None:
    (ended,) = execution.run({"cmd": "echo " + "x" * size})
    assert ended.code == 0
    assert len(execution.read("0/stdout")) == size + 1


def test_status_code_is_stored_last(far: Execution) -> None:
    far.run(
        {
            "cmd": "echo x > $SATURN_RUN_LOCAL_RESULTS_DIR/x; test $SATURN_RUN_ATTEMPT = 2",
            "retries": 1,
        }
    )
    order = [Path(one).name for one in (far.out / ".puts").read_text().split("\0")[:-1]]
    assert order[-1] == "status_code"
    assert order.count("status_code") == 1
    assert sorted(order) == ["status_code", "stderr", "stderr", "stdout", "stdout", "x"]
