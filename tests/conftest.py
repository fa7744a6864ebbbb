"""What every test may ask for. The machinery is in tests/servers.py (S3) and tests/machines.py (bare machines)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.servers import S3Server, plain_s3_server, s3_server

STRANGERS = ("AWS_", "SC_", "SATURN_", "SHIV_", "PYTHON", "CUDA_VISIBLE_DEVICES", "NO_COLOR")
"""Variables of whoever starts the tests that would lead them elsewhere."""

# How long an input takes is asserted nowhere: a busy machine would be the one to fail.
settings.register_profile("sc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sc")


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> None:
    for name in list(os.environ):
        if name.startswith(STRANGERS):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


@pytest.fixture(scope="session", autouse=True)
def _own_signals() -> None:
    """A shell ignores SIGINT and SIGQUIT for what it starts in the background, and `nohup` SIGHUP; so would all that
    tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def clock() -> Clock:
    """What the storage in memory goes by."""
    return Clock()


@pytest.fixture
def storage(clock: Clock) -> MemoryStorage:
    """In memory; tests of other storages have their own."""
    return MemoryStorage(clock)


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server (SeaweedFS), the same for all tests of the session."""
    with s3_server(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def bucket(seaweed: S3Server) -> str:
    """The name of a bucket that nobody else uses."""
    return seaweed.bucket()


@pytest.fixture
def s3_environment(seaweed: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process (and its children) led to it by the environment."""
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    return seaweed


@pytest.fixture(scope="session")
def s3rver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server of another dialect: no conditional writes, listed keys that are not encoded; see tests.servers."""
    with plain_s3_server(tmp_path_factory.mktemp("s3rver")) as server:
        yield server


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder with pyproject.toml."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def pyz(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real sc.pyz, made from this checkout for this session."""
    made = tmp_path_factory.mktemp("dist") / "sc.pyz"
    done = subprocess.run(
        ["./build.sh", "build", str(made)],
        cwd=checkout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        pytest.fail(f"./build.sh build failed:\n{done.stdout}", pytrace=False)
    return made
