"""A bare machine for the tests: Debian with python3, ca-certificates and curl, and nothing else.

    with machine("bullseye") as bare:                        # Python 3.9; bookworm 3.11, trixie 3.13, forky 3.14
        bare.copy(pyz, "/root/sc.pyz")                       # a file or a folder; nothing else of here is visible there
        done = bare.run(["python3", "/root/sc.pyz", "--version"], timeout=60)
        done.returncode, done.stdout, done.stderr            # text
        server = bare.start("exec sleep 100")                # goes on: a Popen
        bare.path("/root/out/stdout").read_text()            # its files, seen from here, while it lives
        bare.kill()                                          # what losing a machine looks like

A machine is a set of namespaces (mount, pid, uts, ipc, net) with a file system of its own, made in a tenth of a
second as an overlay over a root that debootstrap made once, under .cache/machines of this checkout:

    unshare ── PID 1 (a shell that reaps) ── nsenter ── your command
       └ dies with this process, and takes the namespaces, their processes and their mounts with it

`network` is "own" (just a loopback of its own), "host" (shares this machine's, and so reaches servers on 127.0.0.1),
or the path of a network namespace (/run/netns/x). A command gets PATH and what `env` says, nothing more: no HOME, as
under cloud-init. It needs root; without it RuntimeError says so.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

SUITES: Mapping[str, str] = {
    "bullseye": "3.9",
    "bookworm": "3.11",
    "trixie": "3.13",
    "forky": "3.14",
}
"""Each Debian and its Python."""
ARM64 = "bookworm-arm64"
"""One whose programs are those of an arm64 machine. They run under qemu-user, slowly: `.ci/run` registers it."""
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "machines"
_MIRROR = "http://deb.debian.org/debian/"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Words = Union[str, Sequence[str]]


@dataclass(frozen=True)
class Machine:
    """One that runs. All paths are its own, but for those that `path` gives."""

    pid: int
    """Its PID 1, as this machine numbers it."""
    holder: subprocess.Popen[str]

    def run(
        self, cmd: Words, env: Optional[Mapping[str, str]] = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command (a string goes to sh) to its end, without stdin. 124 if it took too long, and is killed."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            # Files and no pipes: what the command leaves behind may keep them open for ever.
            process = self.start(cmd, env, stdout=out, stderr=err)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = 124
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(process.args, code, out.read(), err.read())

    def start(
        self, cmd: Words, env: Optional[Mapping[str, str]] = None, **files: Any
    ) -> subprocess.Popen[str]:
        """Start a command; `files` may say stdin, stdout and stderr, as for Popen (by default nothing)."""
        words = ["sh", "-c", cmd] if isinstance(cmd, str) else list(cmd)
        into = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--net"]
        into += ["--root", "--wd", "--", "/usr/bin/setpriv", "--pdeathsig", "KILL"]
        for name in ("stdin", "stdout", "stderr"):
            files.setdefault(name, subprocess.DEVNULL)
        return subprocess.Popen(into + words, env={"PATH": PATH, **(env or {})}, text=True, **files)

    def path(self, path: str) -> Path:
        """Where a path of the machine is on this one. Not through its absolute symbolic links."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def copy(self, source: Path, to: str) -> None:
        """Copy a file or folder to the path `to`, whose folders are made."""
        target = self.path(to)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)

    def kill(self) -> None:
        """End it at once, with all that runs on it; nothing of it lives any more on return. May be said twice."""
        if self.holder.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.holder.wait()


@contextmanager
def machine(suite: str, network: str = "own", hostname: str = "bare") -> Iterator[Machine]:
    """A new machine, ended and removed with the block. The first of a suite takes a minute, the others no time."""
    root = prepare(suite)
    _check_emulation(root)
    folder = Path(tempfile.mkdtemp(prefix="sc-machine-"))
    holder = subprocess.Popen(
        [*_unshare(network), "sh", "-c", _SETUP, "sh", str(root), str(folder), hostname, network],
        env={"PATH": PATH, "PYTHON": sys.executable, "LOOPBACK": _LOOPBACK},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        made = _machine(holder)
        try:
            yield made
        finally:
            made.kill()
    finally:
        holder.kill()
        holder.wait()
        shutil.rmtree(folder)


def _check_emulation(root: Path) -> None:
    """Raises RuntimeError where this machine cannot run the programs of that root."""
    try:
        subprocess.run(["chroot", str(root), "/bin/true"], check=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(
            f"this machine cannot run the programs of {root}: .ci/run installs and registers qemu-user-static, "
            "for which root has to be allowed to write to /proc/sys/fs/binfmt_misc/register"
        ) from error


def _machine(holder: subprocess.Popen[str]) -> Machine:
    """Wait until the set-up is done, of which PID 1 tells by printing its number."""
    assert holder.stdout is not None
    assert holder.stderr is not None
    with holder.stdout as said, holder.stderr as complaint:
        number = said.readline()
        if not number:
            raise RuntimeError(f"the machine did not start: {complaint.read()}")
    return Machine(int(number), holder)


def prepare(suite: str) -> Path:
    """The root that machines of this Debian start from; made if it is not there yet, by one process only."""
    root = CACHE / suite
    if root.exists():
        return root
    if os.geteuid() != 0:
        raise RuntimeError("bare machines need root: run the tests as root, or `-m 'not bare'`")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            new = CACHE / f"{suite}.new"
            shutil.rmtree(new, ignore_errors=True)
            _debootstrap(suite, new)
            new.rename(root)
    return root


def _debootstrap(name: str, folder: Path) -> None:
    suite, _, architecture = name.partition("-")
    words = ["debootstrap", "--variant=minbase", "--include=python3,ca-certificates,curl"]
    if architecture:
        words = [*words[:2], "--include=python3", f"--arch={architecture}", "--foreign"]
    log = folder.with_suffix(".log")
    with log.open("w") as out:
        done = subprocess.run(
            [*words, suite, str(folder), *(_mirror() or [_MIRROR]), *_script(suite)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    if done.returncode != 0:
        raise RuntimeError(f"debootstrap {name} failed:\n{log.read_text()[-1000:]}")
    packages = list((folder / "var/cache/apt/archives").glob("*.deb"))
    if architecture:
        _unpack(packages, folder)
    for package in packages:
        package.unlink()


def _script(suite: str) -> list[str]:
    """What debootstrap is told for a suite that is newer than itself."""
    scripts = Path("/usr/share/debootstrap/scripts")
    return [] if (scripts / suite).exists() else [str(scripts / "sid")]


def _unpack(packages: Sequence[Path], folder: Path) -> None:
    """What is enough to run Python: to configure each package under emulation would take three minutes."""
    for package in packages:
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    for name in ("passwd", "group"):
        shutil.copy(folder / f"usr/share/base-passwd/{name}.master", folder / "etc" / name)


def _mirror() -> list[str]:
    """Debian's archive as this machine's own apt knows it; nothing (debootstrap's default) if it knows none."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    try:
        known = subprocess.run(words, stdout=subprocess.PIPE, text=True).stdout.split()
    except OSError:
        return []
    return [uri for uri in known if uri.rstrip("/").endswith("/debian")][:1]


def _unshare(network: str) -> list[str]:
    words = ["setpriv", "--pdeathsig", "KILL"]
    if network not in ("own", "host"):
        words += ["nsenter", f"--net={network}"]
    words += ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
    return [*words, "--net"] if network == "own" else words


# A loopback is down in a new namespace: SIOCSIFFLAGS with IFF_UP. (`ip` is not on every machine.)
_LOOPBACK = """
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh22x", b"lo", 1))
"""

# /proc is still this machine's when the shell reads its own number there. What comes after pivot_root
# is the bare machine's own program.
_SETUP = """
set -eu
template=$1 folder=$2 name=$3 network=$4 root=$2/root
read -r pid rest < /proc/self/stat
mkdir "$root" "$folder/upper" "$folder/work"
mount -t overlay -o "lowerdir=$template,upperdir=$folder/upper,workdir=$folder/work" overlay "$root" 2>/dev/null ||
    { cp -a --reflink=auto "$template/." "$root" && mount --bind "$root" "$root"; }
cd "$root"
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    : > "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for each in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${each%:*}" "dev/${each#*:}"; done
for each in dev/shm tmp run; do mount -t tmpfs -o mode=1777 tmpfs "$each"; done
echo "$name" > /proc/sys/kernel/hostname
echo "127.0.0.1 localhost $name" > etc/hosts
[ "$network" != own ] || "$PYTHON" -c "$LOOPBACK"
pivot_root . .
umount -l .
exec chroot . env -i PATH="$PATH" sh -c '
    echo "$1"
    exec > /dev/null 2>&1
    while :; do sleep 1000000 & wait $!; done' sh "$pid"
"""
