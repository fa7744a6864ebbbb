"""A real S3 server on this machine for the time of a measurement: SeaweedFS, its data in memory."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import equipment
from stopwatch import Failed

BUCKET = "bench"
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port", "metricsPort")
_KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret"}


@dataclass(frozen=True)
class Server:
    pid: int
    endpoint: str
    s5cmd: str
    metrics: str
    """The address where it tells Prometheus what it has done."""

    def environment(self) -> dict[str, str]:
        """What points boto3, s3fs and s5cmd alike at this server."""
        return {
            **_KEYS,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def run(self, *words: str) -> str:
        """What s5cmd prints when asked this. Raises Failed when it says no."""
        env = {**os.environ, **self.environment()}
        done = subprocess.run([self.s5cmd, *words], env=env, capture_output=True)
        if done.returncode != 0:
            raise Failed(f"s5cmd {words[0]}: {done.stderr.decode(errors='replace')[-300:]}")
        return done.stdout.decode()

    def requests(self) -> int:
        """How many requests of S3 it has answered since its start."""
        with urllib.request.urlopen(f"{self.metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.findall(r"(?m)^SeaweedFS_s3_request_total{.*} (\S+)$", text)
        return int(sum(map(float, found)))


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """The server with an empty bucket, answering; ended and gone when the block is left."""
    tools = equipment.peers()
    data = folder / "seaweedfs"
    data.mkdir()
    ports = _free_ports(len(_PORTS))
    words = [f"-{name}={port}" for name, port in zip(_PORTS, ports)]
    command = [str(tools / "weed"), "server", f"-dir={data}", "-ip=127.0.0.1", "-s3", *words]
    command += ["-volume.max=100", "-master.volumeSizeLimitMB=1024", "-master.telemetry=false"]
    # These two have ports of their own by default, on which a second server would end.
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with (folder / "seaweedfs.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **_KEYS},
            cwd=data,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        endpoint, metrics = (f"http://127.0.0.1:{ports[n]}" for n in (3, 4))
        found = Server(process.pid, endpoint, str(tools / "s5cmd"), metrics)
        _wait_until_it_answers(found, process)
        yield found
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_it_answers(found: Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        if process.poll() is not None:
            raise equipment.Missing(
                "SeaweedFS ended at its start; read what `weed server -s3` says"
            )
        try:
            found.run("mb", f"s3://{BUCKET}")
            found.run("ls", f"s3://{BUCKET}")
            return
        except Failed:
            if time.monotonic() > end:
                raise equipment.Missing("SeaweedFS did not answer within a minute") from None
        time.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    """Ports below 20000, since SeaweedFS takes each port + 10000 for itself too."""
    found: list[int] = []
    for port in range(11000 + os.getpid() % 4000, 19000):
        if _is_free(port) and _is_free(port + 10000):
            found.append(port)
            if len(found) == count:
                break
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
