"""Real workers on real jobs, and every way in which one may die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sc import archives, paths
from sc.errors import CloudError, InputError
from sc.fleets import Launch
from sc.fleets.local import LocalFleet, find
from sc.model import Recipe
from sc.staging import Job, Synced
from sc.storage import open_storage
from sc.worker import preparing
from tests.processes.conftest import ROOT, send
from tests.processes.jobs import TOKEN, JobUnderTest


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobUnderTest]:
    """In a folder."""
    yield from _job(str(tmp_path / "out"), tmp_path)


@pytest.fixture(params=["folder", "s3"])
def any_job(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobUnderTest]:
    """In a folder, and in S3."""
    if request.param == "folder":
        yield from _job(str(tmp_path / "out"), tmp_path)
        return
    request.getfixturevalue("s3_environment")
    bucket = request.getfixturevalue("bucket")
    yield from _job(f"s3://{bucket}/{uuid.uuid4().hex}", tmp_path)


def _job(out: str, folder: Path) -> Iterator[JobUnderTest]:
    home = folder / "home"
    home.mkdir()
    job = JobUnderTest(out, home)
    try:
        yield job
        job.wait(lambda: not job.processes(), "no process is left")
    finally:
        job.end_all()


def test_two_workers_share_a_job(any_job: JobUnderTest) -> None:
    job = any_job
    job.stage([f"{job.gate()}; echo {n}" for n in range(60)], part=4)
    workers = [job.work(), job.work()]
    job.wait(lambda: job.slots_at_gate() == 4, "both work")
    job.let_go()
    assert [worker.wait(90) for worker in workers] == [0, 0]
    assert job.codes() == ["0"] * 60
    assert [job.stdout(n) for n in range(60)] == [f"{n}\n" for n in range(60)]
    assert sum(note.completed for note in job.done()) == 60
    assert sorted(record.remote_output_path for record in job.records()) == sorted(
        f"{job.out}/{n}" for n in range(60)
    )
    beats = job.heartbeats()
    assert [beat.state for beat in beats] == ["left", "left"]
    assert sum(beat.completed for beat in beats) == 60
    assert all(beat.completed for beat in beats)
    for beat in beats:
        assert "works on job" in job.storage.get(paths.log(job.url, beat.worker)).decode()


def test_failures_are_told_by_the_exit_code(job: JobUnderTest) -> None:
    job.stage(["exit 3", "true", "kill -9 $$", "true"], part=2)
    assert job.work().wait(60) == 1
    assert sorted(job.codes()) == ["0", "0", "137", "3"]
    assert sorted((note.completed, note.failed) for note in job.done()) == [(1, 1), (1, 1)]


def test_a_second_job_of_the_same_name_does_everything_again(any_job: JobUnderTest) -> None:
    job = any_job
    job.stage(["echo one", "exit 1"], part=1)
    assert job.work().wait(60) == 1
    job.stage(["echo two", "true"], part=1)
    assert job.work().wait(60) == 0
    assert job.codes() == ["0", "0"]
    assert job.stdout(0) == "two\n"
    assert len(job.records()) == 4


def test_sigterm_gives_back_the_claims_at_once(any_job: JobUnderTest) -> None:
    job = any_job
    job.stage(["touch $SATURN_RUN_LOCAL_RESULTS_DIR/a; sleep 300"] * 6, part=3)
    worker = job.work()
    job.wait(lambda: job.processes("sleep"), "a run is on its way")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 130
    assert job.free_claims() == 1
    assert job.codes() == []
    assert [beat.state for beat in job.heartbeats()] == ["interrupted"]


def test_what_a_stopped_worker_had_no_time_to_store_is_done_by_another(
    job: JobUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(job.folder))
    stalled = """if True:
        import pathlib, time
        from sc.cli import main
        from sc.executor.saver import Saver
        Saver.store = lambda *_: pathlib.Path("storing").touch() or time.sleep(600)
        raise SystemExit(main())
    """
    job.stage(["echo of hours > $SATURN_RUN_LOCAL_RESULTS_DIR/work"], part=1)
    worker = job.work(how=("-c", stalled))
    job.wait((job.folder / "storing").exists, "its run has ended, and is being stored")
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)  # the second of any kind ends it at once
    assert worker.wait(60) == 130
    assert not job.is_done(1)
    assert job.work().wait(60) == 0
    assert job.codes() == ["0"]
    assert (Path(job.out) / "0/results/work").read_text() == "of hours\n"
    assert [(note.completed, note.failed) for note in job.done()] == [(1, 0)]


def test_a_signal_between_preparing_and_the_first_run_is_not_lost(
    job: JobUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker asks for its GPUs just then."""
    asked, go, tools = job.folder / "asked", job.folder / "go", job.folder / "tools"
    tools.mkdir()
    program = f"#!/bin/sh\ntouch {asked}\nuntil test -e {go}; do sleep 0.02; done\n"
    (tools / "nvidia-smi").write_text(program)
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    job.stage(["touch begun; sleep 300"] * 2, part=1)
    worker = job.work()
    job.wait(asked.exists, "it asks for GPUs")
    worker.send_signal(signal.SIGTERM)
    go.touch()
    assert worker.wait(60) == 130
    assert not (job.folder / "begun").exists()
    assert [beat.state for beat in job.heartbeats()] == ["interrupted"]


def test_stop_ends_all_workers(job: JobUnderTest) -> None:
    job.stage(["sleep 300"] * 8, part=2, lease_seconds=16.0)
    workers = [job.work(), job.work()]
    job.wait(lambda: len(job.processes("sleep")) == 4, "both work")
    job.storage.put(paths.stop(job.url), b"")
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert job.free_claims() == 2
    assert job.codes() == []


def test_a_worker_that_is_killed_is_replaced_by_the_other(job: JobUnderTest) -> None:
    job.stage([f"{job.gate()}; echo done"] * 16, part=4, lease_seconds=4.0)
    first = job.work("--fleet", "local")
    job.wait(lambda: job.slots_at_gate() == 2, "the first works")
    second = job.work("--fleet", "local")
    job.wait(lambda: job.slots_at_gate() == 4, "the second works")
    first.kill()
    first.wait(10)
    job.let_go()
    assert second.wait(90) == 0
    assert job.codes() == ["0"] * 16
    assert len(job.done()) == 4


def test_a_newcomer_takes_over_from_a_machine_that_died_alone(job: JobUnderTest) -> None:
    job.stage([f"{job.gate()}; echo done"] * 6, part=3, lease_seconds=4.0)
    first = job.work()
    job.wait(lambda: job.slots_at_gate() == 2, "the first works")
    job.end_all()
    assert first.returncode == -9
    job.let_go()
    assert job.work().wait(90) == 0
    assert job.codes() == ["0"] * 6


def test_runs_end_with_their_worker_and_are_not_marked(job: JobUnderTest) -> None:
    job.stage(["sleep 300"] * 2, part=2)
    worker = job.work()
    job.wait(lambda: len(job.processes("sleep")) == 2, "two runs go on")
    worker.kill()
    worker.wait(10)
    job.wait(lambda: not job.processes(), "no process is left")
    assert job.codes() == []
    assert [beat.state for beat in job.heartbeats()] == ["failed"]


def test_a_clerk_that_is_killed_is_replaced_and_nothing_is_lost(any_job: JobUnderTest) -> None:
    job = any_job
    job.stage([f"{job.gate(free=4)}; echo done"] * 24, part=4)
    worker = job.work()
    first = _kill_clerk(job, 1)
    _kill_clerk(job, 2, but=first)
    job.let_go()
    assert worker.wait(90) == 0
    assert job.codes() == ["0"] * 24
    assert sum(note.completed for note in job.done()) == 24
    assert len({record.remote_output_path for record in job.records()}) == 24


def _kill_clerk(job: JobUnderTest, codes: int, but: int = 0) -> int:
    """When so many runs have ended, and it is another one than this."""
    job.wait(lambda: len(job.codes()) >= codes, "it goes on")
    (clerk,) = job.wait(lambda: set(job.processes("sc clerk")) - {but}, "there is a clerk")
    send([clerk], signal.SIGKILL)
    return int(clerk)


def test_a_clerk_that_dies_again_and_again_ends_the_worker_politely(job: JobUnderTest) -> None:
    job.stage(["sleep 300"] * 2, part=2, lease_seconds=5.0)
    worker = job.work()
    job.wait(lambda: job.processes("sleep"), "it works")
    killed: set[int] = set()
    while worker.poll() is None and len(killed) < 10:
        clerks = job.processes("sc clerk")
        send(clerks, signal.SIGKILL)
        killed.update(clerks)
    assert worker.wait(60) == 3
    assert "has died" in job.said()
    assert job.codes() == []


def test_a_claim_that_somebody_else_has_stops_the_runs(job: JobUnderTest) -> None:
    job.stage(["sleep 300"] * 2, part=2, lease_seconds=16.0)
    worker = job.work()
    job.wait(lambda: job.processes("sleep"), "it works")
    job.storage.put(paths.claim(job.url, 0), b'{"worker": "thief", "nonce": "0123456789abcdef"}')
    job.wait(lambda: "another worker has it" in job.said(), "the worker notices")
    job.wait(lambda: not job.processes("sleep"), "its runs are stopped")
    job.storage.put(paths.stop(job.url), b"")
    assert worker.wait(60) == 0
    assert job.codes() == []
    assert b"thief" in job.storage.get(paths.claim(job.url, 0))


def test_the_machine_is_prepared(any_job: JobUnderTest, tmp_path: Path) -> None:
    job = any_job
    source = tmp_path / "source"
    source.mkdir()
    (source / "data.txt").write_text("synced")
    archive = tmp_path / "archive.tar.gz"
    packed = archives.pack(str(source), str(archive))
    job.stage(
        ['cat ../data/data.txt made-by-start; echo " $COLOUR"; pwd'],
        part=1,
        synced=(Synced(packed.sha256, "data"),),
        archives=[str(archive)],
        working_directory="work",
        start_script="echo preparing; printf ' started' > made-by-start",
        environment_variables={"COLOUR": "a'; echo b"},
    )
    assert job.work().wait(60) == 0
    assert job.stdout(0) == f"synced started a'; echo b\n{job.folder}/work\n"
    assert "preparing" in job.said()


def test_a_worker_killed_while_it_unpacks_leaves_nothing_half(
    job: JobUnderTest, tmp_path: Path
) -> None:
    source, archive = tmp_path / "source", tmp_path / "archive.tar.gz"
    source.mkdir()
    for number in range(2000):
        (source / f"{number}").write_text("x")
    packed = archives.pack(str(source), str(archive))
    job.stage(
        ["ls data | wc -l"],
        part=1,
        synced=(Synced(packed.sha256, "data"),),
        archives=[str(archive)],
    )
    worker = job.work()
    job.wait(lambda: list(job.folder.glob(".sc-sync/new-*/tree/*")), "it unpacks")
    send(job.processes(), signal.SIGKILL)
    worker.wait(60)
    assert not (job.folder / "data").exists()
    assert job.work().wait(60) == 0
    assert job.stdout(0).strip() == "2000"
    assert len(list((job.folder / ".sc-sync").iterdir())) == 1


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ({"start_script": "echo oh dear; exit 4"}, "start_script exited with 4"),
        ({"start_script": "#!/no/such/program\n"}, "could not be prepared"),
        ({"working_directory": "/proc/none"}, "could not be prepared"),
        ({"synced": (Synced("0" * 64, "x"),)}, "sync/"),
    ],
)
def test_a_machine_that_cannot_be_prepared_says_why(
    job: JobUnderTest, field: dict[str, object], sentence: str
) -> None:
    job.stage(["true"], part=1, **field)
    assert job.work().wait(60) == 3
    assert sentence in job.said()
    assert job.heartbeats() == []
    (log,) = job.storage.list(paths.join(job.url, "logs"))
    assert sentence in job.storage.get(log.place).decode()
    assert job.codes() == []


def test_a_start_script_is_ended_by_sigterm(job: JobUnderTest) -> None:
    job.stage(["true"], part=1, start_script="echo begun; sleep 300 & wait")
    worker = job.work()
    job.wait(lambda: "begun" in job.said(), "the script goes on")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 130


def test_a_start_script_ends_with_a_worker_that_was_killed(job: JobUnderTest) -> None:
    job.stage(["true"], part=1, start_script="echo begun; sleep 300 & wait")
    worker = job.work()
    job.wait(lambda: job.processes("sleep"), "the script goes on")
    worker.kill()
    worker.wait(10)
    job.wait(lambda: not job.processes(), "no process is left")


def test_a_preparation_that_has_no_session_yet_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "stand_alone", lambda *_: time.sleep(60))
    job = Job("j", str(tmp_path), 1, 1, start_script="true")
    preparation = preparing.Preparation(
        lambda: open_storage({}), str(tmp_path / "j"), job, str(tmp_path), lambda names: {}
    )
    (process,) = multiprocessing.active_children()
    preparation.end()
    assert process.exitcode == -signal.SIGKILL


def test_two_workers_of_one_machine_prepare_it_one_after_the_other(job: JobUnderTest) -> None:
    script = "mkdir alone && sleep 0.3 && rmdir alone"
    job.stage(["true"] * 4, part=1, start_script=script)
    assert [worker.wait(60) for worker in (job.work(), job.work())] == [0, 0]


def test_no_job_is_a_sentence(job: JobUnderTest) -> None:
    assert job.work().wait(60) == 3
    assert "There is no job at" in job.said()
    assert "Traceback" not in job.said()


def test_very_short_runs_do_not_wait_for_parts(job: JobUnderTest) -> None:
    job.stage(["true"] * 200, part=4, nprocs=4)
    assert job.work().wait(90) == 0
    assert job.codes() == ["0"] * 200


# The fleet `local`


def launch_of(job: JobUnderTest, machines: int = 2) -> Launch:
    recipe = Recipe("job", ("local",), scale=machines)
    environment = {"PYTHONPATH": str(ROOT), TOKEN: job.token}
    return Launch(job.url, recipe, machines, "", "", environment)


def test_the_local_fleet_from_launch_to_the_end(job: JobUnderTest) -> None:
    job.stage([f"{job.gate()}; echo done"] * 16, part=2)
    fleet = LocalFleet(os.environ)
    launch = launch_of(job)
    fleet.check(launch)
    fleet.launch(launch, lambda line: None)
    assert len(fleet.list(job.url)) == 2
    assert {machine.job for machine in fleet.list("job")} == {"job"}
    with pytest.raises(InputError, match="already"):
        fleet.launch(launch, lambda line: None)
    job.let_go()
    fleet.follow(launch, job.storage, lambda line: None)
    assert job.heartbeats()
    job.wait(lambda: not fleet.list(job.url), "the workers leave")
    assert job.codes() == ["0"] * 16
    assert all(
        b"works on job" in job.storage.get(e.place) for e in job.storage.list(f"{job.url}/logs")
    )


def test_the_local_fleet_stops(job: JobUnderTest) -> None:
    job.stage(["sleep 300"] * 8, part=2)
    fleet = LocalFleet(os.environ)
    fleet.launch(launch_of(job), lambda line: None)
    job.wait(lambda: job.processes("sleep"), "they work")
    assert fleet.stop(job.url, lambda line: None) == []
    assert find(job.url) == []
    assert fleet.stop(job.url, lambda line: None) == []
    assert job.codes() == []


def test_the_local_fleet_says_why_no_worker_came_up(job: JobUnderTest) -> None:
    job.stage(["true"], part=1, start_script="echo a reason; exit 1")
    fleet = LocalFleet(os.environ)
    launch = launch_of(job)
    fleet.launch(launch, lambda line: None)
    with pytest.raises(CloudError, match=r"(?s)a reason.*start_script exited with 1"):
        fleet.follow(launch, job.storage, lambda line: None)


def test_the_local_fleet_says_what_a_worker_said_that_never_reached_the_storage(
    job: JobUnderTest,
) -> None:
    job.stage(["true"], part=1)
    program = job.folder / "broken.py"
    program.write_text("import sys; sys.exit('no more files here')")
    fleet = LocalFleet(os.environ)
    launch = replace(launch_of(job), program=str(program))
    fleet.launch(launch, lambda line: None)
    with pytest.raises(CloudError, match="no more files here"):
        fleet.follow(launch, job.storage, lambda line: None)


def test_workers_outlive_who_launched_them(job: JobUnderTest) -> None:
    import subprocess
    import sys

    job.stage(["sleep 1; echo done"] * 4, part=2)
    code = (
        "import os, sys; from sc.fleets.local import LocalFleet; from sc.fleets import Launch;"
        "from sc.model import Recipe;"
        "LocalFleet(os.environ).launch(Launch(sys.argv[1], Recipe('job', ('local',)), 1, '', ''), print);"
        "os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code, job.url],
        cwd=job.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), TOKEN: job.token},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    assert parent.returncode == -9
    job.wait(lambda: job.is_done(2), "the job ends all the same")
    assert job.codes() == ["0"] * 4
