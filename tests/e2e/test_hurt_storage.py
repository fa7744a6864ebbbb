"""The real sc, all its processes, and a real S3 server with a line between them on which much goes wrong.

Under each fault: every run ends with the right outputs and code, or is plainly told as not done; nothing is lost,
nothing is left. What is asserted is what lies in the server at the end, byte for byte, and how much was injected.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Optional

import pytest

from sc.errors import ExitCode
from sc.executor import Ending
from sc.feed import Tally
from tests.e2e.hurt_work import HurtWork
from tests.e2e.program import LIMIT_SECONDS, Program
from tests.faulty_s3 import PASSING, FaultyLine, FaultyS3, faulty_s3
from tests.processes.conftest import wait_until
from tests.servers import KEYS, S3Server

SHARE = 0.2
Record = Callable[[str, object], None]
"""Keeps how often a fault was injected for `--junitxml`."""
IN_A_BATCH = tuple(kind for kind in PASSING if kind != "409")
"""A batch on one machine writes nothing on a condition."""
OUTAGE_SECONDS = float(os.environ.get("SC_TEST_OUTAGE_SECONDS", "150"))
"""Longer than a request is tried again (60) and than the lease of a worker (120). By hand, as long as you like:
SC_TEST_OUTAGE_SECONDS=300."""
STALLS = 4
BEGIN_SECONDS = 240.0
"""For five works that begin at the same time."""
FREE = 24
"""So many runs end before an outage; the others wait for it: it comes in the middle, however slow this machine is."""


def until_cut(folder: Path) -> str:
    """What each run does first."""
    begun = f"{folder}/begun-"
    note = f": > {begun}${{SATURN_RUN_REMOTE_OUTPUT_PATH##*/}}; set -- {begun}*"
    return (
        f"{note}; [ $# -le {FREE} ] || until [ -e {folder}/cut ]; do sleep 0.1; done; sleep 0.3; "
    )


@pytest.fixture(scope="module")
def proxy(seaweed: S3Server) -> Iterator[FaultyS3]:
    with faulty_s3(seaweed) as one:
        yield one


STOP_LIMIT_SECONDS = 40
"""Less than the patience of one request: an interrupt does not wait for its end."""
together = pytest.mark.xdist_group("outage")
"""One process of the tests does all that looks at the outage, which is made once in each."""


class Outage:
    """Works that are cut off in their middle, all at the same time, and what becomes of them.

    `batch` and `job` are connected again; `hopeless` and `interrupted` never are. `stalled` goes on beside them over
    a line on which some requests get no answer, each until its time-out.
    """

    def __init__(self, folder: Path, program: Program, server: S3Server, proxy: FaultyS3) -> None:
        def work(name: str, runs: int) -> HurtWork:
            before = until_cut(folder / name)
            return HurtWork(folder / name, program, server, runs, large=1, before=before)

        self.batch, self.job = work("batch", 120), work("job", 120)
        self.hopeless, self.interrupted = work("hopeless", 120), work("interrupted", 120)
        self.works = (self.batch, self.job, self.hopeless, self.interrupted)
        self.lines = [proxy.line() for _ in self.works]
        self.stalled = HurtWork(folder / "stalled", program, server, runs=24)
        self.stalling = proxy.line(["stall"], SHARE, most=STALLS)
        self.processes: list[subprocess.Popen[str]] = []
        self._timer = threading.Timer(OUTAGE_SECONDS, self.end)

    def begin(self) -> None:
        """Start all, and cut the lines when each has stored something."""
        words = ["split", "recipe.yaml", "batch.json", "commands", "--start", "--wait", "--json"]
        add, lines = self.processes.append, self.lines
        add(self.batch.start(lines[0], "batch", "batch.json"))
        add(self.job.start(lines[1], *words))
        add(self.hopeless.execute(lines[2], save_patience_seconds=1.0))
        add(self.interrupted.start(lines[3], "batch", "batch.json"))
        add(self.stalled.start(self.stalling, "batch", "batch.json"))
        for work, line, how in zip(self.works, lines, ("refused", "black hole") * 2):
            threading.Thread(target=cut_in_the_middle, args=(work, line, how)).start()
        are_cut = lambda: all(line.tally().faults["outage"] for line in lines)  # noqa: E731
        wait_until(are_cut, "all are cut off", BEGIN_SECONDS)
        self.processes[3].send_signal(signal.SIGINT)
        self._timer.start()

    def end(self) -> None:
        for line in self.lines[:2]:
            line.mend()

    def wait(self, number: int) -> int:
        """How one of the processes has ended."""
        return self.processes[number].wait(OUTAGE_SECONDS + LIMIT_SECONDS)

    def close(self) -> None:
        self._timer.cancel()
        for work in (*self.works, self.stalled):
            work.end_all()
        for process in self.processes:
            process.wait(30)


def cut_in_the_middle(work: HurtWork, line: FaultyLine, how: str) -> None:
    wait_until(partial(work.has_stored, 8), "some runs are stored", BEGIN_SECONDS)
    line.cut(how)
    (work.folder / "cut").touch()


@pytest.fixture(scope="module")
def outage(
    tmp_path_factory: pytest.TempPathFactory, program: Program, seaweed: S3Server, proxy: FaultyS3
) -> Iterator[Outage]:
    """Begun by the first test of this file and looked at by the last ones: it takes long, and mostly waits."""
    one = Outage(tmp_path_factory.mktemp("outage"), program, seaweed, proxy)
    try:
        one.begin()
        yield one
    finally:
        one.close()


@together
def test_an_outage_begins_in_the_middle(outage: Outage) -> None:
    for work, process in zip(outage.works, outage.processes):
        assert process.poll() is None, work.said()
        assert 8 <= work.codes_stored() < work.runs


def assert_counts(work: HurtWork, told: str) -> None:
    counts = json.loads(told)
    every = work.runs + work.large
    assert (counts["completed"], counts["failed"]) == (every - work.failures, work.failures)


def batch_under(line: FaultyLine, work: HurtWork) -> None:
    """A whole batch, and all that can be said of it afterwards."""
    done = work.run(line, "batch", "batch.json", "--json")
    assert done.returncode == ExitCode.RUNS_FAILED, done.stderr
    assert_counts(work, done.stdout)
    work.assert_all_is_right()


def test_a_batch_under_each_fault_alone(
    tmp_path: Path, program: Program, seaweed: S3Server, proxy: FaultyS3, record_property: Record
) -> None:
    def under(kind: str) -> tuple[str, int]:
        work = HurtWork(tmp_path / kind, program, seaweed, runs=18, large=1)
        line = proxy.line([kind], SHARE)
        batch_under(line, work)
        tally = line.tally()
        assert set(tally.faults) == {kind}
        return kind, tally.faults[kind]

    with ThreadPoolExecutor(3) as pool:
        injected = dict(pool.map(under, IN_A_BATCH))
    record_property("injected", dict(injected))
    assert injected.pop("length too short") >= 1  # there is not much that a batch reads
    assert min(injected.values()) >= 8, injected


def test_a_batch_under_all_faults(
    tmp_path: Path, program: Program, seaweed: S3Server, proxy: FaultyS3, record_property: Record
) -> None:
    work = HurtWork(tmp_path, program, seaweed, runs=160, large=2)
    line = proxy.line(IN_A_BATCH, SHARE)
    batch_under(line, work)
    faults = line.tally().faults
    record_property("injected", dict(faults))
    assert {*faults, "length too short"} == set(IN_A_BATCH)  # it reads next to nothing
    assert sum(faults.values()) >= 100


@pytest.mark.parametrize("hours", [1, -1])
def test_a_batch_with_a_clock_that_is_an_hour_off(
    tmp_path: Path,
    program: Program,
    seaweed: S3Server,
    proxy: FaultyS3,
    hours: int,
    record_property: Record,
) -> None:
    work = HurtWork(tmp_path, program, seaweed, runs=24, large=1)
    line = proxy.line(clock_seconds=3600.0 * hours)
    batch_under(line, work)
    tally = line.tally()
    record_property("injected", dict(tally.faults))
    assert 1 <= tally.faults["wrong clock"] <= 60  # each thread of each process, at most
    assert tally.requests - tally.faults["wrong clock"] >= 100


def test_a_job_of_two_workers_under_all_faults_and_all_that_looks_at_it(
    tmp_path: Path, program: Program, seaweed: S3Server, proxy: FaultyS3, record_property: Record
) -> None:
    work = HurtWork(tmp_path, program, seaweed, runs=60, large=1)
    line = proxy.line(PASSING, SHARE)
    words = ["split", "recipe.yaml", "batch.json", "commands", "--start", "--wait", "--json"]
    done = work.run(line, *words, "--batch-size", "2")  # enough parts are claimed for a 409
    assert done.returncode == ExitCode.RUNS_FAILED, done.stderr
    assert_counts(work, done.stdout.splitlines()[-1])
    work.assert_all_is_right()
    record_property("injected", dict(line.tally().faults))
    assert set(line.tally().faults) == set(PASSING)
    job = f"{work.out}/.sc/hurt"
    for words in (
        ["summarize-batch", "batch.json"],
        ["summarize-batch", "batch.json", "--json"],
        ["logs", "batch.json", "1", "--stderr"],
        ["logs", "batch.json", "--failed"],
        ["watch", job],
        ["watch", job, "--json"],
        ["report", "batch.json", "-o", "report.html", "--json"],
        ["rerun", "batch.json", "--failed", "--json"],
        ["split", "recipe.yaml", "batch.json", "again", "--skip-completed"],
        ["pull", "batch.json", "here", "--json"],
    ):
        assert_same(work, proxy, *words)
    work.assert_all_is_right()


def use_keys(folder: Path, number: int) -> None:
    """From now on these are the keys that a credentials file, and a process beside it, give."""
    access, secret = KEYS[number]
    new = folder / "credentials.new"
    new.write_text(f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n")
    new.rename(folder / "credentials")
    document = {"Version": 1, "AccessKeyId": access, "SecretAccessKey": secret}
    new.write_text(json.dumps(document))
    new.rename(folder / "keys.json")


def sources_of_keys(work: HurtWork) -> dict[str, dict[str, str]]:
    """By the name of a source, the variables that lead to it alone."""
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    config = work.folder / "config"
    config.write_text(f"[default]\ncredential_process=cat '{work.folder}/keys.json'\n")
    return {
        "file": {**none, "AWS_SHARED_CREDENTIALS_FILE": str(work.folder / "credentials")},
        "process": {**none, "AWS_CONFIG_FILE": str(config)},
    }


@pytest.mark.parametrize("source", ["file", "process"])
def test_keys_that_expire_and_are_renewed(
    tmp_path: Path, program: Program, seaweed: S3Server, proxy: FaultyS3, source: str
) -> None:
    """By the process at the same moment; in the file a while later, by somebody who has read what is wrong."""
    work = HurtWork(tmp_path, program, seaweed, runs=120, before="sleep 0.1; ")
    use_keys(tmp_path, 0)
    line = proxy.line()
    process = work.start(line, "batch", "batch.json", more=sources_of_keys(work)[source])
    try:
        wait_until(partial(work.has_stored, 8), "some runs are stored")
        if source == "process":
            use_keys(tmp_path, 1)
        line.expire(KEYS[0][0])
        if source == "file":
            wait_until(lambda: "credentials have expired: run `aws" in work.said(), "it is told")
            use_keys(tmp_path, 1)
        assert process.wait(LIMIT_SECONDS) == ExitCode.RUNS_FAILED
    finally:
        work.end_all()
    work.assert_all_is_right()
    assert line.tally().faults["expired key"] >= 1


def test_keys_that_expire_for_good_keep_the_outputs_here(
    tmp_path: Path, program: Program, seaweed: S3Server, proxy: FaultyS3
) -> None:
    work = HurtWork(tmp_path, program, seaweed, runs=60, before=until_cut(tmp_path))
    use_keys(tmp_path, 0)
    line = proxy.line()
    process = work.execute(line, save_patience_seconds=2.0)
    try:
        wait_until(partial(work.has_stored, 8), "some runs are stored")
        line.expire(KEYS[0][0])
        (tmp_path / "cut").touch()
        assert process.wait(LIMIT_SECONDS) == 0
    finally:
        work.end_all()
    assert_given_up(work, "the credentials have expired: run `aws configure`")
    late = work.run(line, "batch", "batch.json")
    assert (late.returncode, late.stdout) == (ExitCode.REFUSED, "")
    assert "the credentials have expired: run `aws configure`" in late.stderr


def assert_given_up(work: HurtWork, why: str) -> None:
    """The executor has told that, and where the rest lies; a batch would end in 3."""
    ending = Ending(**json.loads((work.folder / "ending.json").read_text()))
    assert re.search(why, ending.reason)
    assert ending.kept_folder is not None
    work.assert_stored_or_kept(Path(ending.kept_folder), ending.kept_runs)
    tally = Tally(total=work.runs, not_stored=ending.kept_runs)
    assert tally.exit_code(ending) == ExitCode.REFUSED


def test_a_batch_keeps_to_the_rate_of_a_server_that_says_slow_down(
    tmp_path: Path, program: Program, seaweed: S3Server, proxy: FaultyS3, record_property: Record
) -> None:
    """All its savers together, that know nothing of each other; the burst before they heard of it included."""
    work = HurtWork(tmp_path, program, seaweed, runs=180)
    line = proxy.line(rate=40.0)
    batch_under(line, work)
    tally = line.tally()
    record_property("injected", f"{tally.faults['over the rate']} of {tally.requests}")
    assert 1 <= tally.faults["over the rate"] <= 0.15 * tally.requests, tally


def test_two_interrupts_in_a_black_hole_end_it_at_once(
    tmp_path: Path, program: Program, seaweed: S3Server, proxy: FaultyS3
) -> None:
    work = HurtWork(tmp_path, program, seaweed, runs=120, before="sleep 0.1; ")
    line = proxy.line()
    process = work.start(line, "batch", "batch.json")
    try:
        cut_in_the_middle(work, line, "black hole")
        wait_until(lambda: line.tally().faults["outage"] >= 4, "savers hang")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # two of the same kind at once would be one
        assert process.wait(LIMIT_SECONDS) == ExitCode.INTERRUPTED
    finally:
        work.end_all()
    assert_kept_and_told(work)


@pytest.mark.parametrize("how", ["black hole", "refused"])
def test_one_interrupt_ends_what_only_waits_for_the_storage(
    tmp_path: Path, program: Program, seaweed: S3Server, proxy: FaultyS3, how: str
) -> None:
    work = HurtWork(tmp_path, program, seaweed, runs=120, before="sleep 0.1; ")
    line = proxy.line()
    process = work.start(line, "batch", "batch.json")
    try:
        cut_in_the_middle(work, line, how)
        wait_until(lambda: line.tally().faults["outage"] >= 6, "savers wait")
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_LIMIT_SECONDS) == ExitCode.INTERRUPTED
    finally:
        work.end_all()
    if (
        "not stored" in work.said()
    ):  # else no run has ended since the outage began: there is nothing to keep
        assert_kept_and_told(work)


def assert_kept_and_told(work: HurtWork) -> None:
    told = re.search(r"the files of (\d+) runs? .*kept in ([^;]+);", work.said())
    assert told is not None, work.said()
    work.assert_stored_or_kept(Path(told[2]), int(told[1]))


@together
def test_a_batch_survives_requests_that_get_no_answer(outage: Outage) -> None:
    assert outage.wait(4) == ExitCode.RUNS_FAILED
    outage.stalled.assert_all_is_right()
    assert outage.stalling.tally().faults["stall"] == STALLS


@together
def test_a_batch_survives_an_outage(outage: Outage) -> None:
    assert outage.wait(0) == ExitCode.RUNS_FAILED
    outage.batch.assert_all_is_right()
    said = outage.batch.said()
    every = outage.batch.runs + outage.batch.large
    assert f"{every - outage.batch.failures} completed, {outage.batch.failures} failed" in said
    assert "could not be" not in said  # records neither
    assert outage.lines[0].tally().faults["outage"] >= 5


@together
def test_a_job_survives_an_outage_that_outlasts_its_leases(outage: Outage) -> None:
    assert outage.wait(1) == ExitCode.RUNS_FAILED
    outage.job.assert_all_is_right()
    counts = outage.job.said().splitlines()
    assert_counts(outage.job, next(line for line in reversed(counts) if line.startswith("{")))
    assert outage.lines[1].tally().faults["outage"] >= 5


@together
def test_an_outage_without_an_end_keeps_the_outputs_here(outage: Outage) -> None:
    assert outage.wait(2) == 0
    # A saver that was started in the outage has never had an answer.
    assert_given_up(outage.hopeless, r"(gave no answer|could not be reached) in \d+ seconds")


@together
def test_an_interrupt_during_an_outage_keeps_the_outputs_and_tells_where(outage: Outage) -> None:
    assert outage.wait(3) == ExitCode.INTERRUPTED
    assert_kept_and_told(outage.interrupted)


def assert_same(work: HurtWork, proxy: FaultyS3, *words: str) -> None:
    """These words say and make through a line of their own the same as straight to the server."""
    line = proxy.line([kind for kind in PASSING if kind != "409"], SHARE)
    hurt, well = (seen(work, one, *words) for one in (line, None))
    assert hurt == well
    assert sum(line.tally().faults.values()) >= 1, words


def seen(work: HurtWork, line: Optional[FaultyLine], *words: str) -> tuple[object, ...]:
    """What one call says and makes, but for the seconds that it took and the minute at which it made it."""
    made = [work.folder / name for name in ("report.html", "again", "here")]
    for path in made:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    done = work.run(line, *words)
    said = re.sub(r'"\w*seconds\w*": [^,}]+', "", done.stdout or done.stderr)
    if words[0] == "watch":  # its examples are of the worker that it has read first
        said = re.sub(r"s3:[^ ]*/out/\d+", "", said)
    assert said
    files = {
        path.relative_to(work.folder): re.sub(rb"Made [-0-9: ]+ UTC", b"", path.read_bytes())
        for top in made
        for path in (top, *top.rglob("*"))
        if path.is_file() and ".sc-pull" not in path.parts
    }
    return done.returncode, said, files
