"""Text that people read, to the letter."""

from __future__ import annotations

import pytest

from sc import reports


def test_the_table_is_that_of_saturns_client() -> None:
    rows = [
        ("completed", "0", "sfs://internal/hugo/2024-01-01", "python a.py --first-seen"),
        ("failed", "137", "sfs://internal/hugo/2024-01-02", "python a.py"),
        ("incomplete", "", "sfs://internal/hugo/2024-01-03", "true"),
    ]
    table = reports.Table("status", "status_code", "remote_output_path", "cmd")
    for row in rows:
        table.measure(row)
    assert [*table.head(), *map(table.row, rows)] == [
        "status        status_code    remote_output_path                cmd                     ",
        "-" * (10 + 11 + 30 + 24 + 12),
        "completed     0              sfs://internal/hugo/2024-01-01    python a.py --first-seen",
        "failed        137            sfs://internal/hugo/2024-01-02    python a.py             ",
        "incomplete                   sfs://internal/hugo/2024-01-03    true                    ",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words", "plain words"),
        ("Grüße, 漢字, 🙂", "Grüße, 漢字, 🙂"),
        ("two\nlines\tand\rmore", "two\\nlines\\tand\\rmore"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("\udc80 not UTF-8", "\\udc80 not UTF-8"),
        ("\u2028", "\\u2028"),
    ],
)
def test_nothing_printable_steers_a_terminal(text: str, shown: str) -> None:
    assert reports.printable(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
        (86400, "1 d"),
        (4 * 86400 + 3700, "4 d 1 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, shown: str) -> None:
    assert reports.duration(seconds) == shown


@pytest.mark.parametrize(
    ("per_second", "shown"),
    [
        (1234.5, "1,234 a second"),
        (3.21, "3.2 a second"),
        (0.5, "30 a minute"),
        (0.001, "3.6 an hour"),
    ],
)
def test_a_rate_has_the_unit_in_which_it_can_be_read(per_second: float, shown: str) -> None:
    assert reports.rate(per_second) == shown


def test_progress_tells_what_is_known() -> None:
    counts = {"completed": 11, "failed": 1}
    assert (
        reports.progress(counts, 4, 100, 6.0)
        == "12 of 100 runs, 1 failed, 4 running, 2.0 a second, about 44 s left"
    )
    assert reports.progress({}, 2, 1, 0.5) == "0 of 1 run, 2 running"
    assert reports.progress(counts, 4, 100, 6.0, before=6) == (
        "12 of 100 runs, 1 failed, 4 running, 1.0 a second, about 1 min 28 s left"
    )


def test_counts_leave_out_what_is_zero() -> None:
    assert reports.counts({"completed": 7, "failed": 0, "incomplete": 1234}) == (
        "7 completed, 1,234 incomplete"
    )
    assert reports.counts({"completed": 0}) == "nothing"


def test_memory_is_told_in_gibibytes() -> None:
    assert reports.gibibytes(2**29) == "0.5 GiB"
    assert reports.gibibytes(32 * 2**30) == "32 GiB"
