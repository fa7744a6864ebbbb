"""Machines of all kinds of roots, and all the ways in which one can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cloud.test_box import SLEEP, ended, group, running, start

if TYPE_CHECKING:
    from tests.cloud.box import Cloud

pytestmark = pytest.mark.bare

WHAT_IS_THERE = (
    "#!/bin/sh\n"
    "there() { for each; do command -v $each >/dev/null && printf '%s ' $each; done; echo .; }\n"
    "there python3 curl apt-get dnf dpkg\n"
)


@pytest.mark.parametrize(
    ("image", "there"),
    [
        ("trixie", "python3 curl apt-get dpkg ."),
        ("bare", "."),
        ("without-curl", "python3 apt-get dpkg ."),
        ("without-python", "curl ."),
    ],
)
def test_images_have_what_their_name_says(cloud: Cloud, image: str, there: str) -> None:
    boot = start(cloud, WHAT_IS_THERE + "poweroff", image)
    ended(cloud, boot)
    assert there in boot.console().splitlines()


@pytest.mark.parametrize(("image", "manager"), [("apt", "apt-get"), ("dnf", "dnf")])
def test_a_package_manager_brings_what_is_lacking(cloud: Cloud, image: str, manager: str) -> None:
    install = (
        f"{manager} install -y nothing || echo no nothing; {manager} install -y python3 curl\n"
    )
    use = "there python3 curl; python3 -c 'import json; print(json.dumps([1]))'; curl --version\n"
    boot = start(cloud, WHAT_IS_THERE + install + use + "poweroff", image)
    ended(cloud, boot)
    lines = boot.console().splitlines()
    assert f"{manager} ." in lines
    assert lines.index("python3 curl .") < lines.index("[1]")
    assert "no nothing" in lines
    assert any(line.startswith("curl 7.") for line in lines)


@pytest.mark.parametrize(
    ("behaviour", "how", "state"),
    [
        ("terminate", "systemctl poweroff", "terminated"),
        ("stop", "/sbin/halt", "stopped"),
        ("terminate", "shutdown -h +5; shutdown -c; shutdown -P now", "terminated"),
    ],
)
def test_switching_itself_off(cloud: Cloud, behaviour: str, how: str, state: str) -> None:
    script = "#!/bin/sh\ntrap 'echo told to go' TERM\n" + how + "\nwhile :; do sleep 0.1; done\n"
    boot = start(cloud, script, InstanceInitiatedShutdownBehavior=behaviour)
    ended(cloud, boot)
    assert (boot.end, boot.state) == ("off", state)
    assert "told to go" in boot.console()
    assert cloud.processes() == []


def test_a_machine_whose_user_data_ends_goes_on(cloud: Cloud) -> None:
    boot = start(cloud, "#!/bin/sh\n(sleep 1000) &\nexit 7\n")
    cloud.wait(lambda: boot.user_data_code is not None)
    assert (boot.user_data_code, boot.alive, boot.state) == (7, True, "running")
    cloud.client("ec2").terminate_instances(InstanceIds=[boot.instance_id])
    ended(cloud, boot)
    assert boot.end == "terminated"


def test_uneven_zones_cost_busy_machines_unless_rebalancing_is_suspended(cloud: Cloud) -> None:
    for zone in ("us-east-1b", "us-east-1c"):
        cloud.groups.no_capacity.add(("*", zone))
    scaling = group(cloud, SLEEP, 2)
    first = running(cloud, 2)
    assert {boot.zone for boot in first} == {"us-east-1a"}
    scaling.suspend_processes(AutoScalingGroupName="sc-test", ScalingProcesses=["AZRebalance"])
    cloud.groups.no_capacity.clear()
    scaling.describe_auto_scaling_groups()
    assert cloud.groups.rebalances == 0
    scaling.resume_processes(AutoScalingGroupName="sc-test", ScalingProcesses=["AZRebalance"])
    cloud.wait(lambda: cloud.groups.rebalances, what="AZRebalance")
    cloud.wait(lambda: len({boot.zone for boot in running(cloud, 2)}) == 2)


def test_nothing_outlives_the_process_that_made_the_box(tmp_path: Path, checkout: Path) -> None:
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from tests.cloud.box import Cloud
        from tests.cloud.test_box import start
        from tests.servers import s3_server
        folder = Path(sys.argv[1])
        with s3_server(folder / "s3") as s3, Cloud(folder / "cloud", s3) as cloud:
            boot = start(cloud, "#!/bin/sh\\nsetsid sleep 1000 & exec sleep 1000\\n")
            cloud.wait(lambda: len(cloud.processes()) > 2)
            print(boot.machine.pid, flush=True)
            time.sleep(600)
    """)
    pytest.importorskip("moto", minversion="5.2")
    words = [sys.executable, "-c", program, str(tmp_path)]
    maker = subprocess.Popen(words, cwd=checkout, stdout=subprocess.PIPE, text=True)
    with maker:
        assert maker.stdout is not None
        namespace = open(f"/proc/{int(maker.stdout.readline())}/ns/pid")  # noqa: SIM115
        maker.send_signal(signal.SIGKILL)
    with namespace:
        number = os.fstat(namespace.fileno()).st_ino
        limit = time.monotonic() + 20
        while members(number) and time.monotonic() < limit:
            time.sleep(0.05)
        assert members(number) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def members(namespace: int) -> list[str]:
    """The processes in a pid namespace, which somebody has to hold open: numbers are used again."""
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdecimal() and os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                found.append(name)
    return found
