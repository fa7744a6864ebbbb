"""A saver: a process that stores what runs have left, several at a time, `status_code` last of all.

It tries each once; the loop decides when it is tried again. Where it has not even the memory to answer it ends, and
the loop has another do what it was given.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

from sc.executor import Sink
from sc.executor.folder import Membership
from sc.executor.fullness import Fullness
from sc.executor.memory import use_one_heap
from sc.executor.messages import ALL, ATTEMPT, GROWING, Channel, Hurry, Left, Moving, Save, Saved
from sc.executor.room import empty_folder, remove_tree
from sc.executor.threads import Threads, start_thread

STACK_BYTES = 1 << 20
"""Of a thread, in place of 8 MiB: where memory is limited (`ulimit -v`), the threads left none for what they store."""
MOVING_SECONDS = 0.5
"""Between two looks at whether anything moves, when the execution is to end."""
RUNS_AT_A_TIME, FILES_AT_A_TIME = 8, 8
"""Threads of one saver. A put to S3 takes 20 to 60 ms, nearly all of it waiting."""


class Saver:
    """Owns one storage and the threads that use it."""

    def __init__(self, channel: Channel, folder: str, sink: Sink, fullness: Fullness) -> None:
        self._membership = Membership(folder)  # until this process ends
        self._channel = channel
        self._sink = sink
        self._fullness = fullness
        self._answering = threading.Lock()
        threading.stack_size(STACK_BYTES)
        use_one_heap()
        self._runs = Threads(RUNS_AT_A_TIME, fail=_end)
        self._files = Threads(FILES_AT_A_TIME, fail=_end)

    def serve(self) -> NoReturn:
        """Store what the loop sends, until the loop is gone."""
        try:
            while True:
                message = self._channel.receive()
                if isinstance(message, Hurry):
                    with contextlib.suppress(
                        RuntimeError
                    ):  # no thread: nobody hears that anything moves
                        start_thread(self._tell_moving)
                else:
                    self._runs.give(partial(self._answer, message))
        except (EOFError, OSError):
            os._exit(0)
        except MemoryError:
            _end()

    def _answer(self, save: Save) -> None:
        try:
            saved = Saved(save.number, note=self.store(save))
        except MemoryError:
            saved = Saved(save.number, error="there is not enough memory")
        except Exception as error:  # noqa: BLE001 - whatever it is, this is not stored and is tried again
            is_final = bool(getattr(error, "is_final", False))
            saved = Saved(save.number, str(error) or type(error).__name__, is_final=is_final)
        self._tell(saved)

    def _tell_moving(self) -> None:
        """Now and then, until this process ends."""
        before = None
        while True:
            moved = self._sink.moved() + _written_bytes()
            if before is not None and moved != before:
                self._tell(Moving())
            before = moved
            time.sleep(MOVING_SECONDS)

    def _tell(self, message: object) -> None:
        try:
            with self._answering:
                self._channel.send(message)
        except OSError:
            os._exit(0)

    def store(self, save: Save) -> str:
        """Store one thing and remove it here. Returns a note on what cannot be stored; raises what the sink raises."""
        place, left = save.remote_output_path, save.left
        if left.folder is not None and not os.path.isdir(left.folder):
            remove_left(left)  # all of it is stored: who did so was killed before it could say so
            return ""
        below = f"/attempts/{save.attempt}" if save.kind == ATTEMPT else ""
        puts = []
        if left.folder is not None:
            puts = [
                (f"{place}{below}/{name}", f"{left.folder}/{name}") for name in ("stdout", "stderr")
            ]
        skipped: list[str] = []
        if save.kind == ALL:
            found = find_results(left.results, skipped.append) if left.results else ()
            self._put_all(puts + [(f"{place}/results/{name}", path) for name, path in found])
            self._sink.put(f"{place}/status_code", b"%d" % (save.code or 0))
        else:
            self._put_all(puts)
        if save.kind != GROWING:
            if left.folder is not None:
                self._fullness.look(left.folder, time.monotonic())
            remove_left(left)
        return note(skipped)

    def _put_all(self, puts: list[tuple[str, str]]) -> None:
        if len(puts) < 3:
            for put in puts:
                self._put_file(put)
        else:
            self._files.for_each(self._put_file, puts)

    def _put_file(self, put: tuple[str, str]) -> None:
        """Small files go in one piece, which is what a run's usually are.

        Output that the run removed, or made a pipe of, which has no end, is stored empty.
        """
        place, path = put
        data = b""
        if _is_plain_file(path):
            size = os.path.getsize(path)
            if size > 1 << 20:
                self._sink.put_file(place, path)
                return
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                data = file.read(
                    size
                )  # takes the memory for as much as it is told, whatever there is
        self._sink.put(place, data)


def _written_bytes() -> int:
    """By this process, into files: proc(5), `wchar`. 0 where this is not known."""
    try:
        with open("/proc/self/io", "rb") as file:
            return int(file.read().split()[3])
    except (OSError, ValueError, IndexError):
        return 0


def _end() -> NoReturn:
    os._exit(1)


def find_results(folder: str, skip: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """(name below the folder, path to read) of every file, empty ones too. `skip` is told the names of links that
    lead out of the folder or nowhere, and of what is no file (sockets, pipes, devices)."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        if os.path.lexists(folder):
            skip("results (it is no folder any more)")
        return
    real = os.path.realpath(folder)
    heads = [""]
    while heads:
        head = heads.pop()
        for entry in _scan(f"{folder}/{head}", head, skip):
            name = f"{head}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                heads.append(f"{name}/")
                continue
            path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if _is_inside(path, real, entry.is_symlink()) and _is_plain_file(path):
                yield name, path
            else:
                skip(name)


def _scan(path: str, name: str, skip: Callable[[str], None]) -> list[os.DirEntry[str]]:
    try:
        os.chmod(path, os.stat(path).st_mode | stat.S_IRWXU)
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        skip(f"{name} ({error.strerror})")
        return []


def _is_inside(path: str, folder: str, is_link: bool) -> bool:
    return not is_link or path.startswith(folder + os.sep)


def _is_plain_file(path: str) -> bool:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return False
        if not os.access(path, os.R_OK):
            os.chmod(path, status.st_mode | stat.S_IRUSR)
    except OSError:
        return False
    return True


def note(skipped: list[str]) -> str:
    """A sentence for the run's record."""
    if not skipped:
        return ""
    names = ", ".join(repr(name) for name in skipped[:3])
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return f"not stored, being no plain file inside of the results folder: {names}{more}"


def remove_left(left: Left) -> None:
    """Remove what is stored by now. The folder goes at one instant: half of it would be stored again as if the run had
    left no more, if this process were killed in between."""
    if left.folder is not None:
        gone = f"{left.folder}.gone"
        try:
            os.rename(left.folder, gone)
        except OSError:
            gone = left.folder
        remove_tree(gone)
    if left.results is not None:
        (remove_tree if left.is_own else empty_folder)(left.results)
