"""The GPUs of this machine: which there are, and who has them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Optional

from sc.executor import tree

VISIBLE = "CUDA_VISIBLE_DEVICES"
NVIDIA_SMI = "nvidia-smi"
NVIDIA_SMI_SECONDS = 3.0
"""It answers within one second where the driver is well."""
KILLED_SECONDS = 0.2
"""For its end after SIGKILL; one that hangs in the kernel has none."""
_ROUNDING = 1e-6
"""Three thirds, written as 0.3333334, are still one GPU."""
_LOST = re.compile(r"ERR!|is lost|requires? (a )?reset|unknown error|unable to determine", re.I)
_LOST_INDEX = re.compile(r"GPU ?(\d+)(?![\d:]*[.:]\d)", re.I)
"""The number of a GPU, and not the beginning of its address on the bus (`0000:3B:00.0`)."""


def find_gpus(
    environ: Mapping[str, str],
    nvidia_smi: str = NVIDIA_SMI,
    tell: Callable[[str], object] = lambda line: None,
) -> tuple[str, ...]:
    """The devices that this process may use, as `CUDA_VISIBLE_DEVICES` names them.

    An outer `CUDA_VISIBLE_DEVICES` decides (indices, UUIDs or MIG ids; CUDA ignores what follows an invalid one);
    without it `nvidia-smi -L` is asked, for three seconds at most, and what it has listed by then counts. No such
    program, or a driver that does not answer: no GPU.
    """
    if VISIBLE in environ:
        return read_visible(environ[VISIBLE])
    answer = ask_nvidia_smi(["-L"], environ, nvidia_smi)
    devices = read_listing(answer.text)
    if answer.is_late:
        tell(
            f"nvidia-smi did not answer within {NVIDIA_SMI_SECONDS:g} seconds and was given up: "
            f"{len(devices)} GPUs are used; set {VISIBLE} to those that work"
        )
    return devices


class Answer(NamedTuple):
    """What nvidia-smi printed; no text where there is no such program."""

    text: str = ""
    is_late: bool = False
    """It did not end in time."""


def ask_nvidia_smi(
    words: Sequence[str], environ: Mapping[str, str], program: str = NVIDIA_SMI
) -> Answer:
    """Its answer goes to a file, so that nobody waits for a child of it that keeps a pipe open."""
    path = shutil.which(program, path=environ.get("PATH"))
    if path is None:
        return Answer()
    try:
        with tempfile.TemporaryFile() as out:
            process = subprocess.Popen(
                [path, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            is_late = not _has_ended(process, NVIDIA_SMI_SECONDS)
            if is_late:
                _kill(process)
            out.seek(0)
            return Answer(out.read(1 << 20).decode(errors="replace"), is_late)
    except OSError:
        return Answer()


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """It and all that it has started."""
    for pid in [*tree.descendants(process.pid), process.pid]:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    if not _has_ended(process, KILLED_SECONDS):
        process.returncode = -signal.SIGKILL  # nobody is to wait for it


def read_visible(value: str) -> tuple[str, ...]:
    """The devices in a value of `CUDA_VISIBLE_DEVICES`, up to the first invalid one, as CUDA reads it."""
    devices: list[str] = []
    for device in map(str.strip, value.split(",")):
        if not re.fullmatch(r"\d+|GPU-[\w-]+|MIG-[\w/-]+", device) or device in devices:
            break
        devices.append(device)
    return tuple(devices)


def read_listing(listing: str) -> tuple[str, ...]:
    """The devices in the answer of `nvidia-smi -L`. A GPU that is cut into MIG devices stands for these; one that is
    lost or has to be reset does not count."""
    devices: list[str] = []
    lost: set[str] = set()
    gpu: Optional[str] = None
    for line in listing.splitlines():
        mig = re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)
        found = re.match(r"GPU (\d+): .*\(UUID: GPU-", line)
        if _LOST.search(line):
            lost.update(_LOST_INDEX.findall(line)[:1])
            gpu = None
        elif found:
            gpu = found.group(1)
            devices.append(gpu)
        elif mig and gpu is not None:
            if devices[-1] == gpu:
                devices.pop()
            devices.append(mig.group(1))
    return tuple(device for device in devices if device not in lost)


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
