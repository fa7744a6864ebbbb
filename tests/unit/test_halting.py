"""How many failures are too many, and what is said then."""

from __future__ import annotations

from typing import Optional

import pytest

from sc.glances import Glance, ended_and_failed, glance_of
from sc.halting import Limit, Stop, is_limit, limit_of, read_stop, reason


@pytest.mark.parametrize(
    ("text", "runs", "limit"),
    [
        ("", 100, None),
        ("5", 100, Limit(5, 1)),
        ("5%", 1000, Limit(50, 20)),
        ("5%", 1001, Limit(51, 20)),
        ("10%", 10, Limit(1, 10)),
        ("1%", 10, Limit(1, 10)),
        ("0.5%", 2000, Limit(10, 20)),
        ("100%", 7, Limit(7, 7)),
    ],
)
def test_a_limit_of_a_batch(text: str, runs: int, limit: Optional[Limit]) -> None:
    assert limit_of(text, runs) == limit


@pytest.mark.parametrize(
    "text", ["0", "-1", "x", "5 %", "101%", "0%", "0.0%", "1e3", "٣", "", "5%%"]
)
def test_what_is_no_limit(text: str) -> None:
    assert not is_limit(text)


def test_a_share_says_nothing_before_some_runs_have_ended() -> None:
    limit = limit_of("1%", 1000)
    assert limit is not None
    assert not limit.is_reached(ended=19, failed=19)
    assert limit.is_reached(ended=20, failed=10)
    assert not limit.is_reached(ended=900, failed=9)
    assert Limit(1).is_reached(1, 1)


def test_a_stop_is_read_back_and_anything_else_ends_everything() -> None:
    stop = Stop(reason("5%", 200, 10), lets_end=True)
    assert read_stop(stop.to_bytes()) == stop
    assert stop.reason == (
        "10 of 200 runs have failed, and --max-failures is 5%: nothing more is started."
    )
    for data in (b"", b"x", b"[]", b'{"reason": 3, "lets_end": true}', b'{"reason": "x"}'):
        assert read_stop(data) == Stop("The job was stopped.", lets_end=False)


def test_a_glance_is_read_back_from_its_name() -> None:
    glance = Glance("host-1.2-x", "leaving", 1, 2, 3, 4, 5, 6, 7, 8)
    assert glance_of(glance.to_name()) == glance
    assert ended_and_failed([glance, glance]) == (12, 10)
    for name in ("", "a", "a.working.1", "a.asleep.1.2.3.4.5.6.7.8", "a.left.1.2.3.4.5.6.7.x"):
        assert glance_of(name) is None
