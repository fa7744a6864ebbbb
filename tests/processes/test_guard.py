"""The guard of a machine on EC2, run by a shell over a made-up /proc, with programs that only note their calls."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest

from sc.fleets.bootstrap import (
    GUARD_SECONDS,
    PROOF_SECONDS,
    SILENT_SECONDS,
    SLACK_SECONDS,
    START_SECONDS,
    guard,
)
from tests.processes.conftest import wait_until

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
OFF = ("systemctl", "shutdown", "poweroff", "halt")
BEGUN = 100
"""Seconds after the boot at which the bootstrap begins."""


class Machine:
    """What the guard sees of one."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder, self.shell = folder, shell
        self.bin = folder / "bin"
        for name in (
            "bin",
            "proc/sys/kernel/random",
            "sys/class/dmi/id",
            "sys/hypervisor",
            "run",
            "dev",
            "var/lib/sc-guard",
            "var/lib/cloud/data",
        ):
            (folder / name).mkdir(parents=True)
        self.program("sleep", "exit 0")
        self.program("timeout", 'shift 3; exec "$@"')
        for name in OFF:
            self.program(name, f"echo {name} $* >>{folder}/off; kill $PPID")
        self.boot("first")
        self.is_instance("i-1")
        self.up(BEGUN)
        # Whatever it does is done below the folder.
        text = re.sub(r"(?<![\w}])/(proc|sys|run|var|dev/console)\b", rf"{folder}/\1", guard())
        assert text.count("PATH=/usr/local/sbin:") == 1
        text = text.replace("PATH=/usr/local/sbin:", f"PATH={self.bin}:/usr/local/sbin:")
        (folder / "guard").write_text(text)
        (folder / "guard").chmod(0o755)
        self.process(10)
        self.call("begin")
        self.call("note", "10")

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def process(self, pid: int, started: int = 5000, state: str = "S", name: str = "sh") -> None:
        (self.folder / f"proc/{pid}").mkdir(exist_ok=True)
        fields = [state, *["0"] * 18, str(started), "0", "0"]
        (self.folder / f"proc/{pid}/stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")

    def ends(self, pid: int) -> None:
        shutil.rmtree(self.folder / f"proc/{pid}")

    def boot(self, identity: str) -> None:
        (self.folder / "proc/sys/kernel/random/boot_id").write_text(identity + "\n")

    def is_instance(self, identity: str) -> None:
        (self.folder / "sys/class/dmi/id/board_asset_tag").write_text(identity + "\n")
        (self.folder / "var/lib/cloud/data/instance-id").write_text(identity + "\n")

    def up(self, seconds: float) -> None:
        (self.folder / "proc/uptime").write_text(f"{seconds:.2f} 12.34\n")

    def life(self, seconds: int) -> None:
        (self.folder / "run/sc/life").write_bytes(b"%10d\n" % seconds)

    def worker(self) -> None:
        """It was started, and has taken a part."""
        self.process(11, name="python3 a) b (c")
        self.call("note", "11")
        self.life(BEGUN + 60)

    def call(self, *words: str) -> str:
        shell = ["busybox", "sh"] if self.shell == "busybox" else [self.shell]
        done = subprocess.run(
            [*shell, str(self.folder / "guard"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.stdout

    def reason(self) -> Optional[str]:
        """Why it was switched off, if it was."""
        said = self.call()
        if not (self.folder / "off").exists():
            assert said == ""
            return None
        return said.split("failed: ", 1)[1].splitlines()[0]


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


def at_work(machine: Machine) -> None:
    machine.worker()


def shell_killed(machine: Machine) -> None:
    machine.worker()
    machine.ends(10)


def still_booting(machine: Machine) -> None:
    machine.up(BEGUN + START_SECONDS + SLACK_SECONDS - 1)


def in_its_start_script(machine: Machine) -> None:
    machine.process(11)
    machine.call("note", "11")
    machine.up(BEGUN + START_SECONDS + PROOF_SECONDS + SLACK_SECONDS - 1)


def slow(machine: Machine) -> None:
    machine.worker()
    machine.up(BEGUN + 60 + SILENT_SECONDS - 1)


def long_at_work(machine: Machine) -> None:
    machine.worker()
    machine.up(900_000)
    machine.life(899_990)


def of_an_image(machine: Machine) -> None:
    """Made of a machine of sc's, files and timer included."""
    machine.boot("second")
    machine.is_instance("i-2")
    machine.ends(10)


def without_what_was_noted(machine: Machine) -> None:
    machine.worker()
    (machine.folder / "run/sc/pids").unlink()
    (machine.folder / "var/lib/sc-guard/first").unlink()


STAYS = [
    at_work,
    shell_killed,
    still_booting,
    in_its_start_script,
    slow,
    long_at_work,
    of_an_image,
    without_what_was_noted,
]


@pytest.mark.parametrize("happens", STAYS)
def test_guard_of_a_machine_that_works_does_nothing(
    machine: Machine, happens: Callable[[Machine], None]
) -> None:
    happens(machine)
    assert machine.reason() is None


def boots_again(machine: Machine) -> None:
    machine.worker()
    machine.boot("second")


def user_space_killed(machine: Machine) -> None:
    machine.worker()
    machine.ends(10)
    machine.ends(11)


def pids_used_again(machine: Machine) -> None:
    machine.worker()
    machine.process(10, started=9000)
    machine.process(11, started=9000)


def nobody_has_buried_them(machine: Machine) -> None:
    machine.worker()
    machine.process(10, state="Z")
    machine.process(11, state="X")


def killed_before_a_worker_was_there(machine: Machine) -> None:
    machine.ends(10)


def cloud_init_purged(machine: Machine) -> None:
    user_space_killed(machine)
    shutil.rmtree(machine.folder / "var/lib/cloud")


def frozen(machine: Machine) -> None:
    machine.worker()
    machine.up(BEGUN + 60 + SILENT_SECONDS)


def sign_of_life_damaged(machine: Machine) -> None:
    machine.worker()
    (machine.folder / "run/sc/life").write_text("nonsense\n")
    machine.up(SILENT_SECONDS)


def never_started(machine: Machine) -> None:
    machine.up(BEGUN + START_SECONDS + SLACK_SECONDS)


def never_proved(machine: Machine) -> None:
    machine.process(11)
    machine.call("note", "11")
    machine.up(BEGUN + START_SECONDS + PROOF_SECONDS + SLACK_SECONDS)


GOES: dict[Callable[[Machine], None], str] = {
    boots_again: "this machine has booted a second time",
    user_space_killed: "the worker and the bootstrap have been killed",
    pids_used_again: "the worker and the bootstrap have been killed",
    nobody_has_buried_them: "the worker and the bootstrap have been killed",
    killed_before_a_worker_was_there: "the worker and the bootstrap have been killed",
    cloud_init_purged: "the worker and the bootstrap have been killed",
    frozen: f"the worker has given no sign of life for {SILENT_SECONDS} s",
    sign_of_life_damaged: f"the worker has given no sign of life for {SILENT_SECONDS} s",
    never_started: f"no worker has taken a part for {START_SECONDS + SLACK_SECONDS} s",
    never_proved: f"no worker has taken a part for {START_SECONDS + PROOF_SECONDS + SLACK_SECONDS} s",
}


@pytest.mark.parametrize("happens", GOES)
def test_guard_of_a_machine_without_work_switches_it_off(
    machine: Machine, happens: Callable[[Machine], None]
) -> None:
    happens(machine)
    assert machine.reason() == GOES[happens]
    assert (machine.folder / "off").read_text() == "systemctl poweroff\n"


def test_guard_goes_on_to_harder_ways_when_the_soft_ones_fail(machine: Machine) -> None:
    for name in OFF:
        machine.program(name, f"echo {name} $* >>{machine.folder}/off; exit 1")
    (machine.folder / "proc/sysrq-trigger").write_text("")
    machine.call("off")
    assert (machine.folder / "off").read_text().splitlines() == [
        "systemctl poweroff",
        "shutdown -h now",
        "poweroff",
        "halt -p",
        "systemctl -f poweroff",
        "poweroff -f",
        "systemctl -f -f poweroff",
    ]
    assert (machine.folder / "proc/sysrq-trigger").read_text() == "b\n"


def test_guard_looks_again_and_again_even_when_its_sleep_is_killed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "dash")
    at_work(machine)
    machine.program("sleep", f"echo slept >>{tmp_path}/slept; /bin/sleep 0.05; kill -9 $$")
    loop = subprocess.Popen([tmp_path / "guard", "loop"], stderr=subprocess.DEVNULL)
    with loop:
        slept, off = tmp_path / "slept", tmp_path / "off"
        wait_until(lambda: slept.exists() and len(slept.read_text()) > 20, "more than one look")
        assert not off.exists()
        frozen(machine)
        wait_until(off.exists, "the end")
        loop.kill()


def test_guard_begins_anew_on_a_machine_of_an_image(machine: Machine) -> None:
    of_an_image(machine)
    machine.call("begin")
    machine.process(10)
    machine.call("note", "10")
    assert machine.reason() is None
    machine.boot("third")
    assert machine.reason() == "this machine has booted a second time"


def test_guard_is_in_time_for_half_an_hour() -> None:
    assert SILENT_SECONDS + GUARD_SECONDS < 30 * 60


def test_guard_never_schedules_a_shutdown() -> None:
    assert "shutdown +" not in guard()
    assert "shutdown -h +" not in guard()
