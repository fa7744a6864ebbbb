"""Somebody with `sc.pyz`, credentials and a recipe, in the box."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

from sc import paths
from tests.cloud.box import Cloud

JOB = f"nightly-{os.getpid()}"
"""No other test has a job of this name here, which would be meant as well."""


@dataclass(frozen=True)
class Laptop:
    cloud: Cloud
    pyz: Path
    folder: Path
    bucket: str

    @property
    def prefix(self) -> str:
        """All that the machines may use of the bucket."""
        return f"{self.bucket}/a'; echo foo"

    @property
    def output(self) -> str:
        return f"s3://{self.prefix}/ä"

    @property
    def job_url(self) -> str:
        return paths.job(self.output, JOB)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `sc.pyz` with these words, where the recipe and the batch lie."""
        return subprocess.Popen(
            [sys.executable, str(self.pyz), *words],
            cwd=self.folder,
            env=self.cloud.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run it to its end; what it said on both streams is in `stdout`."""
        process = self.start(*words)
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            raise AssertionError(
                f"sc {words} took longer than {seconds} s and said:\n{said}"
            ) from None
        return subprocess.CompletedProcess(process.args, process.returncode, said, "")

    def write(self, commands: Sequence[str], scale: int = 3, nprocs: int = 2, **spec: Any) -> None:
        """A recipe and a batch of these commands."""
        recipe = {"name": JOB, "instance_type": "r6a.large", "scale": scale, "max_hours": 5, **spec}
        runs = [{"cmd": command} for command in commands]
        batch = {"nprocs": nprocs, "remote_output_path": self.output, "runs": runs}
        (self.folder / "recipe.yaml").write_text(json.dumps({"type": "job", "spec": recipe}))
        (self.folder / "batch.json").write_text(json.dumps(batch))

    def split(self, seconds: float = 120) -> None:
        """Start the job. Back when its first worker is at work."""
        done = self.run("split", "recipe.yaml", "batch.json", "--start", seconds=seconds)
        assert done.returncode == 0, done.stdout

    def ended(self) -> int:
        """How many runs have ended."""
        return sum(1 for key in self.keys() if key.endswith("/status_code"))

    def codes(self) -> dict[str, int]:
        """Output path of each ended run, below the batch's -> its code."""
        found = {}
        for key in self.keys():
            if key.endswith("/status_code"):
                found[key[: -len("/status_code")]] = int(self.read(key) or b"-1")
        return found

    def keys(self) -> list[str]:
        """All keys below the batch's output path, relative to it, without the job's own."""
        pages = self._s3.get_paginator("list_objects_v2")
        start = self._key("")
        found = pages.paginate(Bucket=self.bucket, Prefix=start).search("Contents[].Key")
        names = [key[len(start) :] for key in found if key]
        return [name for name in names if not name.startswith(".sc/")]

    def read(self, key: str) -> bytes:
        answer = self._s3.get_object(Bucket=self.bucket, Key=self._key(key))
        return bytes(answer["Body"].read())

    def change_recipe(self, **facts: Any) -> None:
        """Change what the workers will be told of the job."""
        client, key = self._s3, self._key(f".sc/{JOB}/recipe.json")
        told = json.loads(client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        body = json.dumps({**told, **facts}).encode()
        client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def records(self) -> list[Mapping[str, Any]]:
        """What the workers noted of ended runs."""
        found: list[Mapping[str, Any]] = []
        client = self._s3
        start = self._key(f".sc/{JOB}/records/")
        for each in client.list_objects_v2(Bucket=self.bucket, Prefix=start).get("Contents", []):
            text = client.get_object(Bucket=self.bucket, Key=each["Key"])["Body"].read().decode()
            found.extend(json.loads(line) for line in text.splitlines())
        return found

    def over(self, seconds: float, what: Optional[str] = None) -> None:
        """Wait until nothing of the job costs anything any more."""
        self.cloud.wait(lambda: not self.cloud.leftovers(), seconds, what or "the job's end")

    @cached_property
    def _s3(self) -> Any:
        return self.cloud.s3.client()

    def _key(self, name: str) -> str:
        return self.output.split("/", 3)[3] + "/" + name
