"""Machines on which nothing works any more: each goes by itself, and its work is done by another one."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cloud.test_box import running

if TYPE_CHECKING:
    from tests.cloud.hypervisor import Boot
    from tests.cloud.laptop import Laptop

pytestmark = pytest.mark.bare

WAITS = "until test -e /run/go; do sleep 0.1; done; sh /run/go; echo done"
"""A run that does on each machine what the test has written down there."""
KILL_SHELL = "read -r shell _ </run/sc/pids; kill -TERM $shell; sleep 1; kill -KILL $shell"
"""As `pkill sh` does, since the bootstrap is one."""
KILL_BOTH = "kill -KILL $(cut -d ' ' -f 1 /run/sc/pids); sleep 1000"


def inside(boot: Boot, path: str) -> Path:
    """A file of a machine, as the host sees it."""
    assert boot.machine is not None
    return Path(f"/proc/{boot.machine.pid}/root{path}")


def is_up(boot: Boot) -> bool:
    """Whether its bootstrap has begun. Before it has its own root, what is written inside goes to the host."""
    has_begun = boot.machine is not None and boot.machine.pid is not None
    return has_begun and inside(boot, "/run/sc/pids").exists()


def go(boot: Boot, text: str) -> None:
    part = inside(boot, "/run/go.part")
    part.write_text(text + "\n")
    part.rename(part.with_name("go"))


def freeze(boot: Boot) -> None:
    """Nothing of sc's goes on there, but all of it still runs; and half an hour goes by."""
    assert boot.machine is not None
    for pid in boot.machine.processes():
        with suppress(OSError):
            if b"sc.pyz" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGSTOP)
    boot.machine.jump()


def test_machines_that_lose_their_user_space_go_and_their_work_is_done(laptop: Laptop) -> None:
    """The latter two have no systemd. There nothing survives `kill -9 -1`, as docs/aws-checklist.md says."""
    cloud = laptop.cloud
    kinds = iter([True, True, False, False])
    cloud.systemd = lambda: next(kinds, True)
    cloud.front.before("SetDesiredCapacity", lambda call: laptop.change_recipe(lease_seconds=20))
    laptop.write([WAITS] * 4, scale=4, nprocs=1)
    laptop.split()
    machines = running(cloud, 4)
    cloud.wait(lambda: all(inside(boot, "/run/sc/life").exists() for boot in machines), 60)
    deaths = {
        "kill -9 -1": "have been killed",
        "sleep 1000": "has given no sign of life for 18",
        "reboot -f": "has booted a second time",
        KILL_BOTH: "have been killed",
    }
    for boot, deadly in zip(machines, deaths):
        go(boot, deadly)
    freeze(machines[1])
    helped: set[str] = set()

    def job_is_over() -> bool:
        for boot in cloud.alive():
            if boot not in machines and boot.instance_id not in helped and is_up(boot):
                with suppress(OSError):  # it has just gone
                    go(boot, KILL_SHELL)
                    helped.add(boot.instance_id)
        return not cloud.leftovers()

    cloud.wait(job_is_over, 180, "the job's end")
    assert laptop.codes() == {str(n): 0 for n in range(4)}
    assert {laptop.read(f"{n}/stdout") for n in range(4)} == {b"done\n"}
    for boot, reason in zip(machines, deaths.values()):
        assert "sc-bootstrap: failed: th" in boot.console()
        assert reason in boot.console()
        assert boot.end == "off"
    assert [boot.end for boot in cloud.instances()[4:]] == ["terminated"] * len(helped)
    assert len(cloud.instances()) <= 8
