"""The report in a real browser: on a phone and a desk, light and dark, small and with 100,000 runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sc.pages.report import page
from tests.browser import PROGRAM, Page, browser
from tests.e2e.program import Program
from tests.fakes.ended_batch import code_of, write
from tests.fakes.ended_facts import HOSTILE, facts_of

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")

OVERFLOWING = """(() => {
  const width = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll("body *")].filter((one) => {
    const at = one.getBoundingClientRect();
    return at.right > width + 0.5 || at.left < -0.5;
  });
  return [document.documentElement.scrollWidth - width, out.map((one) => one.tagName)];
})()"""
READY = """new Promise((ready) => {
  const look = () => document.body.dataset.ready ? ready(true) : setTimeout(look, 20);
  look();
})"""
SEARCH = """new Promise((done) => {
  const find = document.getElementById("find");
  find.value = %s;
  find.dispatchEvent(new Event("input"));
  document.getElementById("status").value = "failed";
  setTimeout(() => {
    document.getElementById("status").dispatchEvent(new Event("change"));
    done([...document.querySelectorAll("#found tr td:first-child")].map((one) => one.textContent));
  }, 200);
})"""


def check(opened: Page) -> None:
    assert opened.evaluate(READY)
    assert opened.evaluate(OVERFLOWING) == [0, []]
    assert opened.problems == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_overflows_and_nothing_goes_wrong(
    program: Program, tmp_path: Path, width: int, dark: bool
) -> None:
    write(tmp_path, 300, 2, 4)
    report = tmp_path / "report.html"
    done = program.run("report", "batch.json", "-o", "report.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with browser(tmp_path) as chromium:
        opened = chromium.open(report, width, dark)
        check(opened)
        found = opened.evaluate(SEARCH % '"shard 104"')
        assert found == ["104"]
        assert code_of(104)
        links = opened.evaluate(
            "[...document.querySelectorAll('a')].map((a) => decodeURIComponent(a.pathname))"
        )
        there = [link for link in links if not link.endswith("/results")]
        assert len(there) > 20
        assert [link for link in there if not os.path.exists(link)] == []


def test_what_is_meant_for_html_is_shown_as_text(tmp_path: Path) -> None:
    (tmp_path / "hostile.html").write_text(
        page(facts_of(40, title=HOSTILE, place=HOSTILE, jobs=[HOSTILE])), encoding="utf-8"
    )
    with browser(tmp_path) as chromium:
        opened = chromium.open(tmp_path / "hostile.html", 390)
        check(opened)
        assert opened.evaluate("document.querySelector('h1').textContent.includes('<script>')")
        assert opened.evaluate("document.querySelectorAll('img').length") == 0


def test_a_hundred_thousand_runs_are_there_at_once(tmp_path: Path) -> None:
    report = tmp_path / "large.html"
    report.write_text(page(facts_of(100_000, 100, 8)), encoding="utf-8")
    with browser(tmp_path) as chromium:
        for width in (390, 1280):
            opened = chromium.open(report, width)
            check(opened)
            assert opened.evaluate(SEARCH % '"shard 99995 "') == ["99995"] * bool(code_of(99995))
