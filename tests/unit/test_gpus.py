"""Which GPUs there are."""

from __future__ import annotations

from typing import Optional

import pytest

from sc.executor.gpus import GpuPool, find_gpus, read_listing, read_visible
from sc.machine import default_nprocs
from sc.model import GpuNeeds


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        ("", ()),
        ("0", ("0",)),
        ("3,1", ("3", "1")),
        (" 0 , 2 ", ("0", "2")),
        ("0,-1,2", ("0",)),
        ("NoDevFiles", ()),
        (
            "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,1",
            ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "1"),
        ),
        ("MIG-GPU-8932f937/1/2", ("MIG-GPU-8932f937/1/2",)),
        ("1,1", ("1",)),
    ],
)
def test_an_outer_variable_decides(value: str, devices: tuple[str, ...]) -> None:
    assert read_visible(value) == devices
    assert find_gpus({"CUDA_VISIBLE_DEVICES": value}) == devices


LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-a)
  MIG 3g.20gb     Device  0: (UUID: MIG-1)
  MIG 3g.20gb     Device  1: (UUID: MIG-2)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-b)
"""


def test_a_gpu_that_is_cut_stands_for_its_parts() -> None:
    assert read_listing(LISTING) == ("MIG-1", "MIG-2", "1")


@pytest.mark.parametrize(
    "line",
    [
        "Unable to determine the device handle for GPU0000:3B:00.0: GPU is lost.  Reboot the system.",
        "Unable to determine the device handle for gpu 0000:3B:00.0: Unknown Error",
        "GPU 1: GPU is lost",
        "GPU 1: ERR! (UUID: ERR!)",
        "GPU 1: Tesla T4 (UUID: ERR!)",
        "GPU 1: T4 (UUID: GPU-y)\nGPU 1: GPU requires reset",
        "GPU 1: T4 (UUID: GPU-y)\nUnable to determine the device handle for GPU 1: GPU is lost",
        "GPU 1: ERR! (UUID: GPU-y)\n  MIG 3g.20gb     Device  0: (UUID: MIG-1)",
        "WARNING: infoROM is corrupted at gpu 0000:3B:00.0",
    ],
)
def test_listing_with_a_lost_gpu_keeps_the_others(line: str) -> None:
    listing = f"GPU 0: T4 (UUID: GPU-x)\n{line}\nGPU 2: T4 (UUID: GPU-z)\n"
    assert read_listing(listing) == ("0", "2")


def needs(*amounts: Optional[float]) -> GpuNeeds:
    asked = [amount for amount in amounts if amount is not None]
    return GpuNeeds(
        max(asked, default=0.0), min([1.0, *asked]), bool(asked) and len(asked) == len(amounts)
    )


@pytest.mark.parametrize(
    ("amounts", "slots"),
    [
        ((None,), 2),
        ((1,), 2),
        ((0.5,), 4),
        ((1 / 3, 1), 6),
        ((0.4,), 4),
        ((2, 0.5), 4),
        ((0.5, None), 4),
        ((0.01, None), 8),
        ((0.01,), 200),
        ((1e-9,), 100_000),
    ],
)
def test_slots_with_shares_of_gpus_are_as_many_as_fit(
    amounts: tuple[Optional[float], ...], slots: int
) -> None:
    assert default_nprocs(2, 8, needs(*amounts)) == slots
    assert default_nprocs(0, 8, needs(*amounts)) == 8


def test_needs_of_parts_together_are_those_of_the_batch() -> None:
    whole = GpuNeeds.together([needs(0.5, 1), needs(2, None)])
    assert (whole.most, whole.share, whole.are_all) == (2, 0.5, False)
    assert GpuNeeds.together([]) == GpuNeeds.together([needs(None)]) == GpuNeeds()


def test_three_thirds_fit_on_one_gpu() -> None:
    pool = GpuPool(["0"])
    taken = [pool.take(0.3333334, 0) for _ in range(4)]
    assert taken == [(0,), (0,), (0,), None]
    for _ in range(3):
        pool.give_back((0,), 0.3333334)
    assert pool.take(1, 0) == (0,)


def test_a_rank_keeps_its_gpu() -> None:
    pool = GpuPool(["0", "1", "2"])
    assert pool.take(1, 2) == (2,)
    assert pool.take(1, 2) == (0,)
    assert pool.take(1, 1) == (1,)
    assert pool.take(1, 1) is None
