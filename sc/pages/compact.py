"""All runs in few bytes, for the search of the page. Pure.

Texts of neighbours are alike, so each is written as what it has in common with the one before: how many characters
at its beginning, how many at its end, and what is between. `script.py` has the other end of the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from os.path import commonpath
from typing import Any, Optional

from sc.pages.facts import Row

BUDGET_BYTES = 4_200_000
"""The whole page is to stay below 5 MB."""
_LONGEST_COMMAND = 300
_NUMBERS_BYTES = 22
"""Of a row, without its texts, at most."""


class Packed:
    """A text after the other."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.bytes = 0
        self._before = ""

    def add(self, text: str) -> None:
        begin = end = 0
        if (
            text.isascii() and self._before.isascii()
        ):  # JavaScript counts other characters otherwise
            begin = len(commonpath((self._before, text)))
            rest = (self._before[begin:][::-1], text[begin:][::-1])
            end = len(commonpath(rest))
        between = text[begin : len(text) - end]
        packed = f"{begin} {end} {between}"
        self.texts.append(packed)
        self.bytes += len(packed) + 3 if packed.isascii() else 12 * len(packed) + 3
        self._before = text


def table_of(rows: Callable[[], Iterator[Row]], budget: int = BUDGET_BYTES) -> dict[str, Any]:
    """The columns; if not all runs fit in so many bytes, the failed ones first, and then as many as fit."""
    table = _filled(rows(), budget)
    if table is None:
        failed = (row for row in rows() if row.code > 0)
        others = (row for row in rows() if row.code <= 0)
        table = _filled(_both(failed, others), budget, is_cut=True)
    assert table is not None
    return table


def _both(first: Iterable[Row], second: Iterable[Row]) -> Iterator[Row]:
    yield from first
    yield from second


def _filled(rows: Iterator[Row], budget: int, is_cut: bool = False) -> Optional[dict[str, Any]]:
    """None if they do not fit, unless they may be cut off."""
    paths, commands = Packed(), Packed()
    numbers: list[int] = []
    codes: list[int] = []
    seconds: list[float] = []
    workers: list[int] = []
    for row in rows:
        if paths.bytes + commands.bytes + _NUMBERS_BYTES * len(codes) > budget:
            if not is_cut:
                return None
            break
        paths.add(row.path)
        commands.add(row.cmd[:_LONGEST_COMMAND])
        numbers.append(row.number)
        codes.append(row.code)
        seconds.append(round(row.seconds, 1) if row.seconds < 100 else int(row.seconds))
        workers.append(row.worker)
    table: dict[str, Any] = {"paths": paths.texts, "commands": commands.texts, "codes": codes}
    table.update(seconds=seconds, workers=workers)
    if is_cut:
        table["numbers"] = numbers
    return table
