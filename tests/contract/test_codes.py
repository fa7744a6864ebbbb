"""Codes of runs wherever they lie, in every kind of storage."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sc.codes import each_code, ranges, read_codes
from sc.model import Run
from sc.storage import open_storage

NAMES = ["a", "a-b", "a!", "a b", "a+b", "a%20b", "100%", "a&b=c?d#e", ".sc-x", "é", "豈", "😀"]


@pytest.fixture(params=["folder", "sfs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of each kind."""
    if request.param == "folder":
        return str(tmp_path / "out put")
    if request.param == "sfs":
        return "sfs://owner/some where"
    request.getfixturevalue("s3_environment")
    return f"s3://{request.getfixturevalue('bucket')}/some where"


def test_a_code_is_that_of_its_run(place: str, tmp_path: Path) -> None:
    storage = open_storage({**os.environ, "SC_SFS_ROOT": str(tmp_path / "shared")})
    below = [f"{name}/{deep}" for name in NAMES for deep in ("1", "1-2", "results/x/1")]
    inside = [f"{place}/{one}" for one in [*below, "a-", "ab", "é é"]]
    runs = [Run("true", path) for path in [*inside, f"{place}-elsewhere/1", f"{place}-elsewhere/2"]]
    contents = {f"{place}/.sc/job/claims/1": b"{}", f"{place}/b/status_code": b"9"}
    for number, run in enumerate(runs):
        contents[f"{run.remote_output_path}/results/status_code"] = b"8"
        if number % 5:
            contents[f"{run.remote_output_path}/status_code"] = b"%d" % number
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: storage.put(*one), contents.items()))
    codes = read_codes(storage, place, runs)
    assert [code for _, code in each_code(codes, runs)] == [
        number if number % 5 else None for number in range(len(runs))
    ]
    some = ranges(sorted(path[len(place) + 1 :] for path in inside), runs=1_000_000)
    assert len(some) > 10
    listed = [entry.place for bounds in some for entry in storage.list(place, *bounds)]
    assert sorted(listed) == sorted(one for one in contents if one.startswith(f"{place}/"))
