"""A keeper: the process behind one slot. It executes one run at a time, whole: from its folders to its sweeping.

    idle ─Start─▶ running ─leader exits, nothing left──────────────────────────▶ Ended
                     │ leader exits and leaves something, time-out, or Stop
                     ▼
                  winding up, asked, forced (see `watch`) ─nothing left────────▶ Ended

When the loop is gone (end of file on the pipe) the keeper forces its run's end, removes the temporary folder and
leaves.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn, Optional

from sc.executor import Plan, Sink, shebang, tree
from sc.executor.folder import Membership
from sc.executor.fullness import Fullness
from sc.executor.memory import MemoryKills
from sc.executor.messages import Blocked, Channel, Start, Stop
from sc.executor.printed import Printed
from sc.executor.room import (
    HOPELESS_ERRNOS,
    End,
    Room,
    RoomError,
    error_line_of,
    make_room,
    not_stored,
    remove_attempt,
)
from sc.executor.survivors import Survivors, classify, read_survivors, sentence
from sc.executor.watch import (
    FORCE_AGAIN_SECONDS,
    NOTHING_LEFT,
    SIGNAL_BASE,
    STOP_SECONDS,
    Watch,
)
from sc.model import Command

TIMED_OUT, CANNOT_EXECUTE, NOT_FOUND = 124, 126, 127
FULL_LOOK_SECONDS = 1.0
"""How often a run's disk is looked at: what finds it full may print less than it meant to, and go on."""
HOLD_SECONDS = 1.5 * FULL_LOOK_SECONDS
"""What was written on a full disk stays for so long, so that another worker of this machine sees it full, too."""
MAX_ARGUMENT_BYTES = 131071
"""Linux, MAX_ARG_STRLEN: 32 pages, the terminating NUL included."""
CROWDED = (errno.EAGAIN, errno.ENOMEM)
FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
PASSING_ERRNOS = frozenset([*CROWDED, *FULL_ERRNOS, errno.EMFILE, errno.ENFILE, errno.EIO])
FULL = "no space is left, or it is read-only"


class CannotStartError(Exception):
    """A command that cannot be started, with its code: 127 not found, 126 found and refused."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Keeper:
    """Made by the loop, once for all slots, so that the memory is shared; a process of its own from `begin` on."""

    def __init__(self, plan: Plan, folder: str, sink: Sink, fullness: Fullness) -> None:
        self._plan = plan
        self._folder = folder
        self._sink = sink
        self._fullness = fullness
        self._environment = {**os.environb, **as_bytes(plan.environment)}
        self._home = plan.working_directory
        """None: where this process is anyway, even if that is removed."""
        self._home_descriptor = -1
        self._no_home = ""
        self._memory_kills = MemoryKills()
        self._was_full = False
        self._poll = select.poll()

    def begin(self, channel: Channel, rank: int) -> None:
        """Be the keeper of this rank, in a process that was just forked for it."""
        self._channel = channel
        self._rank = rank
        self._membership = Membership(self._folder)
        self._wake, wake_end = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(channel.fileno(), select.POLLIN)
        os.close(0)  # from here on the stdin of runs, which cannot be written to
        os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)

    def serve(self) -> NoReturn:
        """Execute what the loop sends, until the loop is gone."""
        self._go_home()
        while True:
            try:
                message = self._channel.receive()
                if isinstance(message, Start):
                    self._channel.send(self._execute_or_tell(message))
            except (EOFError, OSError):
                self._leave()

    def _go_home(self) -> None:
        """Be where runs begin; a descriptor leads back there, even if the folder is removed meanwhile."""
        try:
            if self._home is not None:
                os.chdir(self._home)
            flags = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
            self._home_descriptor = os.open(".", flags)
        except OSError as error:
            self._no_home = f"{self._home}: {error.strerror}"

    def _execute_or_tell(self, start: Start) -> object:
        """What cannot be finished here, on a full disk perhaps, is no reason to leave."""
        try:
            return self._execute(start)
        except OSError as error:
            if not self._reap():
                raise  # it is the loop that is gone, and not this run's folder
            remove_attempt(f"{self._folder}/{start.number}")
            reason = f"a run could not be finished: {error}"
            if error.errno in HOPELESS_ERRNOS:
                return not_stored(reason, time.time(), time.time())
            return Blocked(reason)

    def _execute(self, start: Start) -> object:
        try:
            room = make_room(self._sink, f"{self._folder}/{start.number}", start)
        except RoomError as error:
            if error.is_passing:
                return Blocked(str(error))
            return not_stored(str(error), time.time(), time.time())
        if self._was_full and self._fullness.look(room.output, time.monotonic()):
            room.remove()
            return Blocked(f"{room.output}: {FULL}")
        try:
            printed = Printed(room.output)
        except OSError as error:
            room.remove()
            reason = f"{error.filename}: {error.strerror}"
            if error.errno in HOPELESS_ERRNOS:
                return not_stored(reason, time.time(), time.time())
            return Blocked(f"a run could not be started: {reason}")
        try:
            return self._execute_in(room, printed, start)
        finally:
            printed.close()

    def _execute_in(self, room: Room, printed: Printed, start: Start) -> object:
        kills = self._memory_kills.count_before(time.monotonic())
        began = time.time()
        try:
            pid = self._start(start, room, printed)
        except CannotStartError as error:
            printed.explain(f"sc: {error}\n".encode("utf-8", "surrogateescape"))
            end = End(error.code, "not-started", began, time.time())
            return room.close(start, printed, end, str(error))
        except OSError as error:
            room.remove()
            return Blocked(f"a run could not be started: {error.strerror}", error.errno in CROWDED)
        watch = self._watch(pid, start.run.timeout, room)
        ended = began + watch.seconds  # not what the clock says, which may have been set meanwhile
        if self._was_full:
            time.sleep(HOLD_SECONDS)
            room.remove()
            return Blocked(f"{room.output}: {FULL}, so that output may be cut off")
        try:
            rescued = room.rescued(printed)
        except RoomError as error:
            room.remove()
            return not_stored(str(error), began, ended)
        code, cause = judge(watch.status, watch.ended_by)
        if code == SIGNAL_BASE + signal.SIGKILL and kills != self._memory_kills.count():
            cause = "oom"
        told = self._told(start, rescued, watch, code)
        closed = rescued.close(start, printed, End(code, cause, began, ended), told)
        return closed._replace(ended_processes=sentence(watch.ended)[0]) if watch.ended else closed

    def _told(self, start: Start, room: Room, watch: Watch, code: Optional[int]) -> str:
        """What a person should know of a run beside its code; nothing, as a rule."""
        told = [sentence(watch.ended)[1]] if watch.ended else []
        told += [room.remark] if room.remark else []
        if code in (CANNOT_EXECUTE, NOT_FOUND) and isinstance(start.run.cmd, str):
            folder = os.path.expanduser(start.run.working_directory or ".")
            problem = shebang.problem_in(error_line_of(room.stderr), folder)
            told += [problem] if problem else []
        return "; ".join(told)

    def _start(self, start: Start, room: Room, printed: Printed) -> int:
        """Start the leader. Raises CannotStartError when it is the run's own fault, else OSError."""
        environment = run_environment(self._environment, start, self._rank, room.results)
        folder = start.run.working_directory
        if self._no_home:
            raise CannotStartError(CANNOT_EXECUTE, self._no_home)
        try:
            if folder is not None:
                environment = self._go_to(os.path.expanduser(folder), environment)
            script = f"{self._folder}/{start.number}.sh"
            command = command_line(start.run.cmd, environment, script)
            out, err = printed.descriptors
            return tree.start(command, environment, out, err)
        except OSError as error:
            if error.errno in PASSING_ERRNOS or not os.path.isdir(room.output):
                raise
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE
            name = os.fsdecode(error.filename or b"the command")
            reason = shebang.problem_of(name) or f"{name}: {_why(error)}"
            raise CannotStartError(code, reason) from error
        finally:
            if folder is not None:
                os.fchdir(self._home_descriptor)

    def _go_to(self, folder: str, environment: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        """Be in the run's folder: if it lies in a synced one, in the version that its worker has got. Returns the
        run's environment there, in which PWD is the name that it was given."""
        path = os.path.abspath(folder) if self._plan.synced else ""
        for destination, version in self._plan.synced.items():
            if f"{path}/".startswith(destination.rstrip("/") + "/"):
                os.chdir(version + path[len(destination) :])
                return {**environment, b"PWD": encode(path)}
        os.chdir(folder)
        return environment

    def _watch(self, pid: int, timeout: Optional[float], room: Room) -> Watch:
        """Wait until the run and all that it started are gone, and see whether its disk is full meanwhile."""
        began = time.monotonic()
        watch = Watch(pid, began, timeout, self._plan.grace_seconds)
        self._was_full = False
        asked: list[int] = []
        while not self._reap(watch):
            step = watch.step(time.monotonic(), _left(watch))
            if step.signal is not None and step.pids is not None:
                tree.send(step.pids, step.signal)
            elif step.signal == signal.SIGTERM:
                asked = tree.signal_below(os.getpid(), signal.SIGTERM, asked=asked)
            elif step.signal is not None:
                tree.signal_below(os.getpid(), step.signal)
            pause = FULL_LOOK_SECONDS if step.pause is None else step.pause
            self._wait(watch, min(pause, FULL_LOOK_SECONDS))
            self._was_full |= self._fullness.look(room.output, time.monotonic())
        watch.seconds = time.monotonic() - began
        end = time.monotonic() + STOP_SECONDS
        while watch.may_be_stopped and time.monotonic() < end:
            self._wait(watch, end - time.monotonic())
        self._was_full |= self._fullness.look(room.output, time.monotonic())
        self._was_full |= self._fullness.was_seen(room.output, began)
        return watch

    def _reap(self, watch: Optional[Watch] = None) -> bool:
        """Take the exit of every child that has ended; True when no child is left at all."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return False
                if watch is not None:
                    watch.reaped(pid, status)
        except ChildProcessError:
            return True

    def _wait(self, watch: Watch, pause: float) -> None:
        """Until a child ends, the loop says something, or the pause is over."""
        if not self._channel.has_message():
            ready = self._poll.poll(int(pause * 1000) + 1)
            if (self._wake, select.POLLIN) in ready:
                os.read(self._wake, 4096)
                return
            if not ready:
                return
        message = self._channel.receive()
        if isinstance(message, Stop):
            watch.stop(time.monotonic(), message.at_once, _left(watch))

    def _leave(self) -> NoReturn:
        """The loop is gone: leave nothing behind."""
        pause = FORCE_AGAIN_SECONDS
        while not self._reap():
            tree.signal_below(os.getpid(), signal.SIGKILL)
            select.select([self._wake], [], [], pause)
            pause = min(0.5, 2 * pause)
        self._membership.leave()
        os._exit(0)


def _why(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "it is no program of this machine, and has no first line with #! that names one"
    return error.strerror or str(error)


def _left(watch: Watch) -> Survivors:
    """What is there of the run, as far as it decides what happens next."""
    if not watch.is_winding_up:
        return NOTHING_LEFT
    return classify(read_survivors(os.getpid()), watch.drains)


def run_environment(
    outer: Mapping[bytes, bytes], start: Start, rank: int, results: str
) -> Mapping[bytes, bytes]:
    """What the run finds in its environment: `sc`'s own, the batch's and the run's, and DESIGN.md 3's."""
    environment = {
        b"PYTHONUNBUFFERED": b"1",  # else a Python run that times out has printed nothing
        **outer,
        **as_bytes(start.run.env),
        b"SATURN_RUN_REMOTE_OUTPUT_PATH": encode(start.run.remote_output_path),
        b"SATURN_RUN_LOCAL_RESULTS_DIR": encode(results),
        b"SATURN_RUN_LOCAL_RANK": b"%d" % rank,
        b"SATURN_RUN_ATTEMPT": b"%d" % start.attempt,
    }
    if start.devices is not None:
        environment[b"CUDA_VISIBLE_DEVICES"] = encode(start.devices)
    return environment


def command_line(cmd: Command, environment: Mapping[bytes, bytes], script: str) -> Sequence[bytes]:
    """What to execute; a text too long for one argument is put into the file `script`.

    A list's first word is looked up in the run's own PATH. Raises FileNotFoundError.
    """
    if not isinstance(cmd, str):
        words = [encode(word) for word in cmd]
        return [_found(words[0], environment), *words[1:]]
    text = encode(cmd)
    if len(text) < MAX_ARGUMENT_BYTES:
        return [b"/bin/sh", b"-c", text]
    with open(script, "wb") as file:
        file.write(text + b"\n")
    return [b"/bin/sh", encode(script)]


def _found(program: bytes, environment: Mapping[bytes, bytes]) -> bytes:
    if b"/" in program:
        return program
    refused: Optional[OSError] = None
    for folder in environment.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
        path = os.path.join(folder or b".", program)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
        if os.path.isfile(path):
            refused = PermissionError(errno.EACCES, "Permission denied", os.fsdecode(path))
    raise refused or FileNotFoundError(errno.ENOENT, "command not found", os.fsdecode(program))


def judge(status: int, ended_by: Optional[str]) -> tuple[Optional[int], str]:
    """The code and the cause of a run's end, from its leader's wait status."""
    if ended_by == "timeout":
        return TIMED_OUT, "timeout"
    if ended_by is not None:
        return None, ended_by
    if os.WIFSIGNALED(status):
        return SIGNAL_BASE + os.WTERMSIG(status), "signal"
    return os.WEXITSTATUS(status), "exit"


def as_bytes(environment: Mapping[str, str]) -> Mapping[bytes, bytes]:
    return {encode(name): encode(value) for name, value in environment.items()}


def encode(text: str) -> bytes:
    """UTF-8 whatever the locale says, and the bytes of a name that is no UTF-8 as they were."""
    return text.encode("utf-8", "surrogateescape")
