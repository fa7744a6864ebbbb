"""Runs get numbers by their paths."""

from __future__ import annotations

from sc.run_index import RunIndex


def test_each_run_has_a_number_of_its_own() -> None:
    paths = [f"s3://bucket/out/{number}" for number in range(3000)]
    index = RunIndex(iter(paths))
    assert len(index) == 3000
    assert sorted(map(index.find, paths)) == list(range(3000))


def test_a_path_of_no_run_has_none() -> None:
    index = RunIndex(["s3://bucket/out/1", "s3://bucket/ünïcödé 😀", "/caf\udce9"])
    assert {index.find(path) for path in ("", "s3://bucket/out", "s3://bucket/out/11")} == {-1}
    assert RunIndex([]).find("s3://bucket/out/1") == -1
    assert index.find("/caf\udce9") >= 0


def test_a_slash_at_the_end_makes_no_difference() -> None:
    index = RunIndex(["s3://bucket/out/1/"])
    assert index.find("s3://bucket/out/1") == index.find("s3://bucket/out/1/") == 0
