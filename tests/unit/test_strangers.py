"""What is told from what an execution has left, by its shape, and by leases and records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from sc import paths
from sc.errors import OccupiedError
from sc.previous_outputs import Previous
from sc.run_index import RunIndex
from sc.strangers import Own, Survey, find_ours, left_in, unrecognised
from tests.fakes.memory_storage import Clock, MemoryStorage

OUT = "s3://bucket/out"
URL = f"{OUT}/.sc/batch"
OWN = Own(URL, "me")


def same(path: str) -> str:
    return path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), ""),
        (("stdout", "stderr"), ""),
        (("stdout", "stderr", "attempts/1/stdout"), ""),
        (("attempts/12/stderr",), ""),
        (("stdout", "attempts/1/stdout"), ""),
        (("stdout",), "stdout"),
        (("stderr",), "stderr"),
        (("results/x",), "results/x"),
        (("results/x", "stdout", "stderr"), "results/x"),
        (("attempts/notes",), "attempts/notes"),
        (("attempts/0/stdout",), "attempts/0/stdout"),
        (("attempts/1/stdout/x",), "attempts/1/stdout/x"),
        (("status_code/",), "status_code/"),
    ],
)
def test_unrecognised_goes_by_the_shape_of_what_lies_there(
    names: Sequence[str], expected: str
) -> None:
    assert unrecognised(Previous(names=tuple(names))) == expected
    assert unrecognised(Previous(True, tuple(names))) == ""


def test_unrecognised_results_that_are_too_many_to_be_named() -> None:
    assert unrecognised(Previous(names=("stdout", "stderr"), has_more=True)) == "results"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ""),
        ({"src/a": "x", "README": "x"}, ""),
        ({"status_code": "0", "results/a": "x"}, ""),
        ({"status_code": "", "results/a": "x"}, ""),
        ({".status_code.half": "", "results/a": "x"}, ""),
        ({"status_code": "hello, world"}, "status_code/"),
        ({"status_code/x": ""}, "status_code/"),
        ({"stdout": ""}, ""),
        ({"stdout": "x"}, "stdout"),
        ({"stdout/x": "x"}, "stdout/"),
        ({"stdout": "x", "stderr": ""}, ""),
        ({"stdout": "x", "stderr": "", "results/a": "x"}, "results/a"),
        ({"results": "x"}, "results"),
        ({"attempts": "x"}, "attempts"),
        ({"attempts/1/stdout": "x"}, ""),
        ({"attempts/1": "x"}, "attempts/1"),
    ],
)
def test_left_in_a_folder(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert unrecognised(left_in(str(tmp_path))) == expected


def test_left_in_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    assert unrecognised(left_in(str(tmp_path / "file"))) == "."
    assert unrecognised(left_in(str(tmp_path / "link"))) == "."
    (tmp_path / "results").mkdir()
    assert unrecognised(left_in(str(tmp_path))) == ""


def a_storage(*runs: str) -> MemoryStorage:
    storage = MemoryStorage(Clock())
    for run in runs:
        storage.put(f"{OUT}/{run}/results/x", b"")
    return storage


def survey(storage: MemoryStorage, *runs: str) -> list[str]:
    return list(Survey(storage, OUT, OWN, same).watch([f"{OUT}/{run}" for run in runs]))


def test_survey_refuses_what_nobody_knows_by_its_name() -> None:
    storage = a_storage("1", "2")
    with pytest.raises(OccupiedError, match=r"out/1/results/x: .* \(and so with 1 more"):
        survey(storage, "0", "1", "2")
    assert survey(storage, "0", "3") == [f"{OUT}/0", f"{OUT}/3"]


@pytest.mark.parametrize("job", ["batch", "another"])
def test_survey_knows_a_run_by_the_lease_of_another_execution(job: str) -> None:
    storage = a_storage("1")
    dead = paths.leased_runs(f"{OUT}/.sc/{job}", "dead")
    storage.put(dead, RunIndex([f"{OUT}/1"]).to_bytes())
    assert len(survey(storage, "0", "1")) == 2


def test_survey_does_not_believe_its_own_lease() -> None:
    storage = a_storage("1")
    storage.put(paths.leased_runs(URL, "me"), RunIndex([f"{OUT}/1"]).to_bytes())
    with pytest.raises(OccupiedError):
        survey(storage, "1")


@pytest.mark.parametrize(("rank", "is_known"), [(0, True), (-1, False)])
def test_survey_knows_a_run_by_a_record_of_its_execution(rank: int, is_known: bool) -> None:
    """One that never had a slot has left nothing: it may have been refused for what lies there."""
    storage = a_storage("1")
    record = {"remote_output_path": f"{OUT}/1", "rank": rank, "cause": "interrupted"}
    lines = f"{json.dumps(record)}\nno record\n[]\n".encode()
    storage.put(paths.records(URL, "other", 0), lines)
    if is_known:
        assert survey(storage, "1") == [f"{OUT}/1"]
    else:
        with pytest.raises(OccupiedError):
            survey(storage, "1")


def test_find_ours_leaves_out_what_is_not_to_be_removed() -> None:
    storage = a_storage("1", "2")
    storage.put(f"{OUT}/2/status_code", b"0")
    found = find_ours(storage, [f"{OUT}/{n}" for n in range(4)], OUT, OWN, same)
    assert list(found.previous) == [f"{OUT}/2"]
    assert found.strangers == {f"{OUT}/1": f"{OUT}/1/results/x"}


def test_find_ours_of_a_job_does_not_believe_the_jobs_own_lease() -> None:
    storage = a_storage("1")
    url = f"{OUT}/.sc/job"
    storage.put(paths.leased_runs(url, "start"), RunIndex([f"{OUT}/1"]).to_bytes())
    assert not find_ours(storage, [f"{OUT}/1"], OUT, Own(url), same).strangers
    storage.put(paths.job_lease(url, "start"), b"")
    assert find_ours(storage, [f"{OUT}/1"], OUT, Own(url), same).strangers


def test_survey_of_a_fresh_place_costs_one_list() -> None:
    storage = MemoryStorage(Clock())
    survey(storage, *map(str, range(1000)))
    assert storage.requests == {"list": 1}
