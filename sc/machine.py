"""What this machine has: processors, memory, GPUs. Standard library only.

Inside of a container its limits count (cgroup v1 and v2), not what the host has.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Optional

from sc.executor.gpus import find_gpus

NVIDIA_SMI_SECONDS = 20


class Machine(NamedTuple):
    """The facts by which a person or a recipe chooses."""

    vcpus: int
    memory_bytes: int
    gpus: tuple[str, ...]
    gpu_model: str
    """Empty where there is none or its driver does not tell."""
    architecture: str
    """As uname has it: `x86_64`, `aarch64`."""


def this_machine(environ: Mapping[str, str], root: Path = Path("/")) -> Machine:
    """Look. `root` is where `sys/fs/cgroup` and `proc` are found."""
    gpus = find_gpus(environ)
    return Machine(
        vcpus=count_vcpus(root),
        memory_bytes=memory(root),
        gpus=gpus,
        gpu_model=_gpu_model() if gpus else "",
        architecture=platform.machine(),
    )


def default_nprocs(environ: Mapping[str, str]) -> int:
    """Runs at a time where nobody said: the number of GPUs, else of vCPUs."""
    return len(find_gpus(environ)) or count_vcpus()


def count_vcpus(root: Path = Path("/")) -> int:
    """The processors that this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0))
    quota = _cpu_quota(root)
    return max(1, min(allowed, math.ceil(quota))) if quota else max(1, allowed)


def memory(root: Path = Path("/")) -> int:
    """Bytes that this process and its children may use together."""
    limits = [_total_memory(root)]
    for folder, name in _cgroup_files(root, "memory", "memory.max", "memory.limit_in_bytes"):
        text = _read(folder / name)
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def _cpu_quota(root: Path) -> Optional[float]:
    """The smallest number of processors that a cgroup above this process grants."""
    quotas: list[float] = []
    for folder, name in _cgroup_files(root, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        words = _read(folder / name).split()
        if name == "cpu.cfs_quota_us":
            words += _read(folder / "cpu.cfs_period_us").split()
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return min((quota for quota in quotas if quota > 0), default=None)


def _cgroup_files(root: Path, controller: str, new: str, old: str) -> Iterator[tuple[Path, str]]:
    """Every folder from this process's cgroup up to the root, with the file's name in that version.

    In a container `/proc/self/cgroup` may name a path of the host that is not visible here; the folders that
    do not exist are simply read as empty.
    """
    mount = root / "sys/fs/cgroup"
    lines = [line for line in _read(root / "proc/self/cgroup").splitlines() if line.count(":") >= 2]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, name = mount, new
        elif controller in controllers.split(","):
            top, name = mount / controllers, old
            if not top.is_dir():
                top = mount / controller
        else:
            continue
        folder = top / path.lstrip("/")
        while folder != top and top in folder.parents:
            yield folder, name
            folder = folder.parent
        yield top, name


def _total_memory(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _gpu_model() -> str:
    """The name of the first GPU, as its driver tells it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        answer = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=NVIDIA_SMI_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    return lines[0].strip() if answer.returncode == 0 and lines else ""
