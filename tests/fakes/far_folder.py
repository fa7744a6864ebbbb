"""A storage as far away as S3 is: outputs have to be sent, and sending may fail. Kept in a folder, to be looked at."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import Optional

from sc.errors import StorageError


class FarFolder:
    """`far:/a/b` is `<folder>/a/b`. While `<folder>/.down` exists, every put fails with what it says; while
    `<folder>/.stalled` does, none returns; with `<folder>/.moving` they move all the same.

    `<folder>/.puts` gets a line for each put, in order.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._writing = threading.Lock()
        self._moved = 0

    def moved(self) -> int:
        return self._moved

    def local_path(self, place: str) -> Optional[str]:
        return None

    def put(self, place: str, data: bytes) -> str:
        path = self._reach(place)
        with open(path + ".half", "wb") as file:
            file.write(data)
        os.rename(path + ".half", path)
        return str(len(data))

    def put_file(self, place: str, path: str) -> None:
        target = self._reach(place)
        shutil.copyfile(path, target + ".half")
        os.rename(target + ".half", target)

    def _reach(self, place: str) -> str:
        while os.path.exists(os.path.join(self._folder, ".stalled")):
            time.sleep(0.05)
            self._moved += os.path.exists(os.path.join(self._folder, ".moving"))
        down = os.path.join(self._folder, ".down")
        if os.path.exists(down):
            with open(down) as file:
                raise StorageError(file.read() or "the network is down")
        target = os.path.join(self._folder, place.partition(":/")[2])
        with self._writing:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(os.path.join(self._folder, ".puts"), "ab") as file:
                file.write(os.fsencode(place) + b"\0")
        return target
