"""Which run a word means."""

from __future__ import annotations

import pytest

from sc.errors import InputError
from sc.finding import find_runs
from sc.model import Run

PATHS = ("s3://b/out/0", "s3://b/out/1", "s3://b/out/x/17", "s3://b/out/y/17", "s3://b/out/99")
RUNS = [Run("true", path) for path in PATHS]


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("0", 0),
        ("4", 4),
        ("99", 4),  # the batch has no run of that number, so it is the end of a path
        ("/1", 1),
        ("x/17", 2),
        ("/x/17/", 2),
        ("s3://b/out/y/17", 3),
        ("s3://b/out/y/17/", 3),
    ],
)
def test_a_word_is_a_number_a_path_or_the_end_of_one(word: str, number: int) -> None:
    assert [found.number for found in find_runs(RUNS, len(RUNS), [word])] == [number]


def test_several_words_keep_their_order_and_none_comes_twice() -> None:
    assert [found.number for found in find_runs(RUNS, 5, ["99", "0", "/0", "1"])] == [4, 0, 1]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("17", "may be any of 2 runs (s3://b/out/x/17, s3://b/out/y/17)"),
        ("5", "there is no run '5': the indices go from 0 to 4"),
        ("7", "no output path is or ends with it"),
        ("out", "no output path"),
        ("", "no output path"),
        ("\N{SUPERSCRIPT TWO}", "no output path"),
    ],
)
def test_a_word_that_means_none_or_many_is_told(word: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        find_runs(RUNS, len(RUNS), ["0", word])
    assert told in str(raised.value)
    assert len(raised.value.problems) == 1
