"""Runs that do what runs should not, and deaths at bad moments: right codes, right files, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sc.executor import tree
from tests.processes.conftest import Execution, all_processes, wait_until

STRAY = "sc-test-stray"
SURELY_PRINTED_SECONDS = 5
"""A time-out that a shell's first line has long been printed by, on a busy machine too."""


def python(script: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(script)]


def strays(token: str) -> list[int]:
    """Live processes of runs, whatever they did to their environment."""
    found = []
    for pid in all_processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if token.encode() in words:
            found.append(pid)
    return found


def test_a_run_that_leaves_background_children(execution: Execution) -> None:
    (ended,) = execution.run({"cmd": "sleep 600 & sleep 601 & (sleep 602; echo never) & echo done"})
    assert ended.code == 0
    assert execution.read("0/stdout") == "done\n"


def test_a_run_that_daemonizes_with_a_double_fork_and_a_clean_environment(
    execution: Execution,
) -> None:
    mark = f"{STRAY}-{execution.token}"
    script = f"""
        import os, subprocess, sys
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                subprocess.run([sys.executable, "-c", "import time; time.sleep(600)", "{mark}"], env={{}})
            os._exit(0)
        os.wait()
        print("parent done")
    """
    (ended,) = execution.run({"cmd": python(script)})
    assert ended.code == 0
    assert execution.read("0/stdout") == "parent done\n"
    assert strays(mark) == []


def test_a_daemon_may_live_as_long_as_its_run(execution: Execution) -> None:
    script = """
        import os, time
        r, w = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(0.5)
                os.write(w, b"alive")
            os._exit(0)
        os.wait()
        print(os.read(r, 5).decode())
    """
    execution.run({"cmd": python(script)}, *[{"cmd": "true"}] * 10)
    assert execution.read("0/stdout") == "alive\n"


@pytest.mark.parametrize("way", ["timeout", "leftover"])
def test_what_ignores_sigterm_is_killed(execution: Execution, tmp_path: Path, way: str) -> None:
    ready = tmp_path / "ready"
    deaf = f"trap '' TERM; echo deaf; touch {ready}; while :; do sleep 0.1; done"
    if way == "timeout":
        run = {"cmd": deaf, "timeout": SURELY_PRINTED_SECONDS}
    else:
        run = {"cmd": f"({deaf}) & until test -e {ready}; do sleep 0.02; done"}
    (ended,) = execution.run(run, grace_seconds=0.3)
    assert ended.code == (124 if way == "timeout" else 0)
    assert execution.read("0/stdout") == "deaf\n"


def test_a_time_out_lets_the_run_clean_up(execution: Execution) -> None:
    polite = "trap 'echo bye; exit 0' TERM; echo hi; sleep 600 & wait"
    (ended,) = execution.run({"cmd": polite, "timeout": SURELY_PRINTED_SECONDS}, grace_seconds=15)
    assert (ended.code, ended.cause) == (124, "timeout")
    assert execution.read("0/stdout") == "hi\nbye\n"


def test_a_stopped_run_is_ended_too(execution: Execution) -> None:
    (ended,) = execution.run({"cmd": "kill -STOP $$", "timeout": 0.3})
    assert ended.code == 124


def test_much_output(execution: Execution) -> None:
    (ended,) = execution.run({"cmd": "head -c 500000000 /dev/zero"})
    assert ended.code == 0
    assert (execution.out / "0/stdout").stat().st_size == 500_000_000
    (execution.out / "0/stdout").unlink()


def test_binary_output(execution: Execution) -> None:
    script = "import os; data = bytes(range(256)) * 100; os.write(1, data); os.write(2, data[::-1])"
    execution.run({"cmd": python(script)})
    data = bytes(range(256)) * 100
    assert (execution.out / "0/stdout").read_bytes() == data
    assert (execution.out / "0/stderr").read_bytes() == data[::-1]


def test_a_run_that_closes_its_output_and_deletes_its_results(execution: Execution) -> None:
    ended = execution.run(
        {"cmd": "exec >&- 2>&-; sleep 0.1; exit 5"},
        {"cmd": "rm -rf $SATURN_RUN_LOCAL_RESULTS_DIR; exit 6"},
        {"cmd": "rmdir $SATURN_RUN_LOCAL_RESULTS_DIR; touch $SATURN_RUN_LOCAL_RESULTS_DIR"},
        {"cmd": "rmdir $SATURN_RUN_LOCAL_RESULTS_DIR; ln -s /etc $SATURN_RUN_LOCAL_RESULTS_DIR"},
    )
    assert [one.code for one in ended] == [5, 6, 0, 0]
    assert not (execution.out / "3/results/passwd").exists()
    assert os.path.exists("/etc/passwd")


def test_ten_thousand_small_results(execution: Execution) -> None:
    script = """
        import os
        folder = os.environ["SATURN_RUN_LOCAL_RESULTS_DIR"]
        for i in range(10_000):
            os.makedirs(f"{folder}/{i % 100}", exist_ok=True)
            with open(f"{folder}/{i % 100}/{i}", "w") as file:
                file.write(str(i))
    """
    (ended,) = execution.run({"cmd": python(script)})
    assert ended.code == 0
    found = [path for path in (execution.out / "0/results").rglob("*") if path.is_file()]
    assert len(found) == 10_000
    assert all(path.read_text() == path.name for path in found)


@pytest.mark.parametrize("name", ["a'; echo foo", 'a "b"\n\tc', "%41+&?#", "ünï-✓", "x" * 200])
def test_hostile_output_paths(execution: Execution, name: str) -> None:
    (ended,) = execution.run({"cmd": "echo ok", "remote_output_path": execution.place(name)})
    assert ended.remote_output_path == execution.place(name)
    assert execution.read(f"{name}/stdout") == "ok\n"
    assert execution.read(f"{name}/status_code") == "0"


def test_an_output_path_that_cannot_be_is_told_and_the_others_go_on(near: Execution) -> None:
    ended = near.run({"cmd": "true", "remote_output_path": near.place("x" * 300)}, {"cmd": "true"})
    assert sorted((one.code, one.cause) for one in ended if one.code == 0) == [(0, "exit")]
    assert [one.cause for one in ended if one.code is None] == ["upload"]


# Deaths


def started(execution: Execution, count: int) -> None:
    wait_until(lambda: len(execution.gauge().get("running", ())) == count, "the runs go on")
    wait_until(
        lambda: len([p for p in execution.processes() if b"SATURN_RUN" in env(p)]) >= count,
        "their processes are there",
    )


def env(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_interrupted_once(execution: Execution) -> None:
    ready = execution.folder / "ready"
    script = "trap 'echo saved; exit 0' TERM; echo before; echo >>%s; sleep 600 & wait"
    execution.start(*[{"cmd": script % ready}] * 6)
    started(execution, 2)
    wait_until(lambda: ready.exists() and ready.stat().st_size == 2, "both have printed")
    assert execution.process is not None
    execution.process.send_signal(signal.SIGINT)
    ended = execution.finish()
    assert [(one.code, one.cause) for one in ended] == [(None, "interrupted")] * 2
    assert execution.ending()["was_interrupted"]
    assert execution.read("0/stdout") == "before\nsaved\n"
    assert not list(execution.out.glob("*/status_code"))
    assert not (execution.out / "2").exists()


def test_interrupted_twice(execution: Execution) -> None:
    execution.start({"cmd": "trap '' TERM INT; while :; do sleep 0.1; done"}, grace_seconds=600)
    started(execution, 1)
    assert execution.process is not None
    execution.process.send_signal(signal.SIGTERM)
    execution.process.send_signal(signal.SIGINT)
    execution.finish()
    assert not list(execution.out.glob("*/status_code"))


@pytest.mark.parametrize("victims", ["loop", "all named like it", "its process group"])
def test_sc_killed(execution: Execution, victims: str) -> None:
    """Whoever kills `sc` ends its runs: their daemons and their children, and its temporary files go too."""
    execution.start(*[{"cmd": "(setsid sleep 600 &) ; sleep 601 & sleep 602"}] * 4, nprocs=3)
    started(execution, 3)
    assert execution.process is not None
    if victims == "loop":
        execution.process.kill()
    elif victims == "its process group":
        os.killpg(execution.process.pid, signal.SIGKILL)
    else:
        subprocess.run(["pkill", "-9", "-f", str(execution.folder / "spec.json")], check=True)
    execution.process.wait()
    wait_until(lambda: not execution.processes(), "nothing is left")
    assert not list(execution.out.glob("*/status_code"))


def keepers(execution: Execution) -> list[int]:
    assert execution.process is not None
    return tree.children(execution.process.pid)


def test_a_keeper_killed(execution: Execution) -> None:
    """Its run is done again, and what it had started is gone before."""
    once = f"mkdir {execution.folder}/once 2>/dev/null && {{ setsid sleep 600 & sleep 600; }}; echo again"
    go = execution.folder / "go"
    other = f"until test -e {go}; do sleep 0.02; done"
    execution.start({"cmd": once}, {"cmd": other}, nprocs=2)
    started(execution, 2)
    wait_until((execution.folder / "once").exists, "the run is on its way")
    for pid in keepers(execution):
        if b"keeper 0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    go.touch()
    ended = execution.finish()
    assert [one.code for one in ended] == [0, 0]
    assert execution.read("0/stdout") == "again\n"


def test_a_run_that_kills_its_keeper_for_ever_is_told_as_lost(execution: Execution) -> None:
    ended = execution.run({"cmd": "kill -9 $PPID; sleep 600"}, {"cmd": "true"}, nprocs=1)
    assert [(one.code, one.cause) for one in ended] == [(None, "lost"), (0, "exit")]
    assert not (execution.out / "0/status_code").exists()


def test_a_saver_killed(far: Execution) -> None:
    (far.out / ".down").write_text("not yet")
    far.start(*[{"cmd": "echo kept; echo $$ > $SATURN_RUN_LOCAL_RESULTS_DIR/pid"}] * 5)
    wait_until(lambda: "not yet" in far.gauge().get("trouble", ""), "the trouble is told")
    for pid in keepers(far):
        if b"saver" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    (far.out / ".down").unlink()
    ended = far.finish()
    assert [one.code for one in ended] == [0] * 5
    assert [far.read(f"{i}/stdout") for i in range(5)] == ["kept\n"] * 5
    assert all(far.read(f"{i}/results/pid") for i in range(5))


def test_an_outage_holds_runs_back_and_loses_nothing(far: Execution) -> None:
    (far.out / ".down").write_text("outage")
    far.start(*[{"cmd": "echo $SATURN_RUN_REMOTE_OUTPUT_PATH"}] * 300, nprocs=4)
    wait_until(lambda: far.gauge().get("saving", 0) >= 64, "runs pile up")
    wait_until(lambda: not far.gauge()["running"], "and then are held back")
    assert far.gauge()["saving"] <= 64 + 4
    assert far.outcomes() == []
    (far.out / ".down").unlink()
    ended = far.finish()
    assert [one.code for one in ended] == [0] * 300
    assert all(far.read(f"{i}/stdout") == f"far:/{i}\n" for i in range(300))


def test_a_loop_with_nothing_to_do_but_wait_sleeps(far: Execution) -> None:
    """Nobody is free for what is due: savers hang in an outage, and the next attempt of a run is held back."""
    (far.out / ".down").write_text("outage")
    far.start({"cmd": "exit 1", "retries": 1}, *[{"cmd": "true"}] * 100, nprocs=4)
    wait_until(lambda: far.gauge().get("saving", 0) >= 64, "runs pile up")
    (far.out / ".stalled").touch()
    (far.out / ".down").unlink()
    before = wait_until(far.gauge, "it tells")
    wait_until(lambda: far.gauge().get("ticks", 0) >= before["ticks"] + 30, "time goes by")
    now = wait_until(far.gauge, "it tells")
    assert now["turns"] - before["turns"] <= 50 * (now["ticks"] - before["ticks"])
    (far.out / ".stalled").unlink()
    ended = far.finish()
    assert [one.code for one in ended] == [1, *[0] * 100]


def test_giving_up_keeps_the_files_and_tells_where(far: Execution) -> None:
    (far.out / ".down").write_text("gone for good")
    ended = far.run(
        {"cmd": "echo precious; echo r > $SATURN_RUN_LOCAL_RESULTS_DIR/r"},
        save_patience_seconds=0.5,
    )
    assert [(one.code, one.cause, one.reason) for one in ended] == [
        (None, "upload", "gone for good")
    ]
    ending = far.ending()
    assert (ending["kept_runs"], ending["reason"]) == (1, "gone for good")
    (kept,) = Path(ending["kept_folder"]).iterdir()
    assert (kept / "stdout").read_text() == "precious\n"
    assert (kept / "results/r").read_text() == "r\n"
    assert '"far:/0"' in (kept / "run.json").read_text()
    assert far.files_left() == [Path(ending["kept_folder"]).name]
    subprocess.run(["rm", "-r", ending["kept_folder"]], check=True)


@pytest.mark.parametrize(("are_redone", "cause"), [(False, "upload"), (True, "interrupted")])
def test_what_a_stop_has_left_no_time_to_store_is_kept(
    far: Execution, are_redone: bool, cause: str
) -> None:
    (far.out / ".stalled").touch()
    far.start({"cmd": "echo precious"}, are_runs_redone=are_redone)
    wait_until(lambda: far.gauge().get("saving", 0) == 1, "it has ended")
    assert far.process is not None
    far.process.send_signal(signal.SIGTERM)
    far.process.send_signal(signal.SIGINT)  # the second of any kind ends it at once
    assert [(one.code, one.cause) for one in far.finish()] == [(None, cause)]
    ending = far.ending()
    assert (ending["kept_runs"], ending["reason"]) == (1, "there was no time to store it")
    (kept,) = Path(ending["kept_folder"]).iterdir()
    assert (kept / "stdout").read_text() == "precious\n"
    subprocess.run(["rm", "-r", ending["kept_folder"]], check=True)


def test_a_run_that_is_given_up_attempt_by_attempt_is_counted_once(far: Execution) -> None:
    (far.out / ".down").write_text("gone for good")
    second, go = far.folder / "second", far.folder / "go"
    wait = f"touch {second}; while [ ! -e {go} ]; do sleep 0.05; done"
    script = f"[ $SATURN_RUN_ATTEMPT = 2 ] || exit 1; {wait}"
    far.start({"cmd": script, "retries": 1}, save_patience_seconds=5.0)
    wait_until(second.exists, "the second attempt goes on")
    wait_until(lambda: list(far.temp.glob("sc-kept-*/*/run.json")), "the first one is kept")
    go.touch()
    assert [one.cause for one in far.finish()] == ["upload"]
    ending = far.ending()
    assert ending["kept_runs"] == 1
    assert len(list(Path(ending["kept_folder"]).iterdir())) == 2
    subprocess.run(["rm", "-r", ending["kept_folder"]], check=True)


def test_a_storage_that_is_gone_for_good_ends_it(far: Execution) -> None:
    """Nothing more is started: its outputs could not be stored either. What goes on may end, and is kept here."""
    (far.out / ".stalled").touch()
    (far.out / ".down").write_text("gone for good")
    go = far.folder / "go"
    slow = {"cmd": f"while [ ! -e {go} ]; do sleep 0.05; done; echo slow"}
    far.start(slow, *[{"cmd": "echo quick"}] * 300, save_patience_seconds=2.0)
    wait_until(lambda: far.gauge().get("saving", 0) >= 64, "runs pile up")
    (far.out / ".stalled").unlink()
    wait_until(lambda: len(far.outcomes()) >= 64, "what was to be stored is given up")
    go.touch()
    ended = far.finish()
    assert {(one.code, one.cause) for one in ended} == {(None, "upload")}
    ending = far.ending()
    assert 65 <= len(ended) == ending["kept_runs"] < 150
    said = [path.read_text() for path in Path(ending["kept_folder"]).glob("*/stdout")]
    assert sorted(said) == ["quick\n"] * (len(ended) - 1) + ["slow\n"]
    subprocess.run(["rm", "-r", ending["kept_folder"]], check=True)


def test_a_revoked_origin_is_stopped_and_not_marked(execution: Execution) -> None:
    execution.start(
        {"cmd": "sleep 600", "origin": 1}, {"cmd": "echo mine"}, {"cmd": "echo no", "origin": 1}
    )
    wait_until((execution.out / "1/status_code").exists, "the other part's run is done")
    (execution.folder / "revoke").touch()
    ended = execution.finish()
    assert [(one.code, one.cause) for one in ended][:2] == [(None, "interrupted"), (0, "exit")]
    assert not (execution.out / "0/status_code").exists()


@pytest.mark.parametrize("trouble", [".down", ".stalled"])
def test_what_is_left_of_a_revoked_origin_is_not_stored_over_the_next_holders(
    far: Execution, trouble: str
) -> None:
    """Runs that have ended wait in the queue of a storage that refuses, or with a saver that hangs."""
    (far.out / trouble).touch()
    result = "echo old > $SATURN_RUN_LOCAL_RESULTS_DIR/r"
    far.start(
        {"cmd": f"echo old; {result}", "origin": 1},
        {"cmd": f"echo mine; {result}", "origin": 2},
        {"cmd": "[ $SATURN_RUN_ATTEMPT = 2 ] || exit 1", "retries": 1, "origin": 1},
        {"cmd": f"until test -e {far.folder}/go; do sleep 0.05; done"},
    )
    wait_until(lambda: far.gauge().get("saving", 0) >= 4, "they wait to be stored")
    assert far.gauge()["saving_origins"] == [1, 2]
    (far.folder / "revoke").touch()
    wait_until(lambda: far.gauge()["saving_origins"] == [2], "nothing of it is on its way")
    (far.out / "0").mkdir()
    (far.out / "0/stdout").write_text("the next holder's")
    (far.out / trouble).unlink()
    (far.folder / "go").touch()
    told = [(one.code, one.cause) for one in far.finish()]
    assert told == [(None, "interrupted"), (0, "exit"), (None, "interrupted"), (0, "exit")]
    assert os.listdir(far.out / "0") == ["stdout"]
    assert far.read("0/stdout") == "the next holder's"
    assert far.read("1/stdout") == "mine\n"
    assert far.read("1/results/r") == "old\n"
    assert not (far.out / "2").exists()
    assert far.ending()["kept_runs"] == 0


def test_a_full_disk_waits_for_room(near: Execution) -> None:
    """In place, on a disk of its own: what did not fit is not marked, and is done again when there is room."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(near.out)], check=True)
    try:
        (near.out / "ballast").write_bytes(b"x" * 700_000)
        near.start({"cmd": "head -c 600000 /dev/zero; true"}, {"cmd": "echo small"}, nprocs=1)
        wait_until(lambda: "no space is left" in near.gauge().get("trouble", ""), "it is told")
        assert not (near.out / "0/status_code").exists()
        (near.out / "ballast").unlink()
        ended = near.finish()
        assert [one.code for one in ended] == [0, 0]
        assert (near.out / "0/stdout").stat().st_size == 600_000
        assert near.read("1/stdout") == "small\n"
    finally:
        subprocess.run(["umount", str(near.out)], check=True)


def test_a_dead_execution_is_cleaned_up_by_the_next(near: Execution) -> None:
    dead = near.temp / "sc-run-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "rest").write_text("of a machine that lost its power")
    near.run({"cmd": "true"})
    assert not dead.exists()


@pytest.mark.parametrize(("hard", "least", "most"), [(4096, 100, 100), (48, 4, 40)])
def test_more_slots_than_open_files(near: Execution, hard: int, least: int, most: int) -> None:
    """The loop helps itself up to the hard limit; the runs keep the limit that they were given."""
    run = {"cmd": "ulimit -n; sleep 0.3"}
    near.start(*[run] * 200, nprocs=100, before=["prlimit", f"--nofile=48:{hard}"])
    ended = near.finish()
    assert [one.code for one in ended] == [0] * 200
    assert least <= len({one.rank for one in ended}) <= most
    assert {near.read(f"{i}/stdout") for i in range(200)} == {"48\n"}
