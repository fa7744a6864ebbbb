"""Which failures are of one kind, and how kinds are counted."""

from __future__ import annotations

from typing import Optional

import pytest

from sc.grouping import OTHERS, Group, Groups, fold, kind_of
from sc.last_words import last_line
from sc.model import Outcome


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("KeyError: 'user-17' in /data/17.csv", "KeyError: 'user-#' in /…"),
        ("bad float: 'a3f9c1d2'", "bad float: '#'"),
        ("at 0x7f3a, line 12: ./x/y.py:33: bad", "at #, line #: /…:#: bad"),
        ("GET https://a.b/c?d=3: 503", "GET …: #"),
        ("sh: 1: foo: not found", "sh: #: foo: not found"),
        ("2024-01-02 12:33:01 ERROR and/or", "# ERROR and/or"),
        ("10.0.0.1:5432  refused", "# refused"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id #"),
        ("a decade of facades", "a decade of facades"),
        ("cannot read data/2024/x.csv now", "cannot read /… now"),
        ("", ""),
    ],
)
def test_what_differs_is_folded(line: str, folded: str) -> None:
    assert fold(line) == folded
    assert fold(folded) == folded


def test_a_long_line_is_cut_and_a_hostile_one_is_quick() -> None:
    assert len(fold("x" * 10_000)) == 300
    assert fold("/" * 100_000)
    assert fold("a/" * 100_000)


def test_the_last_line_is_the_last_with_something_in_it() -> None:
    assert last_line(b"first\nsecond \n\n  \n") == "second"
    assert last_line(b"\xff\xfe\n") == "��"
    assert last_line(b"") == ""


def outcome(code: Optional[int], cause: str, error_line: str = "", reason: str = "") -> Outcome:
    return Outcome("/out/1", "0" * 16, code, cause, 1, "m", 0, 1.0, 2.0, reason, error_line)


def test_the_kind_of_a_failure_is_what_it_said_or_how_it_ended() -> None:
    assert kind_of(outcome(3, "exit", "no row 17")) == "no row #"
    assert kind_of(outcome(3, "exit")) == "exit code 3"
    assert kind_of(outcome(4, "exit")) == "exit code 4"
    assert kind_of(outcome(139, "signal")) == "ended by signal 11"
    assert kind_of(outcome(134, "signal", "abort 7")) == "abort # (ended by signal 6)"
    assert kind_of(outcome(124, "timeout", "step 9")) == "took longer than its timeout"
    assert kind_of(outcome(137, "oom", "step 9")) == "the machine ran out of memory"
    assert kind_of(outcome(None, "lost", reason="lost 3 times")) == "lost # times"


def test_kinds_are_counted_in_bounded_memory() -> None:
    groups = Groups(most=2)
    groups.add("a", "/1")
    groups.add_all(
        [Group(5, "b", "/2"), Group(9, "c", "/3"), Group(1, "d", "/4"), Group(2, "a", "/5")]
    )
    assert groups.sorted() == [Group(5, "b", "/2"), Group(3, "a", "/1"), Group(10, OTHERS, "/3")]
