"""What happens on a machine before its first run: folders unpacked, environment read, start script run.

All of it happens in a child process, so that the worker goes on hearing its clerk, and a signal can end it. What the
start script prints goes where the worker's own words go, which is the machine's log.

What the start script leaves running, `server &` say, is there for the runs and ends with the worker. So the child
process, to which it belongs, stays until all of it has ended, or until the pipe to the worker says that the worker
has: then it ends what there is, by SIGTERM and after a grace time by SIGKILL.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Lock, Thread, main_thread
from typing import Any, NamedTuple, Optional

from sc import archives
from sc.errors import ScError
from sc.executor import tree
from sc.executor.crew import sweep_orphans
from sc.staging import Job, Synced
from sc.storage import Storage
from sc.worker.forks import stand_alone

GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL, for what a start script has left running."""
SPARE_SECONDS, POLL_SECONDS = 2.0, 0.05
SECRET = "ssm:"
"""A value of environment_variables that begins so is the name of a parameter in AWS's Parameter Store."""


LookUp = Callable[[list[str]], Mapping[str, str]]
"""Gets the names of parameters, and returns the values of all of them or raises CloudError; called if there are any."""


class Prepared(NamedTuple):
    """What the runs will find."""

    environment: Mapping[str, str]
    working_directory: Optional[str]
    synced: Mapping[str, str]
    """Where runs begin that are to begin in a synced folder: by its destination, the version that this worker has."""
    locks: Sequence[str]
    """Held until this worker ends, so that nobody removes those versions."""


class Preparation:
    """One machine's preparation, under way in a child process."""

    def __init__(
        self,
        open_storage: Callable[[], Storage],
        job_url: str,
        job: Job,
        home: str,
        look_up: LookUp,
    ) -> None:
        """`home` is where relative folders of the recipe begin; `look_up` finds secrets."""
        context: Any = multiprocessing.get_context("fork")
        self._strangers = frozenset(tree.children(os.getpid()))
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_prepare_and_tell,
            args=(theirs, open_storage, job_url, job, home, look_up),
            name="sc prepare",
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def result(self, seconds: float) -> Optional[Prepared]:
        """Wait so long; None if it is not over yet. Raises ScError when it has failed."""
        if not self._connection.poll(seconds):
            return None
        try:
            answer = json.loads(self._connection.recv_bytes())
        except EOFError:
            self._process.join()
            raise ScError(
                f"The preparation of this machine has died ({self._process.exitcode})."
            ) from None
        if "error" in answer:
            raise ScError(answer["error"])
        prepared = Prepared(**answer)
        for lock in prepared.locks:
            archives.hold(lock)  # until this process ends
        with suppress(OSError):
            self._connection.send_bytes(b"held")
        return prepared

    def end(self) -> None:
        """End it and all that it has started, if any of it still goes on."""
        self._connection.close()
        self._process.join(GRACE_SECONDS + SPARE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        if self._process.exitcode:
            others = (one.pid for one in multiprocessing.active_children() if one.pid)
            sweep_orphans(self._strangers.union(others))


def _prepare_and_tell(
    connection: Connection,
    open_storage: Callable[[], Storage],
    job_url: str,
    job: Job,
    home: str,
    look_up: LookUp,
) -> None:
    stand_alone(signal.SIG_DFL, connection.fileno())
    tree.adopt_orphans()
    tree.rename_process(b"sc preparation")  # `pkill -f sc.pyz` is not to hit who then ends the rest
    Thread(target=_end_with_the_worker, args=(connection.fileno(),), daemon=True).start()
    try:
        prepared = prepare(open_storage(), job_url, job, home, look_up)
        answer: dict[str, Any] = prepared._asdict()
    except ScError as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"error": f"This machine could not be prepared: {error}."}
    with suppress(EOFError, OSError):
        connection.send_bytes(json.dumps(answer).encode())
        connection.recv_bytes()  # the worker has the locks too; from here on ours may go
    _wait_for_children()  # also where the worker has gone: the thread is then ending them


def _wait_for_children() -> None:
    """Until nothing is left of what the start script has started."""
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


_starting = Lock()
"""Held while the start script is started, and from the worker's end on."""


def _end_with_the_worker(descriptor: int) -> None:
    """A worker that has ended, or was killed, cannot end what its start script has started: the other end of the pipe
    tells, and we all go."""
    poll = select.poll()
    poll.register(descriptor, 0)  # what is told without asking: POLLERR, POLLHUP
    poll.poll()
    _starting.acquire()
    end = time.monotonic() + GRACE_SECONDS
    asked: list[int] = []
    while time.monotonic() < end:
        asked = tree.signal_below(os.getpid(), signal.SIGTERM, asked=asked)
        if not asked:
            break
        time.sleep(POLL_SECONDS)
    while time.monotonic() < end + SPARE_SECONDS and tree.signal_below(os.getpid(), signal.SIGKILL):
        time.sleep(POLL_SECONDS)
    main_thread().join(SPARE_SECONDS)  # it removes its temporary files
    os._exit(0)


def prepare(storage: Storage, job_url: str, job: Job, home: str, look_up: LookUp) -> Prepared:
    """Do it all, in this process. Raises ScError with the reason."""
    folder = _folder(home, job.working_directory or "")
    environment = read_environment(job.environment_variables, look_up)
    placed = [archives.place(order, _say) for order in _orders(storage, job_url, job, home)]
    synced = {one.destination: one.tree for one in placed if one.tree != one.destination}
    os.makedirs(folder, exist_ok=True)
    begin = _in_version(folder, synced)
    if begin != folder:
        environment = {"PWD": folder, **environment}  # what `pwd` says, as long as it is true
    with _alone_in(begin):
        if job.start_script:
            _run_start_script(job.start_script, {**os.environ, **environment}, begin)
    return Prepared(environment, begin, synced, [one.lock for one in placed])


def _orders(storage: Storage, job_url: str, job: Job, home: str) -> Iterator[archives.Order]:
    """One for each folder; what is synced into a synced folder is a part of that."""
    pairs = [(_folder(home, synced.destination), synced) for synced in job.synced]
    for top in dict.fromkeys(_top(folder, pairs) for folder, _ in pairs):
        pieces = [
            archives.Piece(
                synced.sha256,
                "" if folder == top else os.path.relpath(folder, top),
                partial(storage.get_file, synced.place(job_url)),
            )
            for folder, synced in pairs
            if _top(folder, pairs) == top
        ]
        yield archives.Order(top, pieces, job.nonce, home)


def _top(folder: str, pairs: Sequence[tuple[str, Synced]]) -> str:
    """The highest destination that the folder is or lies in."""
    return min((one for one, _ in pairs if _is_in(folder, one)), key=len)


def _is_in(path: str, folder: str) -> bool:
    return f"{path}/".startswith(folder.rstrip("/") + "/")


def _in_version(folder: str, synced: Mapping[str, str]) -> str:
    """The folder, as it is in the version that this worker uses."""
    for destination, version in synced.items():
        if _is_in(folder, destination):
            return version + folder[len(destination) :]
    return folder


def _say(line: str) -> None:
    sys.stderr.write(f"sc: {line}\n")
    sys.stderr.flush()


@contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Two workers of one machine do not install over each other."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_environment(variables: Mapping[str, str], look_up: LookUp) -> dict[str, str]:
    """The variables with their secrets in place."""
    names = sorted(
        {value[len(SECRET) :] for value in variables.values() if value.startswith(SECRET)}
    )
    secrets = look_up(names) if names else {}
    return {
        name: secrets[value[len(SECRET) :]] if value.startswith(SECRET) else value
        for name, value in variables.items()
    }


def _run_start_script(text: str, environment: Mapping[str, str], folder: str) -> None:
    """By sh, or by what its first line names. Raises ScError if it fails."""
    with tempfile.NamedTemporaryFile("w", prefix="sc-start-", suffix=".sh") as script:
        script.write(text if text.endswith("\n") else text + "\n")
        script.flush()
        with open(script.name, "rb") as file:  # a file that is open for writing cannot be executed
            command = ["/bin/sh", script.name]
            if file.read(2) == b"#!":
                command = file.readline().decode("utf-8", "replace").split(None, 1)
                command = [word.strip() for word in command] + [script.name]
            sys.stderr.flush()
            with _starting:
                process = subprocess.Popen(
                    command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=2
                )
            code = process.wait()
    if code:
        how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
        raise ScError(
            f"start_script {how}; what it printed is in this machine's log. Correct it and start the job again."
        )


def _folder(home: str, path: str) -> str:
    return os.path.abspath(os.path.join(home, os.path.expanduser(path)))
