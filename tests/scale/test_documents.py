"""Batches too large to be good."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from sc.documents import read_batch
from sc.errors import InputError
from tests.complaints import problems


def test_twenty_thousand_equal_paths_are_counted(tmp_path: Path) -> None:
    runs = [{"cmd": "a", "remote_output_path": "x"}] * 20_000
    told = problems(tmp_path, "b.json", {"remote_output_path": "/o", "runs": runs})
    assert told[-1] == "b.json: … and 19979 more like these"


def test_merging_without_end_ends(tmp_path: Path) -> None:
    keys = ", ".join(f"k{n}: 1" for n in range(2000))
    merges = "- {<<: *a}\n" * 600
    (told,) = problems(tmp_path, "b.yaml", f"x: &a {{{keys}}}\nruns:\n{merges}")
    assert told.endswith("<< copies more than 1,000,000 keys in all")


def test_a_value_of_json_without_end_ends() -> None:
    endless = io.BytesIO(b'{"runs": [{"cmd": "' + b"x" * (20 * 2**20))  # 2 GB would be the same
    with pytest.raises(InputError, match="a single value is longer than 8 MiB"):
        read_batch("-", stdin=endless)
