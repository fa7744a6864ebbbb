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
from functools import partial
from typing import NoReturn, Optional

from sc.executor import Sink
from sc.executor.folder import Membership, is_vanished
from sc.executor.fullness import Fullness
from sc.executor.local_results import LocalResults
from sc.executor.memory import use_one_heap
from sc.executor.messages import ALL, ATTEMPT, GROWING, Channel, Hurry, Left, Moving, Save, Saved
from sc.executor.printed import NAMES, REPLACED, WHOLE, Printed
from sc.executor.removal import Remaining, empty, remove, told
from sc.executor.results import Unstored, find_results, linked_files
from sc.executor.room import HOPELESS_ERRNOS, TAKEN
from sc.executor.threads import Threads, start_thread

STACK_BYTES = 1 << 20
"""Of a thread, in place of 8 MiB: where memory is limited (`ulimit -v`), the threads left none for what they store."""
MOVING_SECONDS = 0.5
"""Between two looks at whether anything moves, when the execution is to end."""
RUNS_AT_A_TIME, FILES_AT_A_TIME = 8, 8
"""Threads of one saver. A put to S3 takes 20 to 60 ms, nearly all of it waiting."""


class VanishedError(Exception):
    """What was to be stored is not there any more, and will not come back."""

    is_final = True


class Saver:
    """Owns one storage and the threads that use it."""

    def __init__(self, channel: Channel, folder: str, sink: Sink, fullness: Fullness) -> None:
        self._membership = Membership(folder)  # until this process ends
        self._channel = channel
        self._sink = sink
        self._fullness = fullness
        self._answering = threading.Lock()
        self._linked = 0
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
            saved = self.store(save)
        except MemoryError:
            saved = Saved(save.number, error="there is not enough memory")
        except Exception as error:  # noqa: BLE001 - whatever it is, this is not stored and is tried again
            is_final = getattr(error, "is_final", False) or (
                isinstance(error, OSError) and error.errno in HOPELESS_ERRNOS
            )
            saved = Saved(save.number, str(error) or type(error).__name__, is_final=is_final)
        self._tell(saved)

    def _tell_moving(self) -> None:
        """Now and then, until this process ends. What this itself writes to the loop is no movement."""
        while True:
            before = self._moved()
            time.sleep(MOVING_SECONDS)
            if self._moved() != before:
                self._tell(Moving())

    def _moved(self) -> int:
        return self._sink.moved() + _written_bytes() + self._linked

    def _tell(self, message: object) -> None:
        try:
            with self._answering:
                self._channel.send(message)
        except OSError:
            os._exit(0)

    def store(self, save: Save) -> Saved:
        """Store one thing and remove it here. Raises what the sink raises."""
        left = save.left
        if left.folder is not None and not os.path.isdir(left.folder):
            if is_vanished(left.folder):
                raise VanishedError(f"{left.folder} was removed before it was stored")
            # All of it is stored: who did so was killed before it could say so.
            return Saved(save.number, note=told(remove_left(left)))
        unstored = Unstored()
        if save.kind != ALL:
            self._put_all(_printed(save))
        elif left.folder is None:
            unstored = self._finish_in_place(save)
        else:
            unstored = self._store_all(save)
        remaining: list[Remaining] = []
        if save.kind != GROWING:
            if left.folder is not None:
                self._fullness.look(left.folder, time.monotonic())
            remaining = remove_left(left)
        note = "; ".join(filter(None, [unstored.told(), told(remaining)]))
        return Saved(save.number, note=note, unstored=unstored.count)

    def _store_all(self, save: Save) -> Unstored:
        """What it printed, the results, and last of all the code. Returns what of the results is not stored."""
        unstored = self._store_results(_printed(save), save)
        self._sink.put(f"{save.remote_output_path}/status_code", b"%d" % (save.code or 0))
        return unstored

    def _finish_in_place(self, save: Save) -> Unstored:
        """The same, where `stdout` and `stderr` are in their place already: they are to be there still at the end."""
        place = self._sink.local_path(save.remote_output_path) or ""
        try:
            printed = Printed.found(place)
        except OSError as error:
            gone = f"{error.filename} was removed before the results were stored"
            raise VanishedError(gone) from error
        try:
            unstored = self._store_results([], save)
            state = printed.state(place)
            if state == WHOLE:
                self._sink.put(f"{save.remote_output_path}/status_code", b"%d" % (save.code or 0))
                return unstored
            if state == REPLACED:
                raise VanishedError(f"{place}: {TAKEN}")
            copies = f"{save.left.results}.printed"
            with contextlib.suppress(FileExistsError):
                os.mkdir(copies)
            printed.copy(copies)
        finally:
            printed.close()
        again = save._replace(left=save.left._replace(folder=copies))
        unstored = self._store_all(again)
        remove(copies)
        return unstored

    def _store_results(self, puts: list[tuple[str, str]], save: Save) -> Unstored:
        """These, and the results. Returns what of them is not stored."""
        place, left = f"{save.remote_output_path}/results", save.left
        if left.results is None:
            self._put_all(puts)
            return Unstored()
        if is_vanished(left.results):
            raise VanishedError(f"{left.results} was removed before it was stored")
        found = find_results(left.results, left.identity)
        folder = self._sink.local_path(place)
        if folder is None:
            puts = puts + [(f"{place}/{name}", found.path(name)) for name in found.files]
            self._put_all(puts + [(f"{place}/{name}", path) for name, path in linked_files(found)])
            return found.unstored
        self._put_all(puts)
        results = LocalResults(found, folder, self._count_link)
        copies = [(f"{place}/{name}", path) for name, path in results.begin()]
        self._files.for_each(lambda put: self._sink.put_file(*put), copies)
        results.finish()
        return found.unstored

    def _count_link(self) -> None:
        """Of several threads: what matters is that the number changes."""
        self._linked += 1

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
        status = _plain_file(path)
        if status is not None:
            size = status.st_size
            if (
                size > 1 << 20 or status.st_mode & stat.S_IXUSR
            ):  # a storage may keep that it can be executed
                self._sink.put_file(place, path)
                return
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                data = file.read(
                    size
                )  # takes the memory for as much as it is told, whatever there is
        self._sink.put(place, data)


def _printed(save: Save) -> list[tuple[str, str]]:
    """Where `stdout` and `stderr` go, and where they are."""
    below = f"/attempts/{save.attempt}" if save.kind == ATTEMPT else ""
    place = f"{save.remote_output_path}{below}"
    return [(f"{place}/{name}", f"{save.left.folder}/{name}") for name in NAMES]


def _written_bytes() -> int:
    """By this process, into files: proc(5), `wchar`. 0 where this is not known."""
    try:
        with open("/proc/self/io", "rb") as file:
            return int(file.read().split()[3])
    except (OSError, ValueError, IndexError):
        return 0


def _end() -> NoReturn:
    os._exit(1)


def _plain_file(path: str) -> Optional[os.stat_result]:
    """None where there is none that can be read."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        if not os.access(path, os.R_OK):
            os.chmod(path, status.st_mode | stat.S_IRUSR)
    except OSError:
        return None
    return status


def remove_left(left: Left) -> list[Remaining]:
    """Remove what is stored by now; returns what stays.

    The folder goes at one instant: half of it would be stored again as if the run had left no more, if this process
    were killed in between."""
    remaining: list[Remaining] = []
    if left.folder is not None:
        gone = f"{left.folder}.gone"
        try:
            os.rename(left.folder, gone)
        except OSError:
            gone = left.folder
        remaining = remove(gone)
    if left.results is not None:
        more = remove(left.results) if left.is_own else empty(left.results, left.identity)
        remaining = remaining + more
    return remaining
