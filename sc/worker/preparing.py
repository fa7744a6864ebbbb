"""What happens on a machine before its first run: folders unpacked, environment read, start script run.

All of it happens in a child process, so that the worker goes on hearing its clerk, and a signal can end it. What the
start script prints goes where the worker's own words go, which is the machine's log.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, NamedTuple, Optional

from sc import archives
from sc.errors import ScError
from sc.staging import Job, Synced
from sc.storage import Storage
from sc.worker.forks import stand_alone

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
        prepared = None if "error" in answer else Prepared(**answer)
        if prepared is not None:
            for lock in prepared.locks:
                archives.hold(lock)  # until this process ends
        with suppress(OSError):
            self._connection.send_bytes(b"held")
        self._process.join()
        if prepared is None:
            raise ScError(answer["error"])
        return prepared

    def end(self) -> None:
        """End it and all that it has started, if it still goes on."""
        try:
            if self._process.is_alive() and self._process.pid is not None:
                # Alone first: without a session of its own yet it has started nothing, and now never will. If it has
                # got one meanwhile, there is a group.
                self._process.kill()
                with suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()
        finally:
            self._connection.close()


def _prepare_and_tell(
    connection: Connection,
    open_storage: Callable[[], Storage],
    job_url: str,
    job: Job,
    home: str,
    look_up: LookUp,
) -> None:
    stand_alone(signal.SIG_DFL, connection.fileno())
    Thread(target=_end_with_the_worker, args=(connection.fileno(),), daemon=True).start()
    try:
        prepared = prepare(open_storage(), job_url, job, home, look_up)
        answer: dict[str, Any] = prepared._asdict()
    except ScError as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"error": f"This machine could not be prepared: {error}."}
    connection.send_bytes(json.dumps(answer).encode())
    with suppress(EOFError, OSError):
        connection.recv_bytes()  # the worker has the locks too; from here on ours may go


def _end_with_the_worker(descriptor: int) -> None:
    """A worker that was killed cannot end its start script: the other end of the pipe tells, and we all go."""
    poll = select.poll()
    poll.register(descriptor, 0)  # what is told without asking: POLLERR, POLLHUP
    poll.poll()
    os.killpg(0, signal.SIGKILL)


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
    for destination, tree in synced.items():
        if _is_in(folder, destination):
            return tree + folder[len(destination) :]
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
            code = subprocess.call(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=2
            )
    if code:
        how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
        raise ScError(
            f"start_script {how}; what it printed is in this machine's log. Correct it and start the job again."
        )


def _folder(home: str, path: str) -> str:
    return os.path.abspath(os.path.join(home, os.path.expanduser(path)))
