"""Commands that come from a job's place are executed here only if whoever sits here says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.left_workers import end_workers
from tests.e2e.program import Program
from tests.e2e.seat import Seat
from tests.servers import S3Server

QUESTION = "Execute this here"


class Shared:
    """A job on S3 whose place somebody else has written to, and an empty folder elsewhere."""

    def __init__(self, program: Program, folder: Path, server: S3Server, bucket: str) -> None:
        self.program, self.server, self.bucket = program, server, bucket
        self.home, self.elsewhere = folder / "home", folder / "elsewhere"
        self.home.mkdir()
        self.elsewhere.mkdir()
        self.place = f"s3://{bucket}/out"
        self.url = f"{self.place}/.sc/job"
        self.environment = dict(server.environment())
        self.seats: list[Seat] = []
        batch = {"remote_output_path": self.place, "nprocs": 2}
        runs = [{"cmd": f"echo ran{n} $COLOUR"} for n in range(7)]
        (self.home / "batch.json").write_text(json.dumps({**batch, "runs": runs}))
        spec = {"name": "job", "instance_type": "local"}
        spec["environment_variables"] = {"COLOUR": "blue"}  # type: ignore[assignment]
        (self.home / "recipe.yaml").write_text(json.dumps({"type": "job", "spec": spec}))
        words = ["split", "recipe.yaml", "batch.json", "cut", "--start", "--wait"]
        done = self.call(*words, folder=self.home)
        assert done.returncode == 0, done.stderr

    def call(self, *words: str, folder: Path) -> Any:
        return self.program.run(*words, cwd=folder, environment=self.environment)

    def sit(self, *words: str, folder: Path, answer: str) -> Seat:
        seat = Seat(self.program, words, folder, self.environment, QUESTION, [answer])
        self.seats.append(seat)
        return seat

    def change(self, name: str, **more: Any) -> bytes:
        """What somebody else does to a document of the job; returns what was there."""
        client, key = self.server.client(), f"out/.sc/job/{name}"
        before: bytes = client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        document = json.loads(before)
        if "runs" in more:
            document["runs"] = [{**run, **more["runs"]} for run in document["runs"]]
        else:
            document.update(more)
        self.put(name, json.dumps(document).encode())
        return before

    def put(self, name: str, data: bytes) -> None:
        key = f"out/.sc/job/{name}"
        self.server.client().put_object(Bucket=self.bucket, Key=key, Body=data)

    def stored(self) -> dict[str, str]:
        found = self.server.client().list_objects_v2(Bucket=self.bucket, Prefix="out/")
        return {one["Key"]: one["ETag"] for one in found["Contents"]}


@pytest.fixture
def shared(program: Program, tmp_path: Path, seaweed: S3Server, bucket: str) -> Iterator[Shared]:
    one = Shared(program, tmp_path, seaweed, bucket)
    yield one
    for seat in one.seats:
        seat.close()
    end_workers(one.place)


def test_commands_of_a_jobs_place_are_asked_about_once(shared: Shared) -> None:
    shared.change("parts/0.json", runs={"cmd": "touch evil; printf '\x1b]0;x\x07'"})
    before, there = shared.stored(), shared.elsewhere
    for words in (["0"], ["0", "--save"], ["--incomplete", "--save"], ["0", "--shell"]):
        done = shared.call("rerun", shared.url, *words, folder=there)
        assert done.returncode == 2, done.stderr
        assert f"rerun {shared.url} {words[0]}" in done.stderr.replace("'", "")
        assert "--yes" in done.stderr.splitlines()[-1]
        assert "\x1b" not in done.stderr
        assert r"printf '\x1b]0;x\x07'" in done.stderr
        assert "with the variables COLOUR" in done.stderr
    for answer in ("n\n", "\n", "\x04"):
        seat = shared.sit("rerun", shared.url, "0", "1", "--save", folder=there, answer=answer)
        assert (seat.end(), seat.questions) == (2, 1), seat.text
        assert "nothing was executed" in seat.text
    evil = shared.home / "evil"  # where its runs begin, since that folder is here
    assert (shared.stored(), evil.exists()) == (before, False)
    seat = shared.sit("rerun", shared.url, "0", "1", folder=there, answer="y\n")
    assert (seat.end(), seat.questions) == (0, 1), seat.text
    evil.unlink()
    done = shared.call("rerun", shared.url, "0", "--yes", folder=there)
    assert done.returncode == 0, done.stderr
    assert evil.exists()


def test_what_files_at_hand_say_is_not_asked_about(shared: Shared) -> None:
    there = shared.elsewhere
    for folder, words in [
        (shared.home, ["rerun", shared.url, "0", "6"]),
        (shared.home, ["rerun", "batch.json", "0"]),
        (shared.home, ["rerun", "cut", "0"]),
        (there, ["rerun", "../home/cut", "0"]),
    ]:
        done = shared.call(*words, folder=folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("ran0 blue\n")
    batch = json.loads((shared.home / "batch.json").read_text())
    del batch["remote_output_path"]  # as it was split with --remote-output-path
    (shared.home / "batch.json").write_text(json.dumps(batch))
    assert shared.call("rerun", shared.url, "0", folder=shared.home).returncode == 0
    batch["remote_output_path"] = shared.place
    (shared.home / "batch.json").write_text(json.dumps(batch))
    # The recipe is not at hand, and what a bucket gives to runs may execute anything.
    shutil.copy(shared.home / "batch.json", there)
    assert shared.call("rerun", "batch.json", "0", folder=there).returncode == 2
    shutil.copy(shared.home / "recipe.yaml", there)
    folder_of_job = shared.call("rerun", "batch.json", "0", folder=there)
    assert folder_of_job.returncode == 2, "its runs would begin in another folder"
    shared.change("recipe.json", folder="")
    done = shared.call("rerun", "batch.json", "0", folder=there)
    assert (done.returncode, done.stdout) == (0, "ran0 blue\n"), done.stderr


def test_what_differs_from_files_at_hand_is_asked_about(shared: Shared) -> None:
    changes: list[tuple[str, Any, str]] = [
        ("parts/0.json", {"runs": {"cmd": "touch evil"}}, ": touch evil"),
        ("parts/0.json", {"runs": {"env": {"LD_PRELOAD": "/tmp/x"}}}, "with LD_PRELOAD=/tmp/x"),
        ("parts/0.json", {"runs": {"working_directory": "/tmp"}}, "in /tmp"),
        ("parts/0.json", {"runs": {"local_results_dir": "/tmp/mine"}}, "empties /tmp/mine"),
        ("recipe.json", {"environment_variables": {"PATH": "/tmp/x"}}, "with PATH=/tmp/x"),
        ("recipe.json", {"environment_variables": {"A": "1", "B": "2"}}, "the variables A, B"),
        ("recipe.json", {"working_directory": "/tmp"}, "in the folder /tmp"),
    ]
    for name, change, told in changes:
        before = shared.change(name, **change)
        done = shared.call("rerun", shared.url, "0", folder=shared.home)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
        shared.put(name, before)


def test_a_worker_by_hand_is_asked_on_a_terminal(shared: Shared) -> None:
    shared.change("recipe.json", start_script="touch evil")
    there = shared.elsewhere
    for answer, code in (("n\n", 2), ("y\n", 0)):
        seat = shared.sit("work", shared.url, folder=there, answer=answer)
        assert (seat.end(), seat.questions) == (code, 1), seat.text
        assert "after the start script: touch evil" in seat.text
    assert shared.call("work", shared.url, folder=there).returncode == 0
    assert shared.call("work", shared.url, "--yes", folder=there).returncode == 0
