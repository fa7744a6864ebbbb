"""What stands here starts no process and asks no network: whatever does belongs elsewhere, and is told so."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator

import pytest

_PROCESSES = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
_NETWORK = {"socket.bind", "socket.connect", "socket.getaddrinfo"}
_TOLD = _PROCESSES | _NETWORK

_seen: set[str] = set()
_watched: set[int] = set()
"""The thread of the test that goes on: what other tests have left running is none of its business."""


def _watch(event: str, _: object) -> None:
    if _watched and event in _TOLD and threading.get_ident() in _watched:
        _seen.add(event)


sys.addaudithook(_watch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Fails a test that is none of a unit."""
    _seen.clear()
    _watched.add(threading.get_ident())
    try:
        yield
    finally:
        _watched.clear()
    if _seen & _PROCESSES:
        pytest.fail(f"it starts a process ({', '.join(_seen)}): put it into tests/processes")
    if _seen:
        pytest.fail(f"it uses the network ({', '.join(_seen)}): put it into tests/contract")
