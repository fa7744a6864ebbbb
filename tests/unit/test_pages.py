"""The page of `sc report`: told in full, in bounds, by itself; and what a run is called stays text."""

from __future__ import annotations

import re

import pytest

from sc.grouping import Group
from sc.history import History, Worker
from sc.pages.compact import pack
from sc.pages.facts import Links, Row
from sc.pages.histogram import BARS, spread_of
from sc.pages.report import page
from sc.pages.timeline import MOST_ROWS, lanes_of
from tests.fakes.ended_batch import code_of, outcomes_of
from tests.fakes.ended_facts import HOSTILE, facts_of
from tests.page_reader import read, table_in, unpacked


def test_the_page_tells_counts_errors_and_all_runs() -> None:
    facts = facts_of(400)
    document = page(facts)
    told = " ".join(read(document).text)
    assert facts.counts == {
        "completed": 388,
        "failed": 12,
        "not_stored": 0,
        "incomplete": 0,
    }
    for text in ("400", "388", "12", "4 kinds", "ValueError: could not convert", "95 % took less"):
        assert text in told
    table = table_in(document)
    assert [row[:4] for row in table] == [
        [row.number, row.path, row.cmd, row.code] for row in facts.rows()
    ]


def test_the_page_needs_nothing_else() -> None:
    reader = read(page(facts_of(50)))
    for tag, known in reader.tags:
        assert "src" not in known
        assert not any(name.startswith("on") for name in known)
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert re.match(r"out/[\w/-]+$", known.get("href", "out/x"))
    policy = next(known["content"] for tag, known in reader.tags if "http-equiv" in known)
    assert policy.startswith("default-src 'none'; ")
    assert "sha256-" in policy


def test_what_does_not_fit_is_left_out_but_failures_come_first() -> None:
    facts = facts_of(2000)
    packed = pack(facts.rows, budget=10_000)
    table = unpacked(packed.text)
    assert 200 < len(table) == packed.rows < 1500
    failed = sum(bool(code_of(number)) for number in range(2000))
    assert all(row[3] for row in table[:failed])
    assert not any(row[3] for row in table[failed:])
    assert [row[0] for row in table[:2]] == [5, 38]


@pytest.mark.parametrize("kind", ["folder", "console", "none"])
def test_whatever_things_are_called_stays_text(kind: str) -> None:
    row = Row(0, HOSTILE, HOSTILE, 1, 3.0, 0)
    facts = facts_of(
        40,
        title=HOSTILE,
        place=HOSTILE,
        jobs=[HOSTILE],
        groups=[Group(2, HOSTILE, f"/out/{HOSTILE}"), Group(1, "", "javascript:alert(3)")],
        rows=lambda: iter([row]),
        slowest=[row],
        workers=[Worker(HOSTILE, HOSTILE, 4, HOSTILE, 0.0, 1.0)] * 3,
        links=Links(kind, "out/" if kind == "folder" else "https://console/?prefix="),
    )
    document = page(facts)
    document.encode("utf-8")
    reader = read(document)
    assert len(reader.scripts) == 3
    assert not any(tag == "img" for tag, _ in reader.tags)
    assert all(
        known.get("href", "out/").startswith(("out/", "https://console/"))
        for _, known in reader.tags
    )
    assert "\x1b" not in document
    assert "\u202e" not in document
    assert table_in(document) == [[0, HOSTILE, HOSTILE, 1, 3.0]]


@pytest.mark.parametrize(
    ("machines", "slots", "lanes"), [(2, 4, 8), (8, 8, 64), (9, 8, 9), (64, 8, 64), (1000, 8, 63)]
)
def test_the_timeline_has_as_many_lanes_as_can_be_seen(
    machines: int, slots: int, lanes: int
) -> None:
    workers = [Worker(f"w{n}", "m", slots, "", float(n), 9.0) for n in range(machines)]
    picture = lanes_of(workers)
    assert len(picture.lanes) == lanes <= MOST_ROWS
    assert sum(lane.slots for lane in picture.lanes) == machines * slots
    assert picture.is_by_slot == (machines * slots <= MOST_ROWS)


def test_every_run_is_in_the_histogram_once() -> None:
    for count in (1, 2, 500):
        spread = spread_of(facts_of(count).history)
        assert sum(spread.completed) + sum(spread.failed) == count
        assert len(spread.edges) == BARS + 1


def test_records_that_are_none_are_passed_over_and_the_last_one_counts() -> None:
    history = History()
    line = next(outcomes_of("/out", 1, 1, 1))[1]
    for text in ("", "{}", "[]", "nonsense", '{"remote_output_path": 3}', "[" * 5000):
        history.add("w", text)
    history.add("w", line._replace(ended=line.started - 1).to_line())
    history.add("w", line._replace(cause="interrupted", code=None).to_line())
    assert len(history) == 0
    later = line._replace(started=line.started + 100, ended=line.ended + 100, code=3)
    history.add("w", later.to_line())
    history.add("w", line.to_line())
    row = history.last(line.remote_output_path)
    assert row is not None
    assert (history.codes[row], history.last("/out/other")) == (3, None)


def test_a_batch_without_records_has_a_page_too() -> None:
    facts = facts_of(0, history=History(), workers=[], slowest=[], groups=[])
    assert "No records" in " ".join(read(page(facts)).text)
