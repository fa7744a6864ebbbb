"""The processes of one execution: a keeper per slot, made when its rank is first used, and a few savers.

Each is a fork of the loop's process, in a session of its own, holding nothing but its end of a pipe. So the end of
file on that pipe tells either side that the other is gone, however it went.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple, NoReturn

from sc.executor import Sink, tree
from sc.executor.messages import Channel
from sc.executor.saver import Saver
from sc.executor.signals import STOPPING
from sc.executor.slot import Keeper

SWEEP_SECONDS = 5.0


class Member(NamedTuple):
    """A process and this side's end of the pipe to it."""

    pid: int
    channel: Channel


def fork_keepers(keeper: Keeper, ranks: Sequence[int]) -> list[Member]:
    """One for each rank. Those forked together share the memory that this process writes to between two forks."""

    def body(position: int, channel: Channel) -> NoReturn:
        tree.adopt_orphans()
        keeper.begin(channel, ranks[position])
        keeper.serve()

    return _fork(body, [b"sc keeper %d" % rank for rank in ranks])


def fork_saver(number: int, folder: str, open_sink: Callable[[], Sink]) -> Member:
    def body(position: int, channel: Channel) -> NoReturn:
        Saver(channel, folder, open_sink()).serve()

    return _fork(body, [b"sc saver %d" % number])[0]


Body = Callable[[int, Channel], NoReturn]


def _fork(body: Body, titles: Sequence[bytes]) -> list[Member]:
    """Bare forks: what `multiprocessing.Process` does around one costs each child 0.75 MB of memory of its own,
    and so does what is done between two, since a page written to then is no longer shared."""
    pipes = [multiprocessing.Pipe() for _ in titles]
    pids = [0] * len(titles)
    tree.title_room()
    null = os.open(os.devnull, os.O_RDWR)
    highest = max(map(int, os.listdir(_descriptors())))
    gc.collect()
    gc.freeze()  # the collector does not touch, and so does not copy, what parent and child share
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        for position in range(len(titles)):
            pids[position] = os.fork()
            if pids[position] == 0:
                os.dup2(null, 0)
                os.dup2(null, 1)
                _be(body, position, pipes[position][1], titles[position], highest)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    os.close(null)
    for _, theirs in pipes:
        theirs.close()
    return [Member(pid, Channel(ours)) for pid, (ours, _) in zip(pids, pipes)]


def _be(body: Body, position: int, connection: Connection, title: bytes, highest: int) -> NoReturn:
    """What a member is from its first moment on."""
    try:
        os.setsid()
        # The loop's handlers stay: they count signals, which here means nothing, and do not outlive an exec.
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        # A pipe that a fork held open would never end.
        os.closerange(3, connection.fileno())
        os.closerange(connection.fileno() + 1, highest + 1)
        tree.rename_process(title)
        body(position, Channel(connection))
    except BaseException:  # noqa: BLE001 - nothing may return from here into the loop's own code
        traceback.print_exc()
    finally:
        os._exit(1)


def _descriptors() -> str:
    """The folder that lists this process's open descriptors."""
    return "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"


def dismiss(members: Collection[Member]) -> None:
    """Let idle members go: each leaves at the end of file."""
    for member in members:
        member.channel.close()
    for member in members:
        os.waitpid(member.pid, 0)


def kill(member: Member) -> None:
    """End a member at once."""
    os.kill(member.pid, signal.SIGKILL)
    member.channel.close()
    os.waitpid(member.pid, 0)


def sweep_orphans(spared: Collection[int]) -> None:
    """End whatever a dead keeper left: all below this process but `spared` and what is below these."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        if not tree.signal_below(os.getpid(), signal.SIGKILL, tuple(spared)):
            return
        for pid in tree.children(os.getpid()):
            if pid not in spared:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
