"""Temp folders, homes, streams and folders that are not as usual: the real `sc` works, or says what is amiss."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.faults import BATCH, SPLIT, Count, Record, Trial, read_only, small_disk, wait_until
from tests.e2e.program import Program
from tests.servers import S3Server


def through_shell(trial: Trial, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Call `sc` by a shell that has changed something; `"$@"` is the call."""
    trial.before = ["sh", "-c", script, "sh"]
    return trial.run(*words)


ODD = {
    "missing": "ENOENT",
    "read-only": "EROFS",
    "not to be executed from": "",
    "a file": "ENOTDIR",
}
"""What is the matter with a temp folder, and what those get that would use it."""


@pytest.mark.parametrize("kind", list(ODD))
@pytest.mark.parametrize("words", [BATCH, SPLIT], ids=["batch", "split"])
def test_a_temp_folder_that_cannot_be_used_is_done_without(
    trial: Trial,
    kind: str,
    words: Sequence[str],
    s3_environment: S3Server,
    bucket: str,
    record_property: Record,
) -> None:
    trial.write(4, f"s3://{bucket}/out" if words is BATCH else "")
    odd = trial.folder / "odd"
    trial.environment = {**s3_environment.environment(), "TMPDIR": str(odd)}
    count = Count(trial, ODD[kind], below=str(odd))
    if kind == "a file":
        odd.write_text("")
    if kind in ("missing", "a file"):
        ended = trial.run(*words)
    else:
        with small_disk(odd, "size=5m,ro" if kind == "read-only" else "size=5m,noexec"):
            ended = trial.run(*words)
            assert os.listdir(odd) == []
    assert ended.returncode == 0, ended.stderr
    trial.assert_all_whole()
    trial.assert_nothing_left()
    if ODD[kind]:  # from the other one nothing is ever executed
        count.assert_met(record_property)


@pytest.mark.parametrize("words", [BATCH, SPLIT], ids=["batch", "split"])
def test_outputs_that_turn_read_only_in_the_middle_are_waited_for(
    trial: Trial, words: Sequence[str], record_property: Record
) -> None:
    count = Count(trial, "EROFS")
    with small_disk(trial.folder / "out", "size=5m") as disk:
        trial.write(8, free=3)
        running = trial.start(*words)
        wait_until(lambda: len(list(disk.glob("*/status_code"))) == 3, "some have ended")
        trial.wait_for_waiting(2)
        with read_only(disk):
            trial.let_go()
            count.wait()
            assert len(trial.whole()) == 3
        ended = trial.end(running)
        assert ended.returncode == 0, ended.stderr
        trial.assert_all_whole()
    trial.assert_nothing_left()
    count.assert_met(record_property)


@pytest.mark.parametrize("home", ["", "/nonexistent", "/proc/self"])
def test_a_home_is_not_needed(trial: Trial, home: str) -> None:
    trial.write(3)
    trial.environment = {"HOME": home}
    for words in (BATCH, SPLIT):
        ended = trial.run(*words)
        assert ended.returncode == 0, ended.stderr
        trial.assert_all_whole()
        wait_until(lambda: not trial.processes(), "no process is left")
    left = {name for name in os.listdir(trial.temp) if not name.startswith("ballast")}
    assert left <= {f"sc-{os.geteuid()}"}  # where it has unpacked itself, for the next time


def test_a_folder_that_was_removed_is_told(trial: Trial) -> None:
    trial.write(3)
    gone = f'mkdir {trial.folder}/gone; cd {trial.folder}/gone; rmdir {trial.folder}/gone; "$@"'
    batch, recipe = str(trial.folder / "batch.json"), str(trial.folder / "recipe.yaml")
    for words in (
        ["batch", batch],
        ["summarize-batch", batch],
        ["split", recipe, batch, str(trial.folder / "commands")],
    ):
        ended = through_shell(trial, gone, *words)
        assert ended.returncode == 2
        assert ended.stderr == "sc: the folder that you are in was removed: go to another one\n"
    assert through_shell(trial, gone, "--version").returncode == 0
    assert not (trial.folder / "out").exists()


def test_a_folder_that_is_removed_meanwhile_is_the_runs_affair(trial: Trial) -> None:
    """Those that do not look where they are go on."""
    trial.write(9)
    (trial.folder / "here").mkdir()
    remove = f"rmdir {trial.folder}/here 2>/dev/null; true"
    (trial.folder / "simple.txt").write_text(f"{remove}\n" * 9)
    batch = str(trial.folder / "simple.txt")
    script = f'cd {trial.folder}/here; "$@"'
    words = ["batch", batch, "--nprocs", "4", "--remote-output-path", str(trial.folder / "out")]
    ended = through_shell(trial, script, *words)
    assert ended.returncode == 0, ended.stderr
    codes = [path.read_text() for path in trial.folder.glob("out/*/status_code")]
    assert codes == ["0"] * 9
    trial.assert_nothing_left()


def test_nobody_has_rights_to_what_is_made_with_a_umask_of_777(trial: Trial) -> None:
    """Root has them nevertheless; whoever has none is told."""
    if os.geteuid() != 0:
        pytest.skip("the files that root makes can be read by root")
    trial.write(4)
    for words in (BATCH, SPLIT):
        ended = through_shell(trial, 'umask 777; exec "$@"', *words)
        assert ended.returncode == 0, ended.stderr
        trial.assert_all_whole()
    trial.assert_nothing_left()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(trial: Trial, closed: str) -> None:
    trial.write(4)
    for words in (BATCH, SPLIT, ["summarize-batch", "batch.json"]):
        ended = through_shell(trial, f'exec "$@" {closed}', *words)
        assert ended.returncode == 0, ended.stderr
        trial.assert_all_whole()
    trial.assert_nothing_left()


PRINTING = (
    ["--help"],
    ["--version"],
    ["batch", "--help"],
    ["summarize-batch", "batch.json"],
    ["summarize-batch", "batch.json", "--json"],
    ["logs", "batch.json", "0"],
    ["ps", "--json"],
    ["watch", "out/.sc/trial", "--json"],
    ["batch", "batch.json", "--json", "--quiet"],
    ["rerun", "batch.json", "0"],
    ["pull", "batch.json", "here", "--json"],
    ["report", "batch.json", "-o", "report.html", "--json"],
    ["split", "recipe.yaml", "batch.json", "commands", "--json"],
    ["completion", "bash"],
)


def test_results_that_find_no_room_are_no_success(trial: Trial) -> None:
    trial.write(2)
    assert trial.run(*SPLIT).returncode == 0
    for words in PRINTING:
        ended = through_shell(trial, 'exec "$@" > /dev/full', *words)
        assert ended.returncode == 3, (words, ended.stderr)
        assert "No space left on device; this machine has to be put right first" in ended.stderr
    trial.assert_all_whole()
    trial.assert_nothing_left()


def test_talk_that_finds_no_room_changes_no_exit_code(trial: Trial) -> None:
    trial.write(2)
    for words in (
        BATCH,
        SPLIT,
        ["summarize-batch", "batch.json"],
        ["work", "out/.sc/trial", "--yes"],
    ):
        ended = through_shell(trial, 'exec "$@" 2> /dev/full', *words)
        assert ended.returncode == 0, words
    assert through_shell(trial, 'exec "$@" 2> /dev/full', "batch", "none.json").returncode == 2
    trial.assert_all_whole()
    trial.assert_nothing_left()


def test_batch_begun_where_a_shell_ignores_interrupts_is_stopped_by_sigterm(
    program: Program, tmp_path: Path
) -> None:
    """As in the background of a script. Runs have the signal's default."""
    (tmp_path / "batch.txt").write_text("kill -INT $$\nsleep 1000\n")
    words = ["batch", "batch.txt", "--remote-output-path", "out", "--nprocs", "2"]
    script = "trap '' INT QUIT; exec \"$@\""
    with subprocess.Popen(
        ["sh", "-c", script, "sh", *program.words, *words],
        cwd=tmp_path,
        env=program.surroundings(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        wait_until((tmp_path / "out/0/status_code").exists, "one has ended")
        wait_until((tmp_path / "out/1/stdout").exists, "the other goes on")
        running.send_signal(signal.SIGTERM)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert (tmp_path / "out/0/status_code").read_text() == "130"
    assert not (tmp_path / "out/1/status_code").exists()
