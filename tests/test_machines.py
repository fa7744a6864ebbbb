"""The bare machines of the tests are bare, apart from each other, and gone when they are done with."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from tests.machines import SUITES, machine

pytestmark = pytest.mark.bare

LONG = f"9876{os.getpid()}"
"""Seconds that nobody else sleeps."""


@pytest.mark.parametrize("suite", SUITES)
def test_it_has_its_python_and_nothing_of_here(suite: str, checkout: Path) -> None:
    with machine(suite) as bare:
        version = bare.run(["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        assert version.stdout == SUITES[suite] + "\n"
        assert bare.run(["python3", "-c", "import yaml"]).returncode == 1
        assert bare.run(["test", "-e", str(checkout)]).returncode == 1
        assert bare.run("env").stdout.count("HOME=") == 0
        assert bare.run("pwd").stdout == "/\n"
        assert bare.run("hostname 2>/dev/null || cat /proc/sys/kernel/hostname").stdout == "bare\n"


def test_what_one_writes_no_other_sees(tmp_path: Path) -> None:
    (tmp_path / "a'; echo foo").write_text("here")
    with machine("bookworm") as one, machine("bookworm") as other:
        one.copy(tmp_path, "/root/new/folder")
        assert one.run(["cat", "/root/new/folder/a'; echo foo"]).stdout == "here"
        assert one.path("/root/new/folder/a'; echo foo").read_text() == "here"
        assert other.run(["ls", "/root"]).stdout == ""


def test_only_a_machine_of_the_hosts_network_reaches_its_servers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ask = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]}"
        with machine("bookworm") as apart, machine("bookworm", network="host") as joined:
            assert joined.run(["bash", "-c", ask]).returncode == 0
            assert "refused" in apart.run(["bash", "-c", ask]).stderr


def test_a_command_that_takes_too_long_is_ended_with_what_it_printed() -> None:
    with machine("bookworm") as bare:
        done = bare.run("echo begun; sleep 1000 & exec sleep 1000", timeout=5)
        assert (done.returncode, done.stdout) == (124, "begun\n")


def test_all_that_runs_on_it_ends_with_it() -> None:
    with machine("bookworm") as bare:
        bare.run(f"setsid -f sleep {LONG}")
        limit = time.monotonic() + 30
        while not sleepers() and time.monotonic() < limit:
            time.sleep(0.01)
        assert sleepers() == [LONG]
        bare.kill()
        assert sleepers() == []


def sleepers() -> list[str]:
    """The arguments of every `sleep LONG` that this machine's kernel runs."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"sleep", LONG.encode()]:
                found.append(words[1].decode())
    return found
