"""PID 1 of a machine in the box, and what has to happen before it. Standard library only, and run by its path.

    hypervisor ── starts ─▶ outside: namespaces, addresses, listening sockets (handed to the hypervisor)
                              └─ fork, once a boot ─▶ namespaces of processes and mounts
                                   └─ fork ─▶ inside: PID 1. Mounts, new root, user-data, timers, reaps, powers off

The sockets are opened in the machine's own network and answered by the hypervisor's process: the machine has
a loopback, and nothing else. Whatever ends PID 1 ends the machine; its mounts and its network go with it.
Exit status 0 means that the machine switched itself off. One that boots again keeps its disk, and runs what lies in
per-boot and what timers are enabled, but not the user-data.
"""

from __future__ import annotations

import ctypes
import fcntl
import gzip
import itertools
import json
import os
import signal
import socket
import stat
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

CLONE_ALL = 0x20000 | 0x4000000 | 0x8000000 | 0x40000000
"""NEWNS, NEWUTS, NEWIPC, NEWNET."""
CLONE_BOOT = 0x20000 | 0x20000000
"""NEWNS, NEWPID."""
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    32,
    4096,
    16384,
    1 << 18,
)
MNT_DETACH, PR_SET_PDEATHSIG, SYS_PIVOT_ROOT = 2, 1, 155
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, IFF_UP_RUNNING = 0x8914, 0x8916, 0x891C, 0x41
CLOUD_INIT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
"""What systemd gives to cloud-init, and it to the user-data. There is no HOME."""
POWER_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGPWR)
REBOOT_SIGNAL, PANIC_SIGNAL, JUMP_SIGNAL = signal.SIGINT, signal.SIGVTALRM, signal.SIGHUP
REBOOT_CODE = 64
JUMP_SECONDS = 31 * 60
PER_BOOT, UNITS = "/var/lib/cloud/scripts/per-boot", "/etc/systemd/system"
TIMER_SPEED = 60.0
"""Timers go so many times as fast."""
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
ETC_HOSTS = "127.0.0.1 localhost\n"
_libc = ctypes.CDLL(None, use_errno=True)


def main(blueprint_path: str, control: socket.socket) -> int:
    blueprint: dict[str, Any] = json.loads(Path(blueprint_path).read_text())
    _die_with_parent()
    _check(_libc.unshare(CLONE_ALL))
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _bring_up_loopback(blueprint["addresses"])
    sockets = [_listen(address, port) for address, port in blueprint["listen"]]
    for number in itertools.count(1):
        code = _in_child(lambda number=number: boot(blueprint, control, sockets, number))  # type: ignore[misc]
        for one in sockets:
            one.close()
        sockets.clear()
        if code != REBOOT_CODE:
            break
    return code


def boot(
    blueprint: dict[str, Any], control: socket.socket, sockets: list[socket.socket], number: int
) -> int:
    """One boot, in namespaces that end with it. The host is told its PID 1, and the first time given the sockets."""
    _die_with_parent()
    _check(_libc.unshare(CLONE_BOOT))
    _mount("none", "/", "", MS_REC | MS_PRIVATE)

    def tell(pid: int) -> None:
        if sockets:
            socket.send_fds(control, [str(pid).encode()], [one.fileno() for one in sockets])
        else:
            control.send(f"rebooted {pid}".encode())
        for one in sockets:
            one.close()

    def begin() -> int:
        for one in sockets:
            one.close()
        return inside(blueprint, control, number)

    return _in_child(begin, tell)


def _in_child(act: Callable[[], int], tell: Callable[[int], None] = lambda pid: None) -> int:
    """What it returns, or 128 and more for the signal that has ended it."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(act())
        except Exception:  # noqa: BLE001 - a child of fork never returns
            sys.excepthook(*sys.exc_info())
            os._exit(70)
    tell(child)
    _, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def inside(blueprint: dict[str, Any], control: socket.socket, number: int) -> int:
    """Be PID 1 until the machine is switched off."""
    _die_with_parent()
    signal.pthread_sigmask(
        signal.SIG_BLOCK,
        {*POWER_SIGNALS, REBOOT_SIGNAL, PANIC_SIGNAL, JUMP_SIGNAL, signal.SIGCHLD},
    )
    console = os.open(blueprint["console"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(console, 1)
    os.dup2(console, 2)
    os.close(console)
    _say(f"[    0.000000] Linux version {os.uname().release} (a machine in the box)")
    root = Path(blueprint["mount"])
    _mount_root(root, blueprint)
    _furnish(root, blueprint)
    _enter(root)
    socket.sethostname(blueprint["hostname"])
    _say(f"[    0.9] cloud-init[1]: running 'modules:final' on {blueprint['instance_id']}")
    pid = None
    if number > 1:
        for each in sorted(Path(PER_BOOT).glob("*")):
            _start([str(each)], blueprint["environment"])
    else:
        script = _user_data_script(blueprint)
        pid = _start([script], blueprint["environment"]) if script else None
        _tell(control, "began")
    timers = Timers() if blueprint["systemd"] else None
    return _reap_until_told_to_go(pid, control, float(blueprint["grace_seconds"]), timers)


class Timers:
    """The enabled timers of systemd, as far as `sc` uses them: OnBootSec, OnUnitActiveSec and one ExecStart."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last: dict[str, float] = {}

    def run_what_is_due(self) -> None:
        for path in Path(UNITS, "timers.target.wants").glob("*.timer"):
            timer = _unit(path)
            if "OnBootSec" not in timer:
                continue
            last = self._last.get(path.name)
            due = (
                self._began + float(timer["OnBootSec"]) / TIMER_SPEED
                if last is None
                else last + float(timer["OnUnitActiveSec"]) / TIMER_SPEED
            )
            if time.monotonic() >= due:
                self._last[path.name] = time.monotonic()
                service = _unit(Path(UNITS, path.stem + ".service"))
                _start(service["ExecStart"].split(), {})


def _unit(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _jump() -> None:
    """Let more than half an hour pass, as far as /proc/uptime knows; then it stands still."""
    up = float(Path("/proc/uptime").read_text().split()[0]) + JUMP_SECONDS
    Path("/run/box-uptime").write_text(f"{up:.2f} {up:.2f}\n")
    _mount("/run/box-uptime", "/proc/uptime", "", MS_BIND)


def _reap_until_told_to_go(
    user_data: Any, control: socket.socket, grace_seconds: float, timers: Optional[Timers]
) -> int:
    known = {*POWER_SIGNALS, REBOOT_SIGNAL, PANIC_SIGNAL, JUMP_SIGNAL, signal.SIGCHLD}
    while True:
        if timers is not None:
            timers.run_what_is_due()
        told = signal.sigtimedwait(known, 0.5)
        got = told.si_signo if told else None
        if got == JUMP_SIGNAL:
            _jump()
        if got == PANIC_SIGNAL:
            return REBOOT_CODE
        if got in POWER_SIGNALS or got == REBOOT_SIGNAL:
            break
        for pid, status in _ended_children():
            if pid == user_data:
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
                _say(f"cloud-init[1]: user-data ended with code {code}")
                _tell(control, f"ended {code}")
    is_reboot = got == REBOOT_SIGNAL
    _say(f"[  OK  ] Reached target System {'Reboot' if is_reboot else 'Power Off'}.")
    limit = time.monotonic() + grace_seconds
    _kill_all(signal.SIGTERM)
    while time.monotonic() < limit and _have_children():
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        list(_ended_children())
    return REBOOT_CODE if is_reboot else 0


def _start(words: list[str], environment: dict[str, str]) -> int:
    """Run the user-data as cloud-init does: as root, no HOME, a short PATH, no input, in `/`."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.setsid()
        os.chdir("/")
        os.umask(0o022)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.execve(words[0], words, {"PATH": CLOUD_INIT_PATH, "LANG": "C.UTF-8", **environment})
    except OSError as error:
        _say(f"cloud-init[1]: Failed to run {words[0]}: {error}")
    os._exit(1)


def _user_data_script(blueprint: dict[str, Any]) -> str:
    """Where the user-data lies, executable, or nothing if it is not a script."""
    data = bytes.fromhex(blueprint["user_data"])
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if not data.startswith(b"#!"):
        if data:
            _say("cloud-init[1]: Unhandled non-multipart (text/x-not-multipart) userdata")
        return ""
    path = Path("/var/lib/cloud/instance/scripts/part-001")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o700)
    return str(path)


def _mount_root(root: Path, blueprint: dict[str, Any]) -> None:
    layers = (
        f"lowerdir={blueprint['lower']},upperdir={blueprint['upper']},workdir={blueprint['work']}"
    )
    _mount("overlay", str(root), "overlay", 0, layers)
    _mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV)
    # The kernel is the host's: what would change it is shut.
    if (root / "proc/sysrq-trigger").exists():
        _mount("/dev/null", f"{root}/proc/sysrq-trigger", "", MS_BIND)
    _mount(f"{root}/proc/sys", f"{root}/proc/sys", "", MS_BIND)
    _mount("none", f"{root}/proc/sys", "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    _mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID, "mode=755,size=1m")
    for name, minor in DEVICES.items():
        os.mknod(f"{root}/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(1, minor))
        os.chmod(f"{root}/dev/{name}", 0o666)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/shm")
    _mount("tmpfs", f"{root}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    _mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    (root / "run/box-boot-id").write_text(f"{uuid.uuid4()}\n")
    _mount(f"{root}/run/box-boot-id", f"{root}/proc/sys/kernel/random/boot_id", "", MS_BIND)
    if blueprint["systemd"]:
        (root / "run/systemd/system").mkdir(parents=True)


def _furnish(root: Path, blueprint: dict[str, Any]) -> None:
    """A name, and programs to switch the machine off, which need an init that a bare root does not have."""
    (root / "etc/hostname").write_text(blueprint["hostname"] + "\n")
    (root / "etc/hosts").write_text(ETC_HOSTS + f"127.0.0.1 {blueprint['hostname']}\n")
    for name, text in blueprint["programs"].items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)


def _enter(root: Path) -> None:
    os.chdir(root)
    _check(_libc.syscall(SYS_PIVOT_ROOT, b".", b"."))
    _check(_libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def _bring_up_loopback(addresses: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
        for number, address in enumerate(addresses):
            name = f"lo:{number}".encode()
            fcntl.ioctl(one, SIOCSIFADDR, _request(name, address))
            fcntl.ioctl(one, SIOCSIFNETMASK, _request(name, "255.255.255.255"))


def _request(name: bytes, address: str) -> bytes:
    return struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))


def _listen(address: str, port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, port))
    one.listen(128)
    return one


def _ended_children() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _have_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _kill_all(which: signal.Signals) -> None:
    try:
        os.kill(-1, which)
    except ProcessLookupError:
        return


def _tell(control: socket.socket, what: str) -> None:
    try:
        control.send(f"{what} {time.time()}".encode())
    except OSError:
        return


def _say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def _die_with_parent() -> None:
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = [text.encode() if text else None for text in (source, target, kind)]
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), target)


def _check(result: int, what: str = "") -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    # A datagram for each message, so that none runs into the next.
    raise SystemExit(main(sys.argv[1], socket.socket(fileno=int(sys.argv[2]))))
