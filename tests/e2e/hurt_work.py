"""A batch of known outputs, done by the real sc through a faulty line; and proof that nothing was lost or left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from tests.e2e.program import Program
from tests.faulty_s3 import FaultyLine
from tests.processes.conftest import ROOT, all_processes, environment, wait_until
from tests.servers import S3Server

TOKEN = "SC_TEST_HURT"
LARGE_BYTES = 17_500_000
"""More than one part of an upload."""
KINDS_OF_RUNS = 12


def command(number: int) -> dict[str, Any]:
    """One run: of every dozen one fails, one is tried again, one is too slow, one is silent, one has a few MB."""
    results = '"$SATURN_RUN_LOCAL_RESULTS_DIR"'
    kind = number % KINDS_OF_RUNS
    said = f"echo out {number}; echo err {number} >&2; "
    if kind == 1:
        return {"cmd": f"{said}printf half > {results}/half; exit {number % 100 + 1}"}
    if kind == 2:
        return {"cmd": f"{said}[ $SATURN_RUN_ATTEMPT = 2 ]", "retries": 2}
    if kind == 3:
        return {"cmd": f"{said}exec sleep 600", "timeout": 3.0}
    if kind == 4:
        return {"cmd": ":"}
    if kind == 5:
        return {"cmd": f"{said}yes 'line {number}' | head -c 3000000 > {results}/some"}
    return {"cmd": f"{said}mkdir {results}/a; printf '%s' {number} > {results}/a/b"}


def outputs(number: int) -> tuple[int, Mapping[str, bytes]]:
    """What that run has to leave: its code, and its files by their names below its path."""
    kind = number % KINDS_OF_RUNS
    out, err = (b"%s %d\n" % (word, number) for word in (b"out", b"err"))
    files = {"stdout": out, "stderr": err}
    code = {1: number % 100 + 1, 3: 124}.get(kind, 0)
    if kind == 1:
        files["results/half"] = b"half"
    elif kind == 2:
        files = {**files, "attempts/1/stdout": out, "attempts/1/stderr": err}
    elif kind == 4:
        files = {"stdout": b"", "stderr": b""}
    elif kind == 5:
        files["results/some"] = repeated(b"line %d\n" % number, 3_000_000)
    elif kind != 3:
        files["results/a/b"] = b"%d" % number
    return code, {**files, "status_code": b"%d" % code}


def run_of(key: str) -> str:
    """`out/<number>`."""
    return "/".join(key.split("/", 2)[:2])


def repeated(line: bytes, size: int) -> bytes:
    return (line * (size // len(line) + 1))[:size]


class HurtWork:
    """One batch in a bucket of its own: its commands, and everything that is looked at afterwards."""

    def __init__(
        self,
        folder: Path,
        program: Program,
        server: S3Server,
        runs: int,
        large: int = 0,
        before: str = "",
    ) -> None:
        """`before`: what each run that is not too slow does first, in the words of a shell."""
        self.folder, self.server, self.runs, self.large = folder, server, runs, large
        self.bucket = server.bucket()
        self.out = f"s3://{self.bucket}/out"
        self.temp = folder / "temp"
        self.temp.mkdir(parents=True)
        self._said = folder / "said"
        self._program, self._token = program, uuid.uuid4().hex
        self._client = server.client()
        commands = [command(number) for number in range(runs)]
        for one in commands:
            if "timeout" not in one:  # which is for what it prints, and no more
                one["cmd"] = before + one["cmd"]
        for number in range(large):
            into = f'head -c {LARGE_BYTES} > "$SATURN_RUN_LOCAL_RESULTS_DIR/large"'
            commands.append({"cmd": f"yes 'large {number}' | {into}"})
        batch = {"remote_output_path": self.out, "nprocs": 4, "runs": commands}
        (folder / "batch.json").write_text(json.dumps(batch))
        spec = {"name": "hurt", "instance_type": "local", "scale": 2}
        (folder / "recipe.yaml").write_text(json.dumps({"type": "job", "spec": spec}))

    # Commands

    def surroundings(self, line: Optional[FaultyLine]) -> dict[str, str]:
        """Through the line, or straight to the server."""
        where = (line or self.server).environment()
        return {**where, TOKEN: self._token, "TMPDIR": str(self.temp)}

    def run(self, line: Optional[FaultyLine], *words: str) -> subprocess.CompletedProcess[str]:
        """`sc` to its end, without a traceback."""
        done = self._program.run(*words, cwd=self.folder, environment=self.surroundings(line))
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(
        self, line: FaultyLine, *words: str, more: Optional[Mapping[str, str]] = None
    ) -> subprocess.Popen[str]:
        """`sc` in the background, what it says in a file; see `said`."""
        with self._said.open("ab") as said:
            return subprocess.Popen(
                [*self._program.words, *words],
                cwd=self.folder,
                env={**self._program.surroundings(self.surroundings(line)), **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )

    def execute(self, line: FaultyLine, **plan: Any) -> subprocess.Popen[str]:
        """The same runs by the executor, of which a test may choose the plan; see tests/processes/driver.py."""
        runs = json.loads((self.folder / "batch.json").read_text())["runs"]
        for number, run in enumerate(runs):
            run["remote_output_path"] = f"{self.out}/{number}"
        plan = {"nprocs": 4, "machine": "m", "temp_folder": str(self.temp), **plan}
        spec = self.folder / "spec.json"
        spec.write_text(json.dumps({"runs": runs, "plan": plan, "far": ""}))
        around = {**os.environ, **self.surroundings(line)}
        with self._said.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.processes.driver", str(spec)],
                cwd=ROOT,
                env=around,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )

    def said(self) -> str:
        """What all that was started has said, without a traceback."""
        said = self._said.read_text()
        assert "Traceback" not in said, said
        return said

    # What has to be there

    def expected(self) -> Mapping[str, bytes]:
        """All outputs by their keys."""
        found = {
            f"out/{number}/{name}": data
            for number in range(self.runs)
            for name, data in outputs(number)[1].items()
        }
        for number in range(self.large):
            place = f"out/{self.runs + number}"
            found[f"{place}/results/large"] = repeated(b"large %d\n" % number, LARGE_BYTES)
            found.update({f"{place}/stdout": b"", f"{place}/stderr": b""})
            found[f"{place}/status_code"] = b"0"
        return found

    @property
    def failures(self) -> int:
        return sum(outputs(number)[0] != 0 for number in range(self.runs))

    def stored(self) -> Mapping[str, bytes]:
        """All outputs by their keys, read straight from the server, without what jobs keep."""
        keys = [key for key in self.keys() if not key.startswith("out/.sc/")]
        return {
            key: self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys
        }

    def keys(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def assert_all_is_right(self) -> None:
        """Every output of every run, byte for byte, and nothing else; and nothing left."""
        expected, stored = self.expected(), self.stored()
        assert sorted(stored) == sorted(expected)
        assert [key for key, data in expected.items() if stored[key] != data] == []
        self.assert_nothing_left()

    def assert_stored_or_kept(self, kept: Path, count: int) -> None:
        """Every run that has ended is stored whole or kept whole in this folder, and no process is left."""
        wait_until(lambda: not self.processes(), "no process is left", 20)
        expected, found = self.expected(), dict(self.stored())
        documents = [
            (path.parent, json.loads(path.read_text())) for path in kept.glob("*/run.json")
        ]
        assert len({one["remote_output_path"] for _, one in documents}) == count > 0
        for folder, document in documents:
            key = document["remote_output_path"].partition(f"{self.bucket}/")[2]
            below = "" if document["code"] is not None else f"attempts/{document['attempt']}/"
            for path in filter(Path.is_file, folder.rglob("*")):
                name = str(path.relative_to(folder))
                if name != "run.json":
                    found[f"{key}/{below}{name}"] = path.read_bytes()
            if document["code"] is not None:
                found[f"{key}/status_code"] = b"%d" % document["code"]
        ended = {key.rsplit("/", 1)[0] for key in found if key.endswith("/status_code")}
        wanted = {key: data for key, data in expected.items() if run_of(key) in ended}
        assert {key: found.get(key) for key in wanted} == wanted
        assert sorted(os.listdir(self.temp)) == [kept.name]

    def assert_nothing_left(self) -> None:
        """No upload that has begun, no process, no temporary file."""
        uploads = self._client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        assert [one["Key"] for one in uploads] == []
        wait_until(lambda: not self.processes(), "no process is left", 20)
        assert sorted(os.listdir(self.temp)) == []

    def codes_stored(self) -> int:
        return sum(key.endswith("/status_code") for key in self.keys())

    def has_stored(self, codes: int) -> bool:
        return self.codes_stored() >= codes

    def processes(self) -> list[int]:
        """All live processes that this work started."""
        return [pid for pid in all_processes() if self._token.encode() in environment(pid)]

    def end_all(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
