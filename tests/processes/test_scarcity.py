"""Room, processes and time run short in the middle of an execution: each run's output is that of one attempt, whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sc.executor.crew import dismiss, fork_saver
from sc.executor.fullness import Fullness
from sc.executor.messages import ALL, Channel, Left, Save, Saved
from tests.e2e.faults import Ballast, small_disk
from tests.fakes.far_folder import FarFolder
from tests.processes.conftest import LIMIT_SECONDS, Execution, send, wait_until
from tests.processes.jobs import JobUnderTest, title


def gate(name: Path) -> str:
    """Words of a shell that wait for a file."""
    return f"until test -e {name}; do sleep 0.02; done"


@pytest.fixture
def full(near: Execution) -> Iterator[Ballast]:
    """What can fill the disk on which the outputs lie."""
    with small_disk(near.out, "size=400k") as disk:
        yield Ballast(disk, "bytes")
        assert near.process is None or near.process.wait(LIMIT_SECONDS) == 0


def trouble(execution: Execution) -> str:
    return str(execution.gauge().get("trouble", ""))


def naps(pid: int) -> int:
    """How often a process has waited for something: a keeper does so in one place, and looks at the disk after it."""
    told = Path(f"/proc/{pid}/status").read_text().split()
    return int(told[told.index("voluntary_ctxt_switches:") + 1])


def test_room_that_never_comes_back_ends_it_with_the_reason(near: Execution, full: Ballast) -> None:
    full.take()
    near.run({"cmd": "echo never"}, {"cmd": "echo never"}, blocked_patience_seconds=0.5)
    assert near.outcomes() == []
    ending = near.ending()
    assert "no space is left" in ending["reason"] or "No space left" in ending["reason"]
    assert (ending["kept_runs"], ending["was_interrupted"]) == (0, False)
    assert not list(near.out.glob("*/status_code"))


def test_outputs_that_stay_read_only_end_it_with_the_reason(near: Execution) -> None:
    with small_disk(near.out, "size=400k,ro"):
        assert near.run({"cmd": "echo never"}, blocked_patience_seconds=0.5) == []
    ending = near.ending()
    assert "Read-only file system" in ending["reason"]
    assert (ending["kept_runs"], ending["was_interrupted"]) == (0, False)


def test_who_wants_its_results_on_a_read_only_disk_holds_up_no_other(near: Execution) -> None:
    with small_disk(near.folder / "disk", "size=400k,ro") as disk:
        wrong = {"cmd": "true", "local_results_dir": str(disk / "mine")}
        told = near.run(wrong, {"cmd": "true"}, nprocs=1)
    assert [(one.code, one.cause) for one in told] == [(None, "upload"), (0, "exit")]
    assert told[0].reason == f"{disk}/mine: Read-only file system"


def test_a_second_attempt_that_met_a_full_disk_is_not_printed_twice(
    near: Execution, full: Ballast
) -> None:
    second, go = near.folder / "second", near.folder / "go"
    script = f'echo try; test "$SATURN_RUN_ATTEMPT" = 2 || exit 1; touch {second}; {gate(go)}; seq 50000; exit 0'
    near.start({"cmd": script, "retries": 1}, nprocs=1)
    wait_until(second.exists, "the second attempt goes on")
    full.take()
    go.touch()
    wait_until(lambda: "no space is left" in trouble(near), "it is told")
    full.give_back()
    ended = near.finish()
    assert [(one.code, one.attempt) for one in ended] == [(0, 2)]
    assert near.read("0/stdout").splitlines() == ["try", *map(str, range(1, 50001))]
    assert near.read("0/attempts/1/stdout") == "try\n"


def test_a_second_attempt_whose_keeper_was_killed_is_not_printed_twice(near: Execution) -> None:
    once = near.folder / "once"
    script = (
        f"echo try; test $SATURN_RUN_ATTEMPT = 2 || exit 1; mkdir {once} && kill -9 $PPID; echo end"
    )
    (ended,) = near.run({"cmd": script, "retries": 1}, nprocs=1)
    assert (ended.code, ended.attempt) == (0, 2)
    assert near.read("0/stdout") == "try\nend\n"


def wait_for_look(execution: Execution) -> None:
    """Until the keeper of the first run has looked at the disk. It sleeps in `poll` alone, and looks after each."""
    (keeper,) = (pid for pid in execution.processes() if title(pid) == "sc keeper 0")
    before = naps(keeper)
    wait_until(lambda: naps(keeper) >= before + 2, "its keeper has looked at the disk")


def test_output_that_found_no_room_for_a_while_is_printed_again(
    near: Execution, full: Ballast
) -> None:
    """The run does not care, its code is 0, and there is room again when it ends."""
    begun, write, wrote, end = (near.folder / name for name in ("begun", "write", "wrote", "end"))
    script = f"touch {begun}; {gate(write)}; seq 3000; touch {wrote}; {gate(end)}; echo end; exit 0"
    near.start({"cmd": script})
    wait_until(begun.exists, "it goes on")
    full.take()
    write.touch()
    wait_until(wrote.exists, "its output is lost")
    wait_for_look(near)
    full.give_back()
    end.touch()
    assert [one.code for one in near.finish()] == [0]
    assert near.read("0/stdout") == "".join(f"{n}\n" for n in range(1, 3001)) + "end\n"


def test_a_run_that_was_taken_away_does_not_wait_for_room(near: Execution, full: Ballast) -> None:
    """It would begin again when there is some, and write over what another worker has put there meanwhile."""
    begun, go = near.folder / "begun", near.folder / "go"
    taken = {"cmd": f"echo begun >>{begun}; sleep 600", "origin": 1}
    near.start(taken, {"cmd": gate(go), "remote_output_path": str(near.folder / "other")})
    wait_until(begun.exists, "it goes on")
    full.take()
    wait_for_look(near)
    (near.folder / "revoke").touch()
    wait_until(lambda: len(near.gauge()["running"]) == 1, "it is ended")
    full.give_back()
    go.touch()
    assert [one.remote_output_path for one in near.finish()] == [str(near.folder / "other")]
    assert begun.read_text() == "begun\n"


@pytest.mark.parametrize("step", ["store", "send", "receive"])
def test_a_saver_without_memory_ends_so_that_another_does_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """But what it could not store it says, as long as it can."""

    def fail(*given: object) -> None:
        raise MemoryError

    if step != "store":
        monkeypatch.setattr(Channel, step, fail)
    monkeypatch.setattr(FarFolder, "put", fail)
    left = tmp_path / "left"
    left.mkdir()
    saver = fork_saver(1, str(tmp_path), lambda: FarFolder(str(tmp_path)), Fullness())
    monkeypatch.undo()
    with suppress(BrokenPipeError):  # where it cannot receive it is gone already
        saver.channel.send(Save(7, ALL, "far:/0", Left(str(left), None), 0))
    if step == "store":
        assert saver.channel.receive() == Saved(7, error="there is not enough memory")
        dismiss([saver])
    else:
        with pytest.raises((EOFError, ConnectionResetError)):
            saver.channel.receive()
        assert os.waitpid(saver.pid, 0) == (saver.pid, 1 << 8)


def test_savers_that_are_killed_again_and_again_are_not_made_without_a_pause(
    far: Execution,
) -> None:
    """As by the kernel, for want of memory."""
    far.start(*[{"cmd": "echo kept"}] * 6, nprocs=2)
    killed: set[int] = set()
    while len(killed) < 3:
        savers = {pid for pid in far.processes() if (title(pid) or "").startswith("sc saver")}
        send(savers - killed, signal.SIGKILL)
        killed |= savers
        assert far.process is not None
        if far.process.poll() is not None:
            break
    assert [one.code for one in far.finish()] == [0] * 6
    assert [far.read(f"{i}/stdout") for i in range(6)] == ["kept\n"] * 6


# A worker that was stopped for longer than its lease


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobUnderTest]:
    one = JobUnderTest(str(tmp_path / "out"), tmp_path)
    try:
        yield one
    finally:
        one.end_all()


@pytest.mark.parametrize("stopped", ["its clerk", "all but its runs", "all of it"])
def test_who_was_stopped_for_longer_than_the_lease_lets_the_other_do_it(
    job: JobUnderTest, tmp_path: Path, stopped: str
) -> None:
    """The first worker's runs print a whole page when they may go on, which is after the second has begun them."""
    go = tmp_path / "go"
    script = f"echo $$; touch {tmp_path}/begun; test -e {tmp_path}/second || {{ {gate(go)}; }}; seq 2000; echo $$"
    job.stage([script] * 2, part=1, lease_seconds=3.0, nprocs=1)
    job.work("--fleet", "local")
    job.wait((tmp_path / "begun").exists, "a run goes on")
    titles = {
        "its clerk": ["sc clerk"],
        "all but its runs": ["python3", "python", "sc clerk", "sc keeper 0"],
    }
    pids = job.processes(*titles.get(stopped, []))
    assert pids
    send(pids, signal.SIGSTOP)
    (tmp_path / "second").touch()
    job.work("--fleet", "local")
    job.wait(lambda: job.is_done(2), "the second worker has done all")
    go.touch()
    send(pids, signal.SIGCONT)
    for worker in job.workers:
        worker.wait(60)
    assert job.codes() == ["0", "0"]
    for number in (0, 1):
        first, *lines, last = job.stdout(number).splitlines()
        assert first == last
        assert lines == [str(line) for line in range(1, 2001)]
    assert job.processes() == []
