"""One machine: a bare root in namespaces of its own, seen from the host.

    boot(...)            returns at once; the machine runs its user-data
    machine.poll()       what has become known since: its sockets, when the user-data began, that it is gone
    machine.power_off()  as the power button: processes get SIGTERM, and a little time
    machine.cut_power()  as the plug: SIGKILL for all of it

When the process that booted it dies, the machine dies.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from tests.cloud import init, standins

GRACE_SECONDS = 2.0
"""Between SIGTERM and the end when a machine is switched off. Real ones have more; tests have less time."""


@dataclass(frozen=True)
class Blueprint:
    """What a machine is made of."""

    instance_id: str
    layers: Sequence[Path]
    """Its file system before it writes: folders, the upper first. They are shared and never written."""
    user_data: bytes
    private_ip: str
    environment: Mapping[str, str]
    """Added to that of the user-data."""
    listen: Sequence[tuple[str, int]]
    """Addresses and ports in the machine that the host answers."""
    systemd: bool = True
    """Whether there is systemd, as far as it runs timers."""

    @property
    def hostname(self) -> str:
        return "ip-" + self.private_ip.replace(".", "-")


@dataclass
class Machine:
    """A machine that was booted; `sockets` are those of `listen`, in its order, once they are known."""

    blueprint: Blueprint
    folder: Path
    process: subprocess.Popen[bytes]
    control: socket.socket
    sockets: list[socket.socket] = field(default_factory=list)
    pid: Optional[int] = None
    """PID 1 of the machine, as the host counts."""
    namespace: Optional[int] = None
    """That of its processes, held open: otherwise the kernel would soon give its number to somebody else's."""
    began_at: Optional[float] = None
    """When the user-data began, Unix seconds."""
    user_data_code: Optional[int] = None
    boots: int = 1

    def poll(self) -> Optional[int]:
        """None while it lives, then 0 if it switched itself off and anything else if it was lost."""
        with suppress(BlockingIOError):
            while self._hear():
                pass
        return self.process.poll()

    def close(self) -> None:
        """To be called when it is gone: what it wrote is removed, but for its console."""
        for one in (self.control, *self.sockets):
            one.close()
        for name in ("upper", "work", "mount"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def power_off(self) -> None:
        self._kill(signal.SIGUSR2)

    def cut_power(self) -> None:
        """Nothing of it runs any more on return."""
        self.poll()
        if self.pid is None:
            self.process.kill()
        else:
            self._kill(signal.SIGKILL)
        self.process.wait(timeout=20)

    def jump(self) -> None:
        """More than half an hour passes, by the machine's /proc/uptime; then that stands still."""
        self._kill(init.JUMP_SIGNAL)

    def console(self) -> bytes:
        """All that it wrote to its console, with the line ends of a serial line."""
        with suppress(FileNotFoundError):
            return (self.folder / "console").read_bytes().replace(b"\n", b"\r\n")
        return b""

    def processes(self) -> list[int]:
        """The pids, as the host counts, of what runs in it; until `forget`."""
        if self.namespace is None:
            return []
        mine = os.fstat(self.namespace).st_ino
        return [pid for pid in _pids() if _namespace(pid) == mine]

    def forget(self) -> None:
        """Nobody will ask for its processes any more."""
        if self.namespace is not None:
            os.close(self.namespace)
            self.namespace = None

    def _kill(self, which: signal.Signals) -> None:
        if self.pid is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, which)

    def _hear(self) -> bool:
        """Take one message of the machine. False when it has no more to say."""
        if self.control.fileno() < 0:
            return False
        message, descriptors, _, _ = socket.recv_fds(self.control, 4096, len(self.blueprint.listen))
        if not message:
            return False
        if descriptors:
            self.sockets = [socket.socket(fileno=number) for number in descriptors]
            self.pid = int(message)
            with suppress(OSError):
                self.namespace = os.open(f"/proc/{self.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            # Held open for as long as somebody may ask `processes`: the kernel gives the number of a
            # namespace that is gone to the next one, of a machine of somebody else's.
            held = os.open(f"/proc/{self.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, held)
        else:
            word, *rest = message.decode().split()
            if word == "rebooted":
                self.pid, self.boots = int(rest[0]), self.boots + 1
                self.forget()
                with suppress(OSError):
                    self.namespace = os.open(f"/proc/{self.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            elif word == "began":
                self.began_at = float(rest[0])
            else:
                self.user_data_code = int(rest[0])
        return True


def boot(blueprint: Blueprint, folder: Path) -> Machine:
    """Start the machine and return; it dies with the thread that calls this."""
    for name in ("upper", "work", "mount"):
        (folder / name).mkdir(parents=True)
    (folder / "blueprint.json").write_text(json.dumps(_as_json(blueprint, folder)))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with theirs, (folder / "console").open("ab") as console:
        process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                init.__file__,
                folder / "blueprint.json",
                str(theirs.fileno()),
            ],
            pass_fds=[theirs.fileno()],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    return Machine(blueprint, folder, process, ours)


def _as_json(blueprint: Blueprint, folder: Path) -> dict[str, Any]:
    return {
        "instance_id": blueprint.instance_id,
        "hostname": blueprint.hostname,
        "lower": ":".join(map(str, blueprint.layers)),
        "upper": str(folder / "upper"),
        "work": str(folder / "work"),
        "mount": str(folder / "mount"),
        "console": str(folder / "console"),
        "user_data": blueprint.user_data.hex(),
        "environment": dict(blueprint.environment),
        "addresses": ["169.254.169.254", blueprint.private_ip],
        "listen": list(blueprint.listen),
        "systemd": blueprint.systemd,
        "programs": standins.PROGRAMS,
        "grace_seconds": GRACE_SECONDS,
    }


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _namespace(pid: int) -> Optional[int]:
    with suppress(OSError):
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    return None
