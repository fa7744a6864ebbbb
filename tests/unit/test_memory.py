"""How many processes the kernel has killed for want of memory."""

from __future__ import annotations

from sc.executor.memory import MemoryKills


def test_the_kernel_tells() -> None:
    kills = MemoryKills()
    assert kills.count() is not None
    assert kills.count_before(10.0) == kills.count_before(10.5) == kills.count()
