"""The program of the driver is asked which GPUs there are."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sc.executor.gpus import find_gpus
from tests.processes.conftest import wait_until


def is_alive(pid: int) -> bool:
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def test_nvidia_smi_is_asked(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\necho "GPU 0: T4 (UUID: GPU-x)"; echo "GPU 1: T4 (UUID: GPU-y)"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert find_gpus({"PATH": f"{tmp_path}:/bin:/usr/bin"}) == ("0", "1")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert find_gpus({"PATH": f"{tmp_path}:/bin:/usr/bin"}) == ()
    assert find_gpus({"PATH": "/nowhere"}) == ()


@pytest.mark.parametrize("before", ["", 'echo "GPU 0: T4 (UUID: GPU-x)"; '])
def test_nvidia_smi_that_hangs_is_given_up_with_all_its_processes(
    tmp_path: Path, before: str
) -> None:
    program, pids = tmp_path / "nvidia-smi", tmp_path / "pids"
    program.write_text(
        f"#!/bin/sh\n{before}setsid sleep 1000 & echo $! >{pids}; trap '' TERM; sleep 1000; :\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    told: list[str] = []
    found = find_gpus({"PATH": f"{tmp_path}:/bin:/usr/bin"}, tell=told.append)
    assert found == (("0",) if before else ())
    (line,) = told
    assert line.startswith("nvidia-smi did not answer within 3 seconds")
    pid = int(pids.read_text())
    wait_until(lambda: not is_alive(pid), "its child has ended")


def test_nvidia_smi_that_fails_after_a_list_leaves_the_listed_gpus(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "GPU 0: T4 (UUID: GPU-x)"; exit 255\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert find_gpus({"PATH": f"{tmp_path}:/bin:/usr/bin"}) == ("0",)
