"""A writer that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KILLED = """
import os, signal, sys
from sc.storage.atomic_files import draft, write_all
with draft(sys.argv[1]) as new:
    write_all(new.fd, b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_nothing(tmp_path: Path, checkout: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a")]
    assert subprocess.run(command, cwd=checkout).returncode == -9
    assert os.listdir(tmp_path) == []
