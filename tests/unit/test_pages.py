"""The page of `sc report`: told in full, in bounds, by itself; and what a run is called stays text."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from sc.grouping import Group
from sc.history import History, Worker, groups_of
from sc.pages.compact import pack
from sc.pages.facts import Facts, Links, Row
from sc.pages.histogram import BARS, spread_of
from sc.pages.report import page
from sc.pages.timeline import MOST_ROWS, lanes_of
from tests.fakes.ended_batch import code_of, outcomes_of, runs_of

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&lt;\x1b[31m\u202e\ud800"
)
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Reader(HTMLParser):
    """Fails on tags that do not match; keeps what there is."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.tags.append((tag, known))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((known, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        else:
            self.text.append(data)


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert reader.open == []
    return reader


def facts_of(count: int, machines: int = 3, slots: int = 4, **more: object) -> Facts:
    history = History()
    for machine, outcome in outcomes_of("/out", count, machines, slots):
        history.add(f"worker-{machine}", outcome.to_line())
    codes = [code_of(number) for number in range(count)]
    runs = list(runs_of("/out", count))

    def rows() -> Iterator[Row]:
        for number, (run, code) in enumerate(zip(runs, codes)):
            row = history.last(run.remote_output_path)
            assert row is not None
            path = run.remote_output_path[5:]
            yield Row(number, path, str(run.cmd), code, history.seconds(row), history.workers[row])

    failed = [run.remote_output_path for run, code in zip(runs, codes) if code]
    known: dict[str, object] = {
        "title": "backfill",
        "place": "/out",
        "jobs": ["backfill"],
        "made": "now",
        "version": "1",
        "counts": {"completed": codes.count(0), "failed": len(failed), "incomplete": 0},
        "history": history,
        "workers": [
            Worker(name, name, slots, "local", 0.0, 1.0) for name in history.worker_names()
        ],
        "groups": groups_of(history, ((path, history.last(path)) for path in failed)).sorted(),
        "rows": rows,
        "slowest": list(rows())[:3],
        "links": Links("folder", "out/"),
        "dollars": None,
    }
    return Facts(**{**known, **more})  # type: ignore[arg-type]


def table_in(document: str) -> list[Any]:
    """What the script does, in Python."""
    text = next(text for known, text in read(document).scripts if known.get("id") == "runs")
    return unpacked(text)


def unpacked(text: str) -> list[Any]:
    table: list[Any] = json.loads(b"[" + gzip.decompress(base64.b64decode(text)) + b"]")
    return table


def test_the_page_tells_counts_errors_and_all_runs() -> None:
    facts = facts_of(400)
    document = page(facts)
    told = " ".join(read(document).text)
    assert facts.counts == {"completed": 388, "failed": 12, "incomplete": 0}
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


def test_a_hundred_thousand_runs_are_told_in_less_than_5_mb() -> None:
    document = page(facts_of(100_000, 100, 8))
    assert len(document.encode()) < 5_000_000
    assert document.count("<rect") < 20_000
    table = table_in(document)
    assert [row[3] for row in table] == [code_of(number) for number in range(100_000)]


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
