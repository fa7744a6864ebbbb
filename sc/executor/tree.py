"""A command and everything that it started: start it, ask it to stop, force it, see that nothing is left.

The process that uses this module is a child subreaper and runs one command at a time. Whatever a command starts,
daemons in sessions of their own included, is therefore below this process in the tree, and is its child as soon as
the process between has died. "Nothing is left" is what waitpid says: no child.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sc.errors import ScError

PR_SET_CHILD_SUBREAPER = 36
_TO_DEFAULT = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGXFSZ", "SIGCHLD")
    if hasattr(signal, name)
]


def adopt_orphans() -> bool:
    """Make this process the parent of whatever loses its parent below it. False where the system has no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(_libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def check_system(proc: str = "/proc") -> None:
    """Raises ScError where no run can be started, or what it has started could not be found and would be left running:
    there is no /proc, or it is that of another PID namespace, whose numbers mean other processes."""
    if not sys.platform.startswith("linux"):
        return
    try:
        seen = os.readlink(f"{proc}/self")
    except OSError:
        seen = ""
    if seen != str(os.getpid()):
        what = "is that of another PID namespace" if seen else "is not mounted"
        raise ScError(
            f"{proc} {what}, and without it what a run leaves behind cannot be found and ended: "
            f"mount it (mount -t proc proc {proc}), and try again"
        )
    try:
        os.close(os.open(os.devnull, os.O_RDWR))
    except OSError as error:
        raise ScError(
            f"{os.devnull}: {error.strerror}; runs need it: make it anew (mknod -m 666 {os.devnull} c 1 3)"
        ) from error


@functools.cache
def _libc() -> ctypes.CDLL:
    """Made before the fork, it is shared memory in each keeper."""
    return ctypes.CDLL(None)


def start(
    command: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    out: int,
    err: int,
    by_spawn: bool = hasattr(os, "posix_spawn"),
) -> int:
    """Start a command in a session of its own, its output to these descriptors, its stdin that of the caller. Returns
    its process id.

    `command[0]` is a path. Raises OSError (FileNotFoundError, PermissionError, E2BIG …) when it cannot be started.
    The caller has no inheritable descriptor above 2 and ignores no signal.
    """
    # The files are open, and not opened in the child: under qemu-user posix_spawn returns before the child has.
    if by_spawn:
        try:
            return os.posix_spawn(
                command[0],
                list(command),
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)],
                setsid=True,
                setsigmask=(),
                setsigdef=_TO_DEFAULT,
            )
        except NotImplementedError:
            pass  # a Python built for a glibc before 2.26, as conda's and uv's are, cannot setsid so
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=out,
        stderr=err,
        start_new_session=True,
        close_fds=False,
    )
    process.returncode = 0  # `reap` takes its exit; without this, Popen would try to
    return process.pid


def signal_below(
    root: int, number: int, spared: Sequence[int] = (), asked: Sequence[int] = ()
) -> list[int]:
    """Send a signal to every process below `root`, but not to `asked` (who have had it), nor to `spared` and what
    is below these. Returns who there was.

    Parents have it first: a shell whose command is ended before itself goes on, or ends without its trap."""
    found, had = list(descendants(root, frozenset(spared))), frozenset(asked)
    send([pid for pid in found if pid not in had], number)
    return found


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to each of these, in this order."""
    for pid in pids:
        try:
            os.kill(pid, number)
            if number == signal.SIGTERM:
                os.kill(pid, signal.SIGCONT)  # a stopped process does not see a SIGTERM
        except (ProcessLookupError, PermissionError):
            continue


def descendants(root: int, spared: frozenset[int] = frozenset()) -> Iterator[int]:
    """The ids of all live processes below `root`, parents before children."""
    below: dict[int, list[int]] = {}
    for pid, parent, is_dead in _processes():
        if not is_dead:
            below.setdefault(parent, []).append(pid)
    heads = [root]
    while heads:
        for pid in below.get(heads.pop(), ()):
            if pid not in spared:
                heads.append(pid)
                yield pid


def children(parent: int) -> list[int]:
    """The ids of its children, dead ones that nobody has waited for included."""
    return [pid for pid, its_parent, _ in _processes() if its_parent == parent]


def _processes() -> Iterator[tuple[int, int, bool]]:
    """(process id, id of its parent, whether it is dead) of all processes."""
    if not sys.platform.startswith("linux"):
        yield from _processes_by_ps()
        return
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split(None, 2)[:2]
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        yield int(name), int(parent), state in (b"Z", b"X")


def _processes_by_ps() -> Iterator[tuple[int, int, bool]]:
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], stdout=subprocess.PIPE, check=False
    )
    for line in listing.stdout.decode().splitlines():
        pid, parent, state = line.split(None, 2)
        yield int(pid), int(parent), state.startswith("Z")


@functools.cache
def title_room() -> tuple[int, int]:
    """Where the command line lies in this process's memory and in that of its forks, and its length: (0, 0) where
    this is not known."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # proc(5): arg_start, arg_end
    except (OSError, ValueError, IndexError):
        return 0, 0
    return start, end - start


def rename_process(title: bytes) -> None:
    """Show `title` in `ps` and `top` for this process, as far as the room of its first command line goes.

    It is more than politeness: `pkill -9 -f sc.pyz` is how people get rid of `sc`, and must not hit the
    keepers, which then end the runs.
    """
    start, room = title_room()
    if room < 2:
        return
    try:
        memory = os.open("/proc/self/mem", os.O_WRONLY)
        os.pwrite(memory, title[: room - 1].ljust(room, b"\0"), start)
        os.close(memory)
        name = os.open("/proc/self/comm", os.O_WRONLY)
        os.write(name, title[:15])
        os.close(name)
    except OSError:
        return  # as in a sandbox: a name is not worth more
