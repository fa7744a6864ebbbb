"""Disks without a byte or an inode left, wherever the real `sc` writes: it waits, or says so, and cuts nothing off."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest

from sc.executor.scheduler import BLOCKED_SECONDS
from tests.e2e.faults import BATCH, SPLIT, Ballast, Count, Record, Trial, small_disk, wait_until
from tests.servers import S3Server

SMALL = {"bytes": "size=1200k", "inodes": "size=20m,nr_inodes=600"}


@pytest.fixture(params=["bytes", "inodes"])
def lacking(request: pytest.FixtureRequest) -> str:
    """What there is no more of."""
    return str(request.param)


def is_at_rest(trial: Trial) -> bool:
    """No run goes on, or has ended and is not judged yet: all of them wait for room."""
    if any(trial.temp.glob("sc-run-*/[0-9]*")):
        return False
    for pid in trial.processes():
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if b"SATURN_RUN_LOCAL_RANK=" in words:
            return False
    return True


def rests(trial: Trial) -> bool:
    """No run goes on, and for long enough that the last one, whose output may be cut off, has been judged: room that
    comes back before is not seen to have been lacking. The next one begins after `BLOCKED_SECONDS` at the soonest."""
    end = time.monotonic() + BLOCKED_SECONDS / 2
    while is_at_rest(trial):
        if time.monotonic() > end:
            return True
        time.sleep(0.02)
    return False


def wait_for_codes(trial: Trial, count: int) -> None:
    """So many runs have ended, and nobody stores anything of them any more."""
    codes = "out/*/status_code"
    wait_until(lambda: len(list(trial.folder.glob(codes))) >= count, "some have ended")


def fill(trial: Trial, ballast: Ballast, count: Count, free: int = 3) -> None:
    """Take all room from runs that are in their middle, and let them meet that. `free` ones are over by then."""
    wait_for_codes(trial, free)
    trial.wait_for_waiting(2)
    ballast.take()
    trial.let_go()
    count.wait()
    wait_until(lambda: rests(trial), "all runs wait")


@pytest.mark.parametrize("words", [BATCH, SPLIT], ids=["batch", "split"])
def test_outputs_on_a_full_disk_wait_for_room(
    trial: Trial, lacking: str, words: tuple[str, ...], record_property: Record
) -> None:
    count = Count(trial, "ENOSPC")
    with small_disk(trial.folder / "out", SMALL[lacking]) as disk:
        trial.write(14, free=3)
        ballast = Ballast(disk, lacking)
        running = trial.start(*words)
        fill(trial, ballast, count)
        assert 3 <= len(trial.whole()) < 14
        ballast.give_back()
        ended = trial.end(running)
        assert ended.returncode == 0, ended.stderr
        trial.assert_all_whole()
    trial.assert_nothing_left()
    count.assert_met(record_property)


@pytest.mark.parametrize("words", [BATCH, SPLIT], ids=["batch", "split"])
def test_a_full_temp_folder_holds_runs_up_whose_outputs_go_to_s3(
    trial: Trial,
    lacking: str,
    words: tuple[str, ...],
    s3_environment: S3Server,
    bucket: str,
    record_property: Record,
) -> None:
    trial.environment = s3_environment.environment()
    count = Count(trial, "ENOSPC")
    with small_disk(trial.temp, SMALL[lacking]) as disk:
        trial.write(8, f"s3://{bucket}/out", free=0)
        ballast = Ballast(disk, lacking)
        running = trial.start(*words)
        fill(trial, ballast, count, free=0)
        assert len(trial.whole()) < 8
        ballast.give_back()
        ended = trial.end(running)
        assert ended.returncode == 0, ended.stderr
        trial.assert_all_whole()
        trial.assert_nothing_left()
    count.assert_met(record_property)


def test_a_disk_that_is_full_from_the_start_is_told_before_anything_is_done(
    trial: Trial, lacking: str, record_property: Record
) -> None:
    count = Count(trial, "ENOSPC")
    with small_disk(trial.folder / "out", SMALL[lacking]) as disk:
        trial.write(3)
        Ballast(disk, lacking).take()
        for words in (BATCH, SPLIT):
            ended = trial.run(*words)
            assert ended.returncode == 3
            assert "cannot be written, the disk is full: free some space or inodes" in ended.stderr
            count.assert_met(record_property)
        assert trial.whole() == set()
        assert not (trial.folder / "commands").exists()
    trial.assert_nothing_left()


def test_interrupted_while_it_waits_for_room_it_marks_nothing(trial: Trial) -> None:
    with small_disk(trial.folder / "out", SMALL["bytes"]) as disk:
        trial.write(14, free=3)
        running = trial.start(*BATCH)
        wait_for_codes(trial, 3)
        trial.wait_for_waiting(2)
        Ballast(disk, "bytes").take()
        trial.let_go()
        wait_until(lambda: rests(trial), "all runs wait")
        running.send_signal(signal.SIGINT)
        ended = trial.end(running)
        assert ended.returncode == 130
        assert f"{len(trial.whole())} completed" in ended.stderr
    trial.assert_nothing_left()


def test_a_full_commands_folder_is_told_and_holds_nothing_that_could_be_started(
    trial: Trial, lacking: str
) -> None:
    options = {"bytes": "size=24k", "inodes": "size=5m,nr_inodes=10"}[lacking]
    with small_disk(trial.folder / "commands", options) as disk:
        trial.write(200)
        ended = trial.run(*SPLIT)
        assert ended.returncode == 3
        (told,) = [line for line in ended.stderr.splitlines() if "No space left" in line]
        assert told.endswith("put that right, or name another folder as COMMANDS_DIR")
        assert not (disk / "recipe.yaml").exists()
        assert all(path.stat().st_size for path in disk.iterdir())
    # Of the lease that was taken and given back, empty folders.
    assert [path for path in (trial.folder / "out").rglob("*") if not path.is_dir()] == []
    trial.assert_nothing_left()


def test_a_job_whose_place_is_full_is_not_begun(trial: Trial, lacking: str) -> None:
    options = {"bytes": "size=64k", "inodes": "size=5m,nr_inodes=12"}[lacking]
    with small_disk(trial.folder / "out/.sc", options) as disk:
        trial.write(60)
        ended = trial.run(*SPLIT, "--batch-size", "1")
        assert ended.returncode == 3
        assert "cannot be written, the disk is full" in ended.stderr
        assert list(disk.rglob("recipe.json")) == []
        Ballast(disk, lacking).take()  # what the start had made for itself is free again
        ended = trial.run(*BATCH)
        assert ended.returncode == 3  # there is no room for the lease on its runs
        assert "leases/" in ended.stderr
        assert "cannot be written, the disk is full" in ended.stderr
        assert [path.name for path in (trial.folder / "out").iterdir()] == [".sc"]
    assert trial.run(*BATCH).returncode == 0
    trial.assert_all_whole()
    trial.assert_nothing_left()


def test_the_place_of_a_job_that_runs_full_holds_it_up(
    trial: Trial, lacking: str, record_property: Record
) -> None:
    count = Count(trial, "ENOSPC")
    with small_disk(trial.folder / "out/.sc", SMALL[lacking]) as disk:
        trial.write(14, free=3)
        ballast = Ballast(disk, lacking)
        running = trial.start(*SPLIT)
        fill(trial, ballast, count)
        ballast.give_back()
        ended = trial.end(running)
        assert ended.returncode == 0, ended.stderr
        trial.assert_all_whole()
    trial.assert_nothing_left()
    count.assert_met(record_property)


def test_a_pull_that_finds_no_room_goes_on_where_it_stopped(trial: Trial, lacking: str) -> None:
    trial.write(60)
    assert trial.run(*BATCH, "--quiet").returncode == 0
    options = {"bytes": "size=400k", "inodes": "size=9m,nr_inodes=60"}[lacking]
    with small_disk(trial.folder / "here", options) as disk:
        ended = trial.run("pull", "batch.json", "here")
        assert ended.returncode == 3
        assert "objects were fetched; call it again for the rest" in ended.stderr
        sizes = {path.stat().st_size for path in disk.rglob("stdout")}
        assert sizes <= {path.stat().st_size for path in trial.folder.glob("out/*/stdout")}
        assert list(disk.rglob(".sc-tmp-*")) == []
    ended = trial.run("pull", "batch.json", "here")
    assert ended.returncode == 0, ended.stderr
    trial.place = str(trial.folder / "here")
    trial.assert_all_whole()
    trial.assert_nothing_left()


def test_a_report_that_finds_no_room_leaves_the_old_one(trial: Trial, lacking: str) -> None:
    trial.write(3)
    assert trial.run(*BATCH, "--quiet").returncode == 0
    with small_disk(trial.folder / "pages", SMALL[lacking]) as disk:
        (disk / "report.html").write_text("old")
        Ballast(disk, lacking).take()
        ended = trial.run("report", "batch.json", "-o", "pages/report.html")
        assert ended.returncode == 3
        assert "pages/report.html cannot be written, the disk is full" in ended.stderr
        assert (disk / "report.html").read_text() == "old"
    trial.assert_nothing_left()


def test_a_first_start_without_room_for_itself_says_so(trial: Trial, lacking: str) -> None:
    trial.write(2)
    with small_disk(trial.folder / "home", SMALL[lacking]) as disk:
        trial.environment = {"HOME": str(disk), "XDG_CACHE_HOME": ""}
        Ballast(disk, lacking).take()
        ended = trial.run(*BATCH)  # there is another folder that it may use
        assert ended.returncode == 0, ended.stderr
        shutil.rmtree(next(trial.temp.glob("sc-*")))
        trial.environment = {"SHIV_ROOT": str(disk)}
        ended = trial.run(*BATCH)
        assert (ended.returncode, ended.stdout) == (3, "")
        assert "it cannot unpack itself into" in ended.stderr
        assert [path.name for path in disk.iterdir() if not path.name.startswith("ballast")] in (
            [],
            [".cache"],
        )
    trial.assert_all_whole()
    trial.assert_nothing_left()
