"""A run that the kernel kills for want of memory, in a control group of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes.conftest import Execution, wait_until

LIMIT_BYTES = 200 << 20
HUNGRY = "x = [bytearray(1 << 20) for _ in range(1000)]"


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with little memory, of version 1 or 2. Who is moved there stays."""
    if os.geteuid() != 0:
        pytest.skip("making a control group needs root")
    parent, limit = _memory_group()
    group = parent / f"sc-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(LIMIT_BYTES))
    except OSError as error:
        pytest.skip(f"this machine lets nobody make a control group: {error}")
    try:
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()


def _memory_group() -> tuple[Path, str]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path(f"/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"
    return Path("/sys/fs/cgroup"), "memory.max"


def oom_kills(group: Path) -> int:
    """How many processes of the group the kernel has killed for want of memory."""
    files = [group / "memory.events", group / "memory.oom_control"]
    (told,) = [file.read_text().split() for file in files if file.exists()]
    return int(told[told.index("oom_kill") + 1])


def test_the_cause_says_oom(
    near: Execution, small_group: Path, record_property: Callable[[str, object], None]
) -> None:
    # It looks for its group when it begins, and has to be in it by then.
    go_there = f'echo $$ >{small_group}/cgroup.procs && exec "$@"'
    near.start(
        {"cmd": f"exec {sys.executable} -c '{HUNGRY}'"},
        {"cmd": f"{sys.executable} -c '{HUNGRY}'; exit $?"},
        {"cmd": "kill -9 $$"},
        nprocs=1,
        before=["sh", "-c", go_there, "sh"],
    )
    ended = near.finish()
    assert [(one.code, one.cause) for one in ended] == [
        (137, "oom"),
        (137, "oom"),
        (137, "signal"),
    ]
    record_property("oom_kill", oom_kills(small_group))
    assert oom_kills(small_group) == 2
