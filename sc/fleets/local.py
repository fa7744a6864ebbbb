"""The fleet of this machine: workers are processes, each in a session of its own, that outlive whoever started them.

Nothing is written down about them: they are found in /proc by what they are, leaders of a session whose command line
is `… work JOB_URL --fleet local`. So no stale file can make `stop` end a stranger, and a process id that was used
again is no danger. What they say goes to a file without a name, which the worker itself stores under `logs/`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Callable, NamedTuple, Optional

from sc import paths
from sc.errors import CloudError, InputError, MissingError, StorageError
from sc.fleets import Launch, Machine, Tell
from sc.fleets.local_processes import Entry, kill_all, still_there, table, user_name, wake
from sc.storage import Storage

POLL_SECONDS = 0.1
SIGHT_SECONDS = 5.0
STOP_SECONDS = 120.0
"""A worker ends its runs within their grace time, and then stores what they printed."""
KILL_SECONDS = 4.0
"""For what was killed to be gone; what waits for a disk goes later."""
_LAST_LINES = 15
_LAST_BYTES = 20_000


class Process(NamedTuple):
    """A worker of this machine."""

    pid: int
    job_url: str
    started: float
    """Unix seconds."""
    user: int = -1
    """The number of whose it is."""
    is_by_hand: bool = False
    """Started by somebody's `sc work`, and not by this fleet."""


class LocalFleet:
    """See `sc.fleets.Fleet` for what each method promises."""

    name = "local"

    def __init__(
        self,
        environment: Mapping[str, str],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._environment = environment
        self._now = now
        self._sleep = sleep
        self._started: list[int] = []
        self._log: Optional[int] = None
        """What the first worker that was started says: one that cannot even reach the storage leaves no other word."""

    def check(self, launch: Launch) -> None:
        self._refuse_running(launch.job_url)

    def launch(self, launch: Launch, tell: Tell) -> None:
        self._refuse_running(launch.job_url)
        try:
            for _ in range(launch.machines):
                self._started.append(self._start(launch))
        except BaseException:
            for pid in self._started:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            raise
        self._wait_for_sight(launch.job_url)
        word = "worker" if launch.machines == 1 else "workers"
        tell(f"{launch.machines} {word} started on this machine")

    def follow(self, launch: Launch, storage: Storage, tell: Tell) -> None:
        while True:
            self._reap()
            is_alive = bool(find(launch.job_url))
            # Whatever is there is of this job: what an earlier one left was cleared. A worker may have come and gone
            # while the last parts were still being written.
            if next(iter(storage.list(paths.join(launch.job_url, "workers"))), None) is not None:
                return
            if not is_alive:
                raise CloudError(_why_dead(launch.job_url, storage, self._log))
            self._sleep(POLL_SECONDS)

    def list(self, job: Optional[str] = None) -> Sequence[Machine]:
        self._reap()
        host = socket.gethostname()
        return [
            Machine(
                job=_name(process.job_url),
                job_url=process.job_url,
                fleet="local",
                id=f"{host}:{process.pid}",
                kind="local",
                state="running",
                started=process.started,
            )
            for process in find(job)
        ]

    def stop(self, job: str, tell: Tell, at_once: bool = False) -> Sequence[str]:
        """`at_once`: by SIGKILL, for the workers and all that is below them. Workers of another user, and those that
        somebody has started by hand, are told to stop by the job's key, and only waited for where they cannot be
        signalled."""
        there = find_all(job)
        if there:
            tell(f"{len(there)} worker(s) on this machine are {'killed' if at_once else 'ending'}")
        return self._kill(job, there) if at_once else self._ask(job, there)

    def _ask(self, job: str, there: Sequence[Process]) -> Sequence[str]:
        for process in there:
            with suppress(ProcessLookupError, PermissionError):
                if not process.is_by_hand:
                    os.kill(process.pid, signal.SIGTERM)
        wake([process.pid for process in there])
        end = self._now() + STOP_SECONDS
        while there and self._now() < end:
            self._reap()
            there = find_all(job)
            self._sleep(POLL_SECONDS if there else 0)
        return [_does_not_end(process, job) for process in there]

    def _kill(self, job: str, there: Sequence[Process]) -> Sequence[str]:
        end = self._now() + KILL_SECONDS
        killed: dict[tuple[int, int], Entry] = {}
        left: list[Entry] = []
        while there or left:
            ours = kill_all([process.pid for process in there], self._now, self._sleep)
            killed.update((entry.key, entry) for entry in ours)
            self._reap()
            left, there = still_there(killed.values()), find_all(job)
            if self._now() >= end:
                break
            self._sleep(POLL_SECONDS if there or left else 0)
        workers = {process.pid for process in there}
        return [
            *(_does_not_end(process, job) for process in there),
            *(_is_left(entry) for entry in left if entry.pid not in workers),
        ]

    def _refuse_running(self, job_url: str) -> None:
        self._reap()
        there = find(job_url)
        if there:
            raise InputError(
                f"The job '{_name(job_url)}' has {len(there)} workers on this machine already. "
                f"Look with `sc ps`; end them with `sc stop {job_url}`."
            )

    def _start(self, launch: Launch) -> int:
        how = [launch.program] if launch.program else ["-m", "sc"]
        command = [sys.executable, *how, "work", launch.job_url, "--fleet", "local"]
        with tempfile.TemporaryFile(prefix="sc-log-") as log, _stdin() as stdin:
            pid = os.posix_spawn(
                sys.executable,
                command,
                {**self._environment, **launch.environment},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin, 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE),
            )
            if self._log is None:
                with suppress(OSError):
                    self._log = os.dup(log.fileno())
                    weakref.finalize(self, os.close, self._log)
            return pid

    def _wait_for_sight(self, job_url: str) -> None:
        """The kernel shows a new program's words a moment after it runs."""
        end = self._now() + SIGHT_SECONDS
        while self._now() < end:
            self._reap()
            if set(self._started) <= {process.pid for process in find(job_url)}:
                return
            self._sleep(0.002)

    def _reap(self) -> None:
        """Take note of the end of those that are our own children."""
        for pid in list(self._started):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._started.remove(pid)


@contextmanager
def _stdin() -> Iterator[int]:
    """Of a worker: the AWS keys that were fetched for us, which it takes up at once, or nothing."""
    from sc.storage.s3_keys import hand_over

    handed = hand_over()
    if handed is None:
        with open(os.devnull, "rb") as nothing:
            yield nothing.fileno()
        return
    reading, writing = os.pipe()
    try:
        os.write(writing, handed)
        os.close(writing)
        yield reading
    finally:
        os.close(reading)


def find(job: Optional[str] = None, proc: str = "/proc") -> list[Process]:
    """The workers of one job (by its place or its name), or of all jobs, that this user has here."""
    return [
        process
        for process in _workers(proc)
        if (job is None or is_of(process, job))
        and process.user == os.getuid()
        and not process.is_by_hand
    ]


def find_all(job: str, proc: str = "/proc") -> list[Process]:
    """The workers of one job, those of other users and those that were started by hand included."""
    return [process for process in _workers(proc) if is_of(process, job)]


def is_of(process: Process, job: str) -> bool:
    """Whether it works for the job: by its place, however its folder is spelled, or for this user by its name."""
    here, wanted = process.job_url.rstrip("/"), job.rstrip("/")
    if "/" not in wanted:
        return _name(here) == wanted and process.user == os.getuid()
    if here == wanted:
        return True
    are_folders = "://" not in here and "://" not in wanted
    return are_folders and _name(here) == _name(wanted) and _real(here) == _real(wanted)


def _real(place: str) -> str:
    return os.path.realpath(place)


def _workers(proc: str) -> list[Process]:
    alike = dict(_alike(proc))
    # Its keepers and its clerk are forks, and have the same command line; but they are its children.
    return [
        process for process, parent in alike.items() if parent not in {one.pid for one in alike}
    ]


def _alike(proc: str) -> Iterator[tuple[Process, int]]:
    """Processes that look like a worker, with their parents."""
    booted, ticks = _boot_time(proc), os.sysconf("SC_CLK_TCK")
    for entry in table(proc).values():
        try:
            with open(f"{proc}/{entry.pid}/cmdline", "rb") as file:
                words = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
        except OSError:
            continue  # it has ended meanwhile
        if entry.state == b"Z" or len(words) < 4:
            continue
        is_fleet = words[-4:-3] == ["work"] and words[-2:] == ["--fleet", "local"]
        if is_fleet and len(words) >= 5 and entry.session == entry.pid:
            url = words[-3]
        elif by_hand := _by_hand(words):
            url = _absolute(by_hand, f"{proc}/{entry.pid}/cwd")
        else:
            continue
        started = booted + entry.start / ticks
        yield Process(entry.pid, url, started, entry.user, not is_fleet), entry.parent


def _by_hand(words: Sequence[str]) -> str:
    """The URL of `python … sc.pyz work JOB_URL`; empty for other commands."""
    rest = [word for word in words if word != "--yes"]
    if len(rest) < 4 or rest[-2] != "work":
        return ""
    program = os.path.basename(rest[-3])
    is_python = os.path.basename(rest[0]).startswith("python")
    return rest[-1] if is_python and (program == "sc" or program.endswith(".pyz")) else ""


def _absolute(place: str, folder: str) -> str:
    """What a process calls a place that it has named by its own current folder."""
    if "://" in place or place.startswith("/"):
        return place
    try:
        return os.path.join(os.readlink(folder), place)
    except OSError:
        return place


def _does_not_end(process: Process, job: str) -> str:
    if process.user != os.getuid() and os.getuid() != 0:
        return (
            f"The worker with process id {process.pid} belongs to {user_name(process.user)}, who alone can end it at "
            "once; it was told to stop by the job's key."
        )
    return (
        f"The worker with process id {process.pid} does not end; end it with `sc stop {job} --now`."
    )


def _is_left(entry: Entry) -> str:
    if entry.user != os.getuid() and os.getuid() != 0:
        why = f"belongs to {user_name(entry.user)}: ask them, or root, to end it"
    elif entry.state == b"D":
        why = "was killed, and waits for a disk or a network: it ends when that answers"
    else:
        why = f"was killed, and is still there: look at it with `ps -p {entry.pid}`"
    return f"The process {entry.name} with process id {entry.pid} {why}."


def _boot_time(proc: str) -> float:
    try:
        with open(f"{proc}/stat", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("btime "):
                    return float(line.split()[1])
    except OSError:
        pass
    return 0.0


def _name(job_url: str) -> str:
    return job_url.rstrip("/").rsplit("/", 1)[-1]


def _why_dead(job_url: str, storage: Storage, log: Optional[int]) -> str:
    """What the workers said last, if none of them has ever reported."""
    said = _last_lines(os.pread(log, _LAST_BYTES, 0)) if log is not None else ""
    logs = sorted(storage.list(paths.join(job_url, "logs")), key=lambda entry: entry.age_seconds)
    for entry in logs[:1]:
        with suppress(MissingError, StorageError):
            said = _last_lines(storage.get(entry.place, -min(entry.size, _LAST_BYTES))) or said
    return (
        "The workers on this machine have ended before their first run. Their last lines:\n"
        f"{said or 'They left no log.'}"
    )


def _last_lines(data: bytes) -> str:
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join(lines[-_LAST_LINES:])
