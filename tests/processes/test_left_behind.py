"""What a command has left running when it exits: what drains its output is waited for, the rest is ended and told."""

from __future__ import annotations

import signal

import pytest

from tests.processes.conftest import Execution, wait_until

R = "$SATURN_RUN_LOCAL_RESULTS_DIR"
DRAINS = {
    "a substitution that copies": "exec > >(tee /dev/null); seq 1 20; echo LAST",
    "a slow filter": "exec > >(while read l; do sleep 0.2; echo $l; done); seq 1 15; echo LAST",
    "of both streams": "exec > >(tee /dev/null) 2> >(tee /dev/null >&2); seq 1 20; echo LAST",
    "a chain": "exec > >(cat | cat | (sleep 3; cat)); seq 1 20; echo LAST",
    "one that begins when all has come": "exec > >(sleep 3; sort -n); seq 1 20; echo 99 LAST",
    "in the background": "{ seq 1 20; echo LAST; } | (sleep 3; cat) & exit 0",
    "a named pipe": f"mkfifo {R}/p; (sleep 3; cat < {R}/p; rm {R}/p) & sleep 0.2; exec > {R}/p; echo LAST",
    "in a session of its own": "exec > >(setsid sh -c 'sleep 3; cat'); seq 1 20; echo LAST",
    "a second copy of its own": "exec 3> >(cat) 4> >(sleep 3; cat); echo LAST >&4",
}


@pytest.mark.parametrize("kind", list(DRAINS))
def test_drain_is_waited_for(near: Execution, kind: str) -> None:
    ended = near.run({"cmd": ["bash", "-c", DRAINS[kind]]})
    assert [(one.code, one.cause, one.reason) for one in ended] == [(0, "exit", "")]
    assert near.read("0/stdout").endswith("LAST\n")


def test_drain_that_fills_results_is_waited_for(execution: Execution) -> None:
    slow = f"exec > >(while read l; do sleep 0.2; echo $l; done > {R}/log); seq 1 15; echo LAST"
    program = (
        "import os, subprocess\n"
        "log = open(os.environ['SATURN_RUN_LOCAL_RESULTS_DIR'] + '/log', 'w')\n"
        "sorter = subprocess.Popen('sleep 3; sort -n', shell=True, stdin=subprocess.PIPE, stdout=log)\n"
        "sorter.stdin.write(b'2 LAST\\n1\\n')\n"
    )
    execution.run({"cmd": ["bash", "-c", slow]}, {"cmd": ["python3", "-c", program]})
    for number in range(2):
        assert execution.read(f"{number}/results/log").endswith("LAST\n")


def test_many_short_drains_lose_nothing(near: Execution) -> None:
    near.run(*[{"cmd": ["bash", "-c", DRAINS["a substitution that copies"]]}] * 40, nprocs=8)
    wanted = "".join(f"{number}\n" for number in range(1, 21)) + "LAST\n"
    assert {near.read(f"{number}/stdout") for number in range(40)} == {wanted}


@pytest.mark.parametrize(
    ("command", "count", "names"),
    [
        ("sleep 600 &", 1, "sleep"),
        (f"for i in 1 2 3; do (sleep 600; echo x > {R}/$i) & done", 3, "sleep"),
        ("setsid sh -c 'sleep 600 <&- >&- 2>&-' & exit 7", 1, "sleep"),
        ("(while :; do echo x; sleep 0.1; done) > /dev/null & sleep 0.3", None, None),
        ("yes > /dev/null &", 1, "yes"),
        ("trap '' TERM; sleep 600 &", 1, "sleep"),
    ],
)
def test_what_does_not_drain_is_ended_and_told(
    execution: Execution, command: str, count: int, names: str
) -> None:
    (ended,) = execution.run({"cmd": command}, grace_seconds=0.5)
    assert (ended.code, ended.cause) == (7 if "exit 7" in command else 0, "exit")
    assert ended.ended_processes == (count or ended.ended_processes) > 0
    assert "still running when the command exited and w" in ended.reason
    assert ended.reason.endswith(f"ended: {names or ''}" if names else ended.reason[-1])
    assert ended.ended - ended.started >= 2.0


def test_short_background_work_may_come_to_its_end(execution: Execution) -> None:
    (ended,) = execution.run({"cmd": f"(sleep 0.3; echo x > {R}/late) & exit 0"})
    assert (ended.reason, execution.read("0/results/late")) == ("", "x\n")


def test_reader_of_what_is_ended_keeps_all_of_it(near: Execution) -> None:
    """The loop is ended after two seconds; what it had printed reaches the filter, which then ends by itself."""
    near.run({"cmd": f"(while :; do echo x; sleep 0.1; done) | (cat; echo END) > {R}/log & exit 0"})
    assert near.read("0/results/log").endswith("x\nEND\n")


def test_drain_past_the_timeout_is_ended_with_124(execution: Execution) -> None:
    command = "exec > >(sleep 600; cat); echo x"
    (ended,) = execution.run({"cmd": ["bash", "-c", command], "timeout": 3}, grace_seconds=0.5)
    assert (ended.code, ended.cause) == (124, "timeout")


def test_stop_while_output_drains_leaves_the_run_unfinished(near: Execution) -> None:
    near.start({"cmd": ["bash", "-c", "echo $$; exec > >(sleep 600; cat); echo x"]})
    stdout = near.out / "0" / "stdout"
    wait_until(lambda: stdout.exists() and stdout.read_text(), "it has begun")
    leader = int(stdout.read_text())
    wait_until(lambda: leader not in near.processes(), "its command has exited")
    assert near.process is not None
    near.process.send_signal(signal.SIGTERM)
    (ended,) = near.finish()
    assert (ended.code, ended.cause) == (None, "interrupted")
    assert not (near.out / "0" / "status_code").exists()


def test_first_line_that_cannot_be_executed_is_named(execution: Execution) -> None:
    scripts = {
        "crlf": b"#!/bin/sh\r\necho x\r\n",
        "gone": b"#!/no/such/python\n",
        "none": b"echo x\n",
    }
    for name, text in scripts.items():
        (execution.folder / name).write_bytes(text)
        (execution.folder / name).chmod(0o755)
    crlf, gone, none = (str(execution.folder / name) for name in scripts)
    ended = execution.run(
        {"cmd": [crlf]},
        {"cmd": "./crlf", "working_directory": str(execution.folder)},
        {"cmd": f"true && {gone} --fast"},
        {"cmd": [gone]},
        {"cmd": [none]},
        {"cmd": ["nosuch"]},
    )
    assert [one.cause for one in ended] == ["not-started", "exit", "exit", *["not-started"] * 3]
    told = [one.reason for one in ended]
    assert all("carriage return" in one for one in told[:2])
    assert all("names /no/such/python, which is not there" in one for one in told[2:4])
    assert "no first line with #!" in told[4]
    assert told[5] == "nosuch: command not found"
    assert "carriage return" in execution.read("0/stderr")
