"""What is drawn on terminals of every size, and that nothing in a name steers them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sc.commands.displays import document
from sc.commands.watch import KEYS
from sc.estimating import Estimate
from sc.glances import Glance
from sc.grouping import Group
from sc.halting import Stop
from sc.heartbeats import Heartbeat
from sc.job_state import State, Worker
from sc.screen import NARROWEST, View, begin, columns, draw, fit

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202eevil\r\n"


def worker(number: int, is_silent: bool = False, error: str = "") -> Worker:
    name = f"i-{number:017x}"
    heartbeat = Heartbeat(
        name, name, "ec2", "r6a.xlarge", 4, "working", 1.0, error=error, load=3.94
    )
    glance = Glance(name, "working", 500 + number, number % 7, 0, 4, 2, 4, 1_000_000, 12)
    return Worker(glance, 130.0 if is_silent else 4.0, is_silent, heartbeat)


def view(workers: int = 2, kinds: int = 4, name: str = "backfill", note: str = "note") -> View:
    errors = [
        Group(20 - one, f"KeyError: {HOSTILE} {one}" + "x" * one, f"/o/{one}/{HOSTILE}")
        for one in range(kinds)
    ]
    state = State(
        f"s3://bucket/{name}/.sc/{name}",
        name,
        2000,
        100,
        60,
        1106,
        34,
        0,
        [worker(one, is_silent=one == 1) for one in range(workers)],
        errors,
    )
    return View(state, Estimate(12.34, 0.4, 69.0), 200.4, 0.12, 0.2, note)


def text(one: View, width: int, height: int) -> str:
    return "\n".join(line.text.rstrip() for line in draw(one, width, height))


def test_a_screen_of_eighty_columns() -> None:
    plain = view(kinds=0)
    errors = [Group(23, "KeyError: 'user-#'", "/out/17"), Group(11, "exit code 7", "/out/33")]
    state = State(**{**vars(plain.state), "errors": errors})
    one = View(**{**vars(plain), "state": state})
    assert (
        text(one, 80, 24)
        == """\
backfill                                                              3 min 20 s
s3://bucket/backfill/.sc/backfill
[#########################################-------------------------------]  57 %
2,000 runs: 1,106 completed, 34 failed, 4 running, 856 waiting
12 a second, 0.4 s a run, about 1 min 9 s left
1 worker, 4 slots, 1 silent, $0.12 so far, about $0.20 in all

worker                              slots  load     done  failed  state
i-00000000000000001                   -/4   3.9      501       1  silent 2 min
i-00000000000000000                   4/4   3.9      500       0  working

errors, and an example of each
    23  KeyError: 'user-#'                                               /out/17
    11  exit code 7                                                      /out/33
note"""
    )


def test_a_screen_of_forty_columns() -> None:
    drawn = text(view(kinds=1), 40, 30)
    assert "[##################--------------]  57 %" in drawn
    assert "i-00000…00000001       1  silent 2 min" in drawn


@pytest.mark.parametrize("width", [1, 20, 33, 40, 69, 70, 80, 131, 300])
@pytest.mark.parametrize("height", [1, 5, 12, 24, 60])
def test_it_fits_and_nothing_steers_the_terminal(width: int, height: int) -> None:
    for one in (view(), view(150, 30), view(0, 0), view(3, 3, HOSTILE), view(3, 3, "漢字" * 40)):
        lines = draw(one, width, height)
        assert len(lines) <= height
        for line in lines:
            assert columns(line.text) <= max(width, NARROWEST)
            assert line.text.isprintable()


def test_of_many_workers_those_in_trouble_come_first() -> None:
    drawn = text(view(150), 80, 24).splitlines()
    rows = [line for line in drawn if line.startswith("i-")]
    assert "silent" in rows[0]
    assert "silent" not in rows[1]
    assert any(line.startswith("and 14") and line.endswith("more") for line in drawn)


def test_troubles_and_the_reason_of_a_stop_are_told() -> None:
    state = State(
        "u",
        "n",
        10,
        1,
        workers=[worker(1, error="the disk is full")],
        troubles=["part 3 is gone"],
        stop=Stop("why"),
    )
    drawn = text(View(state, Estimate(), 1.0), 80, 24)
    for sentence in ("why", "part 3 is gone", "the disk is full", "in trouble"):
        assert sentence in drawn


def test_texts_are_cut_by_what_they_take_on_the_screen() -> None:
    assert fit("abcdefghij", 7) == "abc…hij"
    assert fit("漢字漢字漢字", 7) == "漢…字"
    assert begin("漢字漢字", 5) == "漢字…"
    assert begin("abc", 3) == "abc"
    assert fit("\x1b", 10) == "\\x1b"
    assert fit("ab", 1) == "…"


def test_the_object_for_programs_has_its_keys() -> None:
    told = document(view(), None)
    assert set(told) == {
        *(
            "job_url",
            "name",
            "seconds",
            "exit_code",
            "runs",
            "completed",
            "failed",
            "lost",
            "running",
        ),
        *("waiting", "parts", "parts_done", "rate", "run_seconds", "left_seconds", "dollars"),
        *("dollars_in_all", "stopped", "troubles", "errors", "workers", "not_stored"),
        *("runs_with_ended_processes", "runs_with_unstored_files"),
    }
    assert all(key in KEYS.replace(",", "").split() for key in told)
    page = (Path(__file__).parent.parent.parent / "docs" / "watch.md").read_text()
    named = {*told, *told["workers"][0], *told["errors"][0]}
    assert {key for key in named if f"`{key}`" not in page} == set()
    assert told["exit_code"] is None
    assert set(told["workers"][0]) == {
        *(
            "worker",
            "state",
            "completed",
            "failed",
            "lost",
            "running",
            "waiting",
            "slots",
            "machine",
        ),
        *("kind", "load", "vcpus", "error", "age_seconds", "silent", "not_stored"),
    }
    assert told["errors"][0]["count"] == 20
    assert (told["completed"], told["failed"], told["running"], told["waiting"]) == (
        1106,
        34,
        4,
        856,
    )
