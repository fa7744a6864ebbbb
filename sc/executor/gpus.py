"""The GPUs of this machine: which there are, and who has them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Optional

VISIBLE = "CUDA_VISIBLE_DEVICES"
NVIDIA_SMI_SECONDS = 30
_ROUNDING = 1e-6
"""Three thirds, written as 0.3333334, are still one GPU."""


def find_gpus(environ: Mapping[str, str], nvidia_smi: str = "nvidia-smi") -> tuple[str, ...]:
    """The devices that this process may use, as `CUDA_VISIBLE_DEVICES` names them.

    An outer `CUDA_VISIBLE_DEVICES` decides (indices, UUIDs or MIG ids; CUDA ignores what follows an invalid one);
    without it `nvidia-smi -L` is asked. No such program, or a driver that does not answer: no GPU.
    """
    if VISIBLE in environ:
        return read_visible(environ[VISIBLE])
    program = shutil.which(nvidia_smi, path=environ.get("PATH"))
    if program is None:
        return ()
    try:
        listing = subprocess.run(
            [program, "-L"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=NVIDIA_SMI_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return read_listing(listing.stdout.decode(errors="replace"))


def read_visible(value: str) -> tuple[str, ...]:
    """The devices in a value of `CUDA_VISIBLE_DEVICES`, up to the first invalid one, as CUDA reads it."""
    devices: list[str] = []
    for device in map(str.strip, value.split(",")):
        if not re.fullmatch(r"\d+|GPU-[\w-]+|MIG-[\w/-]+", device) or device in devices:
            break
        devices.append(device)
    return tuple(devices)


def read_listing(listing: str) -> tuple[str, ...]:
    """The devices in the answer of `nvidia-smi -L`. A GPU that is cut into MIG devices stands for these."""
    devices: list[str] = []
    for line in listing.splitlines():
        gpu = re.match(r"GPU (\d+):", line)
        mig = re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)
        if gpu:
            devices.append(gpu.group(1))
        elif mig:
            if devices and not devices[-1].startswith("MIG-"):
                devices.pop()
            devices.append(mig.group(1))
    return tuple(devices)


class GpuPool:
    """Which part of each GPU is taken. A whole GPU belongs to one run; fractions share one."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = tuple(devices)
        self._taken = [0.0] * len(devices)

    @property
    def size(self) -> int:
        return len(self._devices)

    def take(self, amount: float, rank: int) -> Optional[tuple[int, ...]]:
        """Positions of the GPUs that a run of this rank gets, or None while there are not enough.

        A free GPU with the number of the rank is preferred, so that a rank keeps its GPU.
        """
        if amount > 1:
            chosen = self._free(rank)[: int(amount)]
            if len(chosen) < amount:
                return None
        else:
            best = self._fullest_that_fits(amount) if amount < 1 else None
            chosen = [best] if best is not None else self._free(rank)[:1]
            if not chosen:
                return None
        for position in chosen:
            self._taken[position] += min(amount, 1)
        return tuple(sorted(chosen))

    def give_back(self, positions: Sequence[int], amount: float) -> None:
        for position in positions:
            left = self._taken[position] - min(amount, 1)
            self._taken[position] = 0.0 if left < _ROUNDING else left

    def names(self, positions: Sequence[int]) -> str:
        """For `CUDA_VISIBLE_DEVICES`."""
        return ",".join(self._devices[position] for position in positions)

    def _free(self, rank: int) -> list[int]:
        free = [position for position, taken in enumerate(self._taken) if not taken]
        return sorted(free, key=lambda position: position != rank)

    def _fullest_that_fits(self, amount: float) -> Optional[int]:
        fitting = [
            (taken, -position)
            for position, taken in enumerate(self._taken)
            if taken and taken + amount <= 1 + _ROUNDING
        ]
        return -max(fitting)[1] if fitting else None
