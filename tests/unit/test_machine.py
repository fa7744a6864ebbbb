"""What a machine has, inside of containers too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sc.machine import count_vcpus, memory

GIB = 2**30


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": "MemTotal:  16777216 kB\nMemFree: 1 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_without_limits_all_of_the_machine_counts(tmp_path: Path) -> None:
    root = machine(tmp_path, {})
    assert memory(root) == 16 * GIB
    assert count_vcpus(root) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(
            {
                "proc/self/cgroup": "0::/pod/container",
                "sys/fs/cgroup/pod/memory.max": str(2 * GIB),
                "sys/fs/cgroup/pod/container/memory.max": "max",
                "sys/fs/cgroup/pod/container/cpu.max": "50000 100000",
            },
            id="version-2-with-the-limit-above",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/of/the/host",
                "sys/fs/cgroup/memory.max": str(2 * GIB),
                "sys/fs/cgroup/cpu.max": "100000 100000",
            },
            id="version-2-in-a-container",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n1:name=systemd:/",
                "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": str(2 * GIB),
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63 - 4096),
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
            },
            id="version-1",
        ),
    ],
)
def test_the_limits_of_the_cgroup_count(tmp_path: Path, files: dict[str, str]) -> None:
    root = machine(tmp_path, files)
    assert memory(root) == 2 * GIB
    assert count_vcpus(root) == 1


def test_no_quota_is_no_limit(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:cpu:/",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    assert count_vcpus(machine(tmp_path, files)) == len(os.sched_getaffinity(0))
