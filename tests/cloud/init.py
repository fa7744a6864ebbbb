"""PID 1 of a machine in the box, and what has to happen before it. Standard library only, and run by its path.

    hypervisor ── starts ─▶ outside: namespaces, addresses, listening sockets (handed to the hypervisor)
                              └─ fork ─▶ inside: PID 1. Mounts, new root, user-data, reaps, powers off

The sockets are opened in the machine's own network and answered by the hypervisor's process: the machine has
a loopback, and nothing else. Whatever ends PID 1 ends the machine; its mounts and its network go with it.
Exit status 0 means that the machine switched itself off.
"""

from __future__ import annotations

import ctypes
import fcntl
import gzip
import json
import os
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLONE_ALL = 0x20000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000
"""NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET."""
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
    child = os.fork()
    if child == 0:
        for one in sockets:
            one.close()
        try:
            os._exit(inside(blueprint, control))
        except Exception:  # noqa: BLE001 - a child of fork never returns
            sys.excepthook(*sys.exc_info())
            os._exit(70)
    socket.send_fds(control, [str(child).encode()], [one.fileno() for one in sockets])
    for one in sockets:
        one.close()
    control.close()
    _, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def inside(blueprint: dict[str, Any], control: socket.socket) -> int:
    """Be PID 1 until the machine is switched off."""
    _die_with_parent()
    signal.pthread_sigmask(signal.SIG_BLOCK, {*POWER_SIGNALS, signal.SIGCHLD})
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
    script = _user_data_script(blueprint)
    _say(f"[    0.9] cloud-init[1]: running 'modules:final' on {blueprint['instance_id']}")
    pid = _start(script, blueprint["environment"]) if script else None
    _tell(control, "began")
    return _reap_until_told_to_go(pid, control, float(blueprint["grace_seconds"]))


def _reap_until_told_to_go(user_data: Any, control: socket.socket, grace_seconds: float) -> int:
    while True:
        got = signal.sigwait({*POWER_SIGNALS, signal.SIGCHLD})
        if got in POWER_SIGNALS:
            break
        for pid, status in _ended_children():
            if pid == user_data:
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
                _say(f"cloud-init[1]: user-data ended with code {code}")
                _tell(control, f"ended {code}")
    _say("[  OK  ] Reached target System Power Off.")
    limit = time.monotonic() + grace_seconds
    _kill_all(signal.SIGTERM)
    while time.monotonic() < limit and _have_children():
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        list(_ended_children())
    return 0


def _start(script: str, environment: dict[str, str]) -> int:
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
        os.execve(script, [script], {"PATH": CLOUD_INIT_PATH, "LANG": "C.UTF-8", **environment})
    except OSError as error:
        _say(f"cloud-init[1]: Failed to run {script}: {error}")
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
