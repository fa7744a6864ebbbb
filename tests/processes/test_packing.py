"""A folder is packed while others work in it."""

from __future__ import annotations

import os
import socket
import tarfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sc.archives import pack
from sc.errors import InputError


def restless(folder: Path, stop: threading.Event, failures: list[BaseException]) -> None:
    """Temporary files, folders and sockets come and go; one file grows and shrinks."""
    try:
        while not stop.is_set():
            for number in range(20):
                (folder / f"temporary-{number}").write_bytes(b"x" * 5000)
                (folder / f"t-{number}/deep").mkdir(parents=True, exist_ok=True)
                (folder / f"t-{number}/deep/file").touch()
            one = socket.socket(socket.AF_UNIX)
            one.bind(os.path.relpath(folder / "socket"))
            one.close()
            (folder / "socket").unlink()
            (folder / "log").write_bytes(b"y" * 300_000)
            for number in range(20):
                (folder / f"temporary-{number}").unlink()
                (folder / f"t-{number}/deep/file").unlink()
                (folder / f"t-{number}/deep").rmdir()
                (folder / f"t-{number}").rmdir()
            os.truncate(folder / "log", 10)
    except OSError as error:
        failures.append(error)


def packs(folder: Path, archive: Path) -> bool:
    """Whether it can be packed; then every file in the archive is whole."""
    try:
        pack(str(folder), str(archive))
    except InputError as error:
        if "becomes shorter all the time" not in str(error):
            raise
        return False
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert "kept" in names
    return True


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_pack_of_a_folder_in_which_files_come_and_go(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    stop, failures = threading.Event(), list[BaseException]()
    thread = in_thread(lambda: restless(folder, stop, failures))
    try:
        done = [packs(folder, tmp_path / "a.tar.gz") for _ in range(60)]
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert any(done)
    with suppress(FileNotFoundError):
        os.remove(folder / "log")
    assert packs(folder, tmp_path / "a.tar.gz")
