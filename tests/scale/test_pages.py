"""The page of a large batch."""

from __future__ import annotations

from sc.pages.report import page
from tests.fakes.ended_batch import code_of
from tests.fakes.ended_facts import facts_of
from tests.page_reader import table_in


def test_a_hundred_thousand_runs_are_told_in_less_than_5_mb() -> None:
    document = page(facts_of(100_000, 100, 8))
    assert len(document.encode()) < 5_000_000
    assert document.count("<rect") < 20_000
    table = table_in(document)
    assert [row[3] for row in table] == [code_of(number) for number in range(100_000)]
