"""Who gets a signal, and who first. With real processes: tests/processes/test_torture.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from sc.executor import tree

PARENTS = {10: 1, 24: 10, 16: 24, 9: 16, 8: 24, 12: 10, 3: 12, 30: 2}
"""Of whom each is the child; numbers of processes begin anew now and then, so that a child may have a lower one."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What is sent to whom, in that order."""
    signals: list[tuple[int, int]] = []

    def processes() -> Iterator[tuple[int, int, bool]]:
        for pid in sorted(PARENTS):
            yield pid, PARENTS[pid], False

    monkeypatch.setattr(tree, "_processes", processes)
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    return signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_parent_has_it_before_its_children(sent: list[tuple[int, int]], number: int) -> None:
    """Else a shell sees its command end, and goes on to the next, or ends without its trap."""
    found = tree.signal_below(1, number)
    order = [pid for pid, sent_number in sent if sent_number == number]
    assert order == found
    assert sorted(order) == [3, 8, 9, 10, 12, 16, 24]
    for pid in order[1:]:
        assert order.index(PARENTS[pid]) < order.index(pid)


def test_who_has_had_it_or_is_spared_does_not_get_it(sent: list[tuple[int, int]]) -> None:
    found = tree.signal_below(1, signal.SIGKILL, spared=(24,), asked=(12,))
    assert sorted(found) == [3, 10, 12]
    assert sorted(sent) == [(3, signal.SIGKILL), (10, signal.SIGKILL)]
