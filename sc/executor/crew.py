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
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, NoReturn

from sc.executor import Plan, Sink, tree
from sc.executor.messages import Channel
from sc.executor.saver import Saver
from sc.executor.slot import Keeper

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SWEEP_SECONDS = 5.0


class Member(NamedTuple):
    """A process and this side's end of the pipe to it."""

    process: BaseProcess
    channel: Channel


def fork_keeper(plan: Plan, rank: int, folder: str, open_sink: Callable[[], Sink]) -> Member:
    def body(channel: Channel) -> NoReturn:
        tree.adopt_orphans()
        signal.signal(signal.SIGCHLD, _nothing)
        Keeper(channel, rank, plan, folder, open_sink()).serve()

    return _fork(body, f"sc keeper {rank}")


def fork_saver(number: int, folder: str, open_sink: Callable[[], Sink]) -> Member:
    def body(channel: Channel) -> NoReturn:
        Saver(channel, folder, open_sink()).serve()

    return _fork(body, f"sc saver {number}")


def _fork(body: Callable[[Channel], NoReturn], title: str) -> Member:
    ours, theirs = multiprocessing.Pipe()

    def start() -> None:
        os.setsid()
        for number in SIGNALS:
            signal.signal(
                number, _nothing
            )  # the loop decides; and a handler, unlike SIG_IGN, is not inherited
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        _close_all_but(theirs.fileno())
        tree.rename_process(title)
        body(Channel(theirs))

    context: Any = multiprocessing.get_context("fork")
    process = context.Process(target=start, name=title)
    gc.freeze()  # the collector does not touch, and so does not copy, what parent and child share
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    theirs.close()
    return Member(process, Channel(ours))


def dismiss(member: Member) -> None:
    """Let an idle member go: it leaves at the end of file."""
    member.channel.close()
    member.process.join()


def kill(member: Member) -> None:
    """End a member at once."""
    member.process.kill()
    member.channel.close()
    member.process.join()


def sweep_orphans(strangers: frozenset[int]) -> None:
    """End whatever a dead keeper left: all below this process but the living members, and `strangers`, which
    were children of this process before."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        members = [process.pid for process in multiprocessing.active_children() if process.pid]
        spared = [*members, *strangers]
        if not tree.signal_below(os.getpid(), signal.SIGKILL, spared):
            return
        for pid in tree.children(os.getpid()):
            if pid not in spared:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def _close_all_but(kept: int) -> None:
    """Close every inherited descriptor but the standard ones: a pipe held open by a fork would never end."""
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(folder):
        if int(name) > 2 and int(name) != kept:
            try:
                os.close(int(name))
            except OSError:
                continue
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _nothing(number: int, frame: object) -> None:
    """A signal that only has to wake."""
