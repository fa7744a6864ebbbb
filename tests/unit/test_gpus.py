"""Which GPUs there are."""

from __future__ import annotations

import pytest

from sc.executor.gpus import GpuPool, find_gpus, read_listing, read_visible


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
