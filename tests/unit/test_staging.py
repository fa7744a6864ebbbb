"""What is in a job's place, and when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sc import paths
from sc.errors import InputError, MissingError, StorageError
from sc.model import Run
from sc.staging import (
    FIRST_PARTS,
    Job,
    Synced,
    UnreadablePartError,
    clear,
    is_fresh,
    read_job,
    read_part,
    stage,
)
from tests.fakes.memory_storage import Clock, MemoryStorage
from tests.fakes.office import JOB, OUT, part_bytes, runs_of_part


def contents(parts: int) -> list[bytes]:
    return [part_bytes(runs_of_part(number, 2)) for number in range(parts)]


def test_machines_may_start_long_before_the_last_part(storage: MemoryStorage) -> None:
    parts = 10 * FIRST_PARTS
    job = Job("job", OUT, parts=parts, runs=2 * parts)
    clock = Clock()
    told = []
    for written in stage(storage, JOB, job, iter(contents(parts)), now=clock):
        told.append(written)
        assert read_job(storage, JOB).written == written
        assert all(storage.stat(paths.part(JOB, number)) for number in range(written))
        clock.now += 2
    assert told[0] == FIRST_PARTS
    assert told[-1] == parts
    assert len(told) == 2


def test_everything_else_is_there_before_the_first_part(
    storage: MemoryStorage, tmp_path: Path
) -> None:
    (tmp_path / "sc.pyz").write_bytes(b"program")
    (tmp_path / "archive").write_bytes(b"archive")
    synced = (Synced("a" * 64, "data"), Synced("b" * 64, "code", base="s3://bucket/archives"))
    job = Job("job", OUT, parts=1, runs=2, synced=synced)
    archives = [str(tmp_path / "archive")] * 2
    staging = stage(
        storage, JOB, job, contents(1), program=str(tmp_path / "sc.pyz"), archives=archives
    )
    assert next(staging) == 1
    assert storage.get(paths.program(JOB)) == b"program"
    assert [storage.get(one.place(JOB)) for one in synced] == [b"archive", b"archive"]
    assert list(staging) == []
    puts = storage.requests["put"]
    clear(storage, JOB)
    list(stage(storage, JOB, job, contents(1), archives=archives))
    assert storage.requests["put"] - puts == 2  # the part and recipe.json, but no archive again


def test_a_job_is_read_as_it_was_written(storage: MemoryStorage) -> None:
    job = Job(
        "job",
        OUT,
        parts=1,
        runs=2,
        nprocs=3,
        scale=4,
        is_fresh=True,
        working_directory="a'; echo b",
        start_script="echo\n",
        environment_variables={"A": "ssm:/b"},
        synced=(Synced("0" * 64, "x"),),
        nonce="0a",
    )
    list(stage(storage, JOB, job, contents(1)))
    assert read_job(storage, JOB) == Job(**{**vars(job), "written": 1})


@pytest.mark.parametrize("nonce", ["../x", "a-b", " ", "é", 7])
def test_a_nonce_that_may_not_be_in_a_key_is_an_error(storage: MemoryStorage, nonce: Any) -> None:
    job = Job("job", OUT, parts=1, runs=2, nonce=nonce)
    storage.put(paths.recipe(JOB), job.to_bytes())
    with pytest.raises(StorageError, match="is not what sc wrote"):
        read_job(storage, JOB)


def test_a_wrong_number_of_parts_is_an_error(storage: MemoryStorage) -> None:
    job = Job("job", OUT, parts=3, runs=4)
    with pytest.raises(InputError, match="2 parts were written instead of 3"):
        list(stage(storage, JOB, job, contents(2)))


def test_clear_keeps_records_and_logs_only(storage: MemoryStorage) -> None:
    for key in (
        "claims/0",
        "done/0",
        "ended/a-0",
        "parts/0.json",
        "workers/w.json",
        "stop",
        "recipe.json",
    ):
        storage.put(f"{JOB}/{key}", b"x")
    for key in ("records/w-0.jsonl", "logs/w"):
        storage.put(f"{JOB}/{key}", b"x")
    clear(storage, JOB)
    assert sorted(storage.objects) == [f"{JOB}/logs/w", f"{JOB}/records/w-0.jsonl"]


@pytest.mark.parametrize("by_tree", [False, True])
@pytest.mark.parametrize(
    ("key", "fresh"),
    [
        (".sc/other/parts/0.json", True),
        ("0/status_code", False),
        ("-a/stdout", False),
        (".sc-x/stdout", False),
        (".sc!/stdout", False),
        (".sc0/stdout", False),
    ],
)
def test_fresh_is_a_place_with_nothing_but_jobs(
    clock: Clock, key: str, fresh: bool, by_tree: bool
) -> None:
    storage = MemoryStorage(clock, by_tree)
    assert is_fresh(storage, OUT)
    storage.put(f"{OUT}/{key}", b"x")
    assert is_fresh(storage, OUT) == fresh


def test_no_job_is_told_with_the_next_step(storage: MemoryStorage) -> None:
    with pytest.raises(MissingError, match=r"There is no job at .*sc split"):
        read_job(storage, JOB)


GOOD: dict[str, Any] = {"name": "j", "remote_output_path": OUT, "parts": 1, "runs": 1}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {},
        {**GOOD, "parts": 0},
        {**GOOD, "parts": "1"},
        {**GOOD, "parts": 10**12},
        {**GOOD, "lease_seconds": 0},
        {**GOOD, "lease_seconds": None},
        {**GOOD, "name": 3},
        {**GOOD, "nprocs": 0},
        {**GOOD, "nprocs": "2"},
        {**GOOD, "unknown": 1},
        {**GOOD, "environment_variables": {"A": 1}},
        {**GOOD, "environment_variables": "A"},
        {**GOOD, "synced": [["a", "b", "c", "d"]]},
        {**GOOD, "synced": 7},
    ],
)
def test_a_strange_recipe_is_a_sentence(storage: MemoryStorage, document: object) -> None:
    storage.put(paths.recipe(JOB), json.dumps(document).encode())
    with pytest.raises(StorageError, match="is not what sc wrote"):
        read_job(storage, JOB)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"[" * 50_000, b'{"parts": NaN}', b"{" * 9],
    ids=["nothing", "no text", "deep", "not a number", "open"],
)
def test_bytes_that_are_no_recipe_are_a_sentence(storage: MemoryStorage, data: bytes) -> None:
    storage.put(paths.recipe(JOB), data)
    with pytest.raises(StorageError, match="is not what sc wrote"):
        read_job(storage, JOB)


def test_a_part_is_read_as_it_was_written(storage: MemoryStorage) -> None:
    runs = [
        Run(("a", "b c"), f"{OUT}/0", timeout=3.5, retries=2, env={"A": "1"}, gpus=0.5),
        Run("echo", f"{OUT}/1", local_results_dir="/x", working_directory="/y", expected_time=9.0),
    ]
    storage.put(paths.part(JOB, 0), part_bytes(runs))
    assert read_part(storage, JOB, 0) == runs


RUN: dict[str, Any] = {"cmd": "true", "remote_output_path": "s3://b/x"}


@pytest.mark.parametrize(
    "run",
    [
        {},
        {"cmd": "true"},
        {**RUN, "cmd": []},
        {**RUN, "cmd": [1]},
        {**RUN, "cmd": None},
        {**RUN, "cmd": "a\0b"},
        {**RUN, "env": {"A": 1}},
        {**RUN, "env": 3},
        {**RUN, "timeout": "1"},
        {**RUN, "timeout": -1},
        {**RUN, "expected_time": "1"},
        {**RUN, "retries": True},
        {**RUN, "remote_output_path": None},
        {**RUN, "unknown": 1},
        {**RUN, "working_directory": 5},
    ],
)
def test_a_strange_part_is_unreadable(storage: MemoryStorage, run: object) -> None:
    storage.put(paths.part(JOB, 0), json.dumps({"runs": [run]}).encode())
    with pytest.raises(UnreadablePartError):
        read_part(storage, JOB, 0)
