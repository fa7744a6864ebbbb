"""What this machine has: processors, memory, GPUs. Standard library only.

Inside of a container its limits count (cgroup v1 and v2), not what the host has.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Optional

from sc.executor.gpus import ask_nvidia_smi, find_gpus
from sc.model import NO_GPUS, GpuNeeds

MOST_SLOTS = 100_000


class Machine(NamedTuple):
    """The facts by which a person or a recipe chooses."""

    vcpus: int
    memory_bytes: int
    gpus: tuple[str, ...]
    gpu_model: str
    """Empty where there is none or its driver does not tell."""
    architecture: str
    """As uname has it: `x86_64`, `aarch64`."""


def this_machine(
    environ: Mapping[str, str],
    root: Path = Path("/"),
    tell: Callable[[str], object] = lambda line: None,
) -> Machine:
    """Look. `root` is where `sys/fs/cgroup` and `proc` are found."""
    gpus = find_gpus(environ, tell=tell)
    return Machine(
        vcpus=count_vcpus(root),
        memory_bytes=memory(root),
        gpus=gpus,
        gpu_model=_gpu_model(environ) if gpus else "",
        architecture=platform.machine(),
    )


def default_nprocs(gpus: int, vcpus: int, needs: GpuNeeds = NO_GPUS) -> int:
    """Runs at a time where nobody said: the number of vCPUs; with GPUs one for each, or for each share of one.

    Where some runs ask for no GPU, small shares make no more slots than there are vCPUs.
    """
    if not gpus:
        return vcpus
    slots = gpus * needs.per_gpu
    if not needs.are_all:
        slots = min(slots, max(gpus, vcpus))
    return min(slots, MOST_SLOTS)


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


def _gpu_model(environ: Mapping[str, str]) -> str:
    """The name of the first GPU, as its driver tells it."""
    lines = ask_nvidia_smi(["--query-gpu=name", "--format=csv,noheader"], environ).text.splitlines()
    return (
        lines[0].strip() if lines and "ERR!" not in lines[0] and "nable to" not in lines[0] else ""
    )
