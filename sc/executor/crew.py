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
from collections.abc import Callable, Collection, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple, NoReturn, Optional, TypeVar

from sc.executor import OpenSink, tree
from sc.executor.fullness import Fullness
from sc.executor.limits import Limits, restore_open_files
from sc.executor.messages import Channel
from sc.executor.saver import Saver
from sc.executor.signals import STOPPING
from sc.executor.slot import Keeper

SWEEP_SECONDS = 5.0
SPARE_DESCRIPTORS = 12
"""Of those that keepers leave, the savers take one each, and a few while they are made."""


class Member(NamedTuple):
    """A process and this side's end of the pipe to it."""

    pid: int
    channel: Channel


def fork_keepers(keeper: Keeper, ranks: Sequence[int], limits: Optional[Limits]) -> list[Member]:
    """One for each rank. Those forked together share the memory that this process writes to between two forks."""

    def body(position: int, channel: Channel) -> NoReturn:
        tree.adopt_orphans()
        restore_open_files(limits)
        keeper.begin(channel, ranks[position])
        keeper.serve()

    return _fork(body, [b"sc keeper %d" % rank for rank in ranks], SPARE_DESCRIPTORS)


def fork_saver(number: int, folder: str, open_sink: OpenSink, fullness: Fullness) -> Member:
    """Raises OSError where the machine allows no more processes or open files."""

    def body(position: int, channel: Channel) -> NoReturn:
        Saver(channel, folder, open_sink(), fullness).serve()

    return _fork(body, [b"sc saver %d" % number], 0)[0]


Body = Callable[[int, Channel], NoReturn]
Made = TypeVar("Made")


def _fork(body: Body, titles: Sequence[bytes], spare: int) -> list[Member]:
    """Bare forks: what `multiprocessing.Process` does around one costs each child 0.75 MB of memory of its own,
    and so does what is done between two, since a page written to then is no longer shared.

    Fewer than there are titles where the machine allows no more; OSError if it allows none. `spare` descriptors are
    left for others.
    """
    null = os.open(os.devnull, os.O_RDWR)
    try:
        with _spare_descriptors(null, spare):
            pipes = _as_many_as_possible(multiprocessing.Pipe, len(titles))
        pids = _fork_each(body, titles, [theirs for _, theirs in pipes], null)
    finally:
        os.close(null)
    for _, theirs in pipes:
        theirs.close()
    for ours, _ in pipes[len(pids) :]:
        ours.close()
    return [Member(pid, Channel(ours)) for pid, (ours, _) in zip(pids, pipes)]


def _fork_each(
    body: Body, titles: Sequence[bytes], ends: Sequence[Connection], null: int
) -> list[int]:
    """The ids of as many as could be forked, one for each end of a pipe."""
    highest = max(map(int, os.listdir(_descriptors())))
    tree.title_room()
    gc.collect()
    gc.freeze()  # the collector does not touch, and so does not copy, what parent and child share
    pids: list[int] = []
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        for position, end in enumerate(ends):
            pid = os.fork()
            if pid == 0:
                os.dup2(null, 0)
                os.dup2(null, 1)
                _be(body, position, end, titles[position], highest)
            pids.append(pid)
    except OSError:
        if not pids:
            raise
        return _some_of(pids)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    return pids


def _some_of(pids: Sequence[int]) -> list[int]:
    """Where the machine allows no more processes, runs need some, too: a third of them stays."""
    staying = max(1, len(pids) // 3)
    for pid in pids[staying:]:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return list(pids[:staying])


@contextlib.contextmanager
def _spare_descriptors(some: int, count: int) -> Iterator[None]:
    """Leave room for what the loop and the feed open beside the pipes."""
    spare = _as_many_as_possible(lambda: os.dup(some), count)
    try:
        yield
    finally:
        for descriptor in spare:
            os.close(descriptor)


def _as_many_as_possible(make: Callable[[], Made], count: int) -> list[Made]:
    made: list[Made] = []
    try:
        for _ in range(count):
            made.append(make())
    except OSError:
        if not made:
            raise
    return made


def _be(body: Body, position: int, connection: Connection, title: bytes, highest: int) -> NoReturn:
    """What a member is from its first moment on."""
    try:
        os.setsid()
        # What stops the loop stays blocked: it means nothing here, and its runs begin without that.
        signal.set_wakeup_fd(-1)
        # A pipe that a fork held open would never end.
        os.closerange(3, connection.fileno())
        os.closerange(connection.fileno() + 1, highest + 1)
        tree.rename_process(title)
        body(position, Channel(connection))
    except MemoryError:
        pass  # whoever reads the pipe has another do it
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
