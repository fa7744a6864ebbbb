"""The fixture `cloud`: a fresh cloud in a box per test, or a skip that says what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import S3Server

if TYPE_CHECKING:
    from tests.cloud.box import Cloud
    from tests.cloud.laptop import Laptop


def missing() -> str:
    """Why there can be no box here, or nothing."""
    if os.geteuid() != 0:
        return "the cloud in a box needs root"
    if shutil.which("debootstrap") is None:
        return "the cloud in a box needs debootstrap"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One of these at a time: they start jobs as a person would, from the same folder of commands."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("cloud"))


@pytest.fixture
def cloud(tmp_path: Path, seaweed: S3Server) -> Iterator[Cloud]:
    if missing():
        pytest.skip(missing())
    pytest.importorskip("moto", minversion="5.2", reason="the box needs moto[server] >= 5.2")
    from tests.cloud.box import Cloud

    with Cloud(tmp_path, seaweed) as box:
        yield box
    assert box.hypervisor.errors == []


@pytest.fixture
def new_laptop(cloud: Cloud, bucket: str, pyz: Path, tmp_path: Path) -> Laptop:
    """A laptop before `sc setup`."""
    from tests.cloud.laptop import Laptop

    folder = tmp_path / "laptop"
    folder.mkdir()
    return Laptop(cloud, pyz, folder, bucket)


@pytest.fixture
def laptop(new_laptop: Laptop, bucket: str) -> Laptop:
    """A laptop for which `sc setup` was run."""
    return set_up(new_laptop, bucket)


def set_up(new: Laptop, area: str) -> Laptop:
    """Have machines use a bucket, or a prefix of it."""
    done = new.run("setup", "--bucket", area)
    assert done.returncode == 0, done.stdout
    return new
