"""Outputs that somebody removes, moves away or replaces while runs go on: what is told completed is there whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.faults import wait_until
from tests.e2e.program import Program
from tests.servers import S3Server

LIMIT_SECONDS = 90
WAIT = "echo one; echo err >&2; until [ -e {go} ]; do sleep 0.05; done; echo two; "
RESULT = "mkdir $SATURN_RUN_LOCAL_RESULTS_DIR/d; echo r > $SATURN_RUN_LOCAL_RESULTS_DIR/d/r; "
RECIPE = "type: job\nspec: {name: moved, instance_type: local, scale: 1}\n"


@dataclass
class Trial:
    """A batch of which runs go on until `go`."""

    program: Program
    here: Path
    place: str
    more: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] = field(init=False)

    @property
    def out(self) -> Path:
        return self.here / "out"

    def start(self, *commands: str, words: tuple[str, ...] = ("batch", "b.json")) -> None:
        runs = [{"cmd": cmd.replace("{go}", str(self.here / "go"))} for cmd in commands]
        batch = {"remote_output_path": self.place, "nprocs": len(runs), "runs": runs}
        (self.here / "b.json").write_text(json.dumps(batch))
        (self.here / "r.yaml").write_text(RECIPE)
        (self.here / "tmp").mkdir()
        surroundings = {"TMPDIR": str(self.here / "tmp"), **self.more}
        self.process = self.program.start(*words, cwd=self.here, environment=surroundings)

    def wait_for_printed(self, *runs: int) -> None:
        printed = [self.out / str(run) / "stderr" for run in runs]
        wait_until(
            lambda: all(one.exists() and one.stat().st_size for one in printed), "they print"
        )

    def end(self) -> tuple[int, str]:
        (self.here / "go").touch()
        _, told = self.process.communicate(timeout=LIMIT_SECONDS)
        return self.process.returncode, told

    def files(self, folder: str = "out") -> dict[str, str]:
        root = self.here / folder
        found = (path for path in sorted(root.rglob("*")) if path.is_file())
        named = {str(path.relative_to(root)): path.read_text("latin-1") for path in found}
        return {name: text for name, text in named.items() if not name.startswith(".sc/")}


@pytest.fixture
def trial(program: Program, tmp_path: Path) -> Iterator[Trial]:
    one = Trial(program, tmp_path, str(tmp_path / "out"))
    yield from _ended(one)


@pytest.fixture
def far(program: Program, tmp_path: Path, seaweed: S3Server, bucket: str) -> Iterator[Trial]:
    yield from _ended(Trial(program, tmp_path, f"s3://{bucket}/out", seaweed.environment()))


def _ended(one: Trial) -> Iterator[Trial]:
    try:
        yield one
    finally:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.communicate()


def removed(out: Path) -> None:
    shutil.rmtree(out)


def moved(out: Path) -> None:
    out.rename(out.parent / "elsewhere")


def moved_and_made_again(out: Path) -> None:
    moved(out)
    (out / "0").mkdir(parents=True)


def moved_and_linked(out: Path) -> None:
    moved(out)
    out.symlink_to("elsewhere")


def without_stdout(out: Path) -> None:
    for path in out.glob("*/stdout"):
        path.unlink()


def without_stderr(out: Path) -> None:
    for path in out.glob("*/stderr"):
        path.unlink()


WHOLE = {"stdout": "one\ntwo\n", "stderr": "err\n", "status_code": "0"}


@pytest.mark.parametrize(
    "hurt",
    [removed, moved, moved_and_made_again, moved_and_linked, without_stdout, without_stderr],
)
def test_removed_outputs_are_stored_whole_again(trial: Trial, hurt: Callable[[Path], None]) -> None:
    trial.start(WAIT, WAIT + RESULT)
    trial.wait_for_printed(0, 1)
    hurt(trial.out)
    assert trial.end()[0] == 0
    assert trial.files() == {
        **{f"0/{name}": text for name, text in WHOLE.items()},
        **{f"1/{name}": text for name, text in WHOLE.items()},
        "1/results/d/r": "r\n",
    }
    if hurt in (
        moved,
        moved_and_made_again,
    ):  # and what was moved is as it was, but for what was printed since
        assert sorted(trial.files("elsewhere")) == ["0/stderr", "0/stdout", "1/stderr", "1/stdout"]


def test_removed_outputs_of_a_failure_are_there_again(trial: Trial) -> None:
    trial.start(WAIT + "exit 3")
    trial.wait_for_printed(0)
    removed(trial.out)
    assert trial.end()[0] == 1
    assert trial.files() == {f"0/{n}": t for n, t in {**WHOLE, "status_code": "3"}.items()}


def replaced_by_a_file(out: Path) -> None:
    removed(out)
    out.write_text("mine")


def other_stdout(out: Path) -> None:
    removed(out)
    for name in ("0", "1"):
        (out / name).mkdir(parents=True)
        (out / name / "stdout").write_text("mine")


@pytest.mark.parametrize("hurt", [replaced_by_a_file, other_stdout])
def test_replaced_outputs_are_not_stored_and_what_replaced_them_stays(
    trial: Trial, hurt: Callable[[Path], None]
) -> None:
    trial.start(WAIT, WAIT + RESULT)
    trial.wait_for_printed(0, 1)
    hurt(trial.out)
    code, told = trial.end()
    assert (code, "2 not stored" in told) == (3, True), told
    assert not trial.out.is_dir() or set(trial.files().values()) == {"mine"}


def test_a_run_that_removes_its_own_output_folder_completes_whole(trial: Trial) -> None:
    trial.start(f"echo one; echo err >&2; rm -rf {trial.place}/0; echo two")
    assert trial.end()[0] == 0
    assert trial.files() == {f"0/{name}": text for name, text in WHOLE.items()}


def all_that_is_shown(out: Path) -> None:
    """As `rm -rf out/*` does: what begins with a dot stays."""
    for path in out.glob("[!.]*"):
        shutil.rmtree(path)


def one_run(out: Path) -> None:
    (out / "0").rename(out.parent / "kept")


@pytest.mark.parametrize("hurt", [removed, all_that_is_shown, one_run])
def test_outputs_of_runs_that_had_ended_are_told_as_gone(
    trial: Trial, hurt: Callable[[Path], None]
) -> None:
    trial.start("true", WAIT)
    trial.wait_for_printed(1)
    wait_until((trial.out / "0/status_code").exists, "the first has ended")
    hurt(trial.out)
    code, told = trial.end()
    assert code == 3
    assert "1 completed, 1 not stored" in told
    assert trial.files() == {f"1/{name}": text for name, text in WHOLE.items()}


def remove_temporary(trial: Trial) -> None:
    for path in (trial.here / "tmp").glob("sc-run-*"):
        shutil.rmtree(path)


def test_a_temporary_folder_that_was_removed_makes_its_runs_not_stored(far: Trial) -> None:
    far.start(WAIT, WAIT + RESULT)
    printed = (far.here / "tmp").glob
    wait_until(
        lambda: sum(one.stat().st_size > 0 for one in printed("sc-run-*/*/stderr")) == 2,
        "both print",
    )
    remove_temporary(far)
    code, told = far.end()
    assert (code, "2 not stored" in told) == (3, True), told
    again = far.program.run("batch", "b.json", cwd=far.here, environment=far.more)
    assert again.returncode == 0, again.stderr
    assert not [*(far.here / "tmp").glob("sc-run-*")]


@pytest.mark.parametrize("gone", [".sc/moved", "."])
def test_a_job_whose_keys_vanish_says_so_and_ends_with_3(trial: Trial, gone: str) -> None:
    trial.start(WAIT, WAIT, words=("split", "r.yaml", "b.json", "commands", "--start", "--wait"))
    trial.wait_for_printed(0, 1)
    (trial.out / gone).resolve().rename(trial.here / "elsewhere")
    _, told = trial.process.communicate(timeout=LIMIT_SECONDS)
    assert trial.process.returncode == 3, told
    assert "is gone" in told
    (trial.here / "go").touch()
    assert not [name for name in trial.files() if name.endswith("status_code")]


def test_a_job_on_s3_whose_keys_vanish_says_so_and_ends_with_3(
    far: Trial, seaweed: S3Server, bucket: str
) -> None:
    begun = far.here / "begun"
    command = f"touch {begun}; " + WAIT
    far.start(command, words=("split", "r.yaml", "b.json", "commands", "--start", "--wait"))
    wait_until(begun.exists, "a run has begun")
    client = seaweed.client()
    for entry in client.list_objects_v2(Bucket=bucket, Prefix="out/.sc/")["Contents"]:
        client.delete_object(Bucket=bucket, Key=entry["Key"])
    _, told = far.process.communicate(timeout=LIMIT_SECONDS)
    assert far.process.returncode == 3, told
    assert "is gone" in told
    (far.here / "go").touch()
