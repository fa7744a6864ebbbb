"""The program of the driver is asked which GPUs there are."""

from __future__ import annotations

import stat
from pathlib import Path

from sc.executor.gpus import find_gpus


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
