"""Data drawn as text: tables, durations, the lines of a progress display. Returns strings, writes nothing."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

GAP = "    "
"""Between the columns of a table, as in the tables of Saturn Cloud's client."""

_UNSEEN = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])


def printable(text: str) -> str:
    """The text on one line, with everything that could steer a terminal written as an escape (`\\x1b`).

    Control and format characters (those that turn the direction of writing, too), surrogates and line ends.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN else c for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


class Table:
    """Columns as wide as their widest cell, left-justified; measure all rows first, then draw them.

    It keeps widths only, so that a table may have more rows than fit in memory.
    """

    def __init__(self, *headers: str) -> None:
        self.headers = headers
        self.widths = [len(header) for header in headers]

    def measure(self, cells: Sequence[str]) -> None:
        """Make room for a row."""
        for column, cell in enumerate(cells):
            if len(cell) > self.widths[column]:
                self.widths[column] = len(cell)

    def head(self) -> list[str]:
        """The header and the line of dashes."""
        return [
            self.row(self.headers),
            "-" * (sum(self.widths) + len(GAP) * (len(self.widths) - 1)),
        ]

    def row(self, cells: Sequence[str]) -> str:
        """One line."""
        return GAP.join(cell.ljust(width) for cell, width in zip(cells, self.widths))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A whole table of a few rows: header, dashes, rows; spaces at the ends of lines removed."""
    kept = [[printable(cell) for cell in cells] for cells in rows]
    drawn = Table(*headers)
    for cells in kept:
        drawn.measure(cells)
    yield from (line.rstrip() for line in (*drawn.head(), *map(drawn.row, kept)))


def number(count: int) -> str:
    """A count with a comma between thousands."""
    return f"{count:,}"


def runs(count: int) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} run" + ("" if count == 1 else "s")


def remarks(total: int, ended_processes: int, unstored_files: int) -> list[str]:
    """What a person should know of runs that may well have completed: a sentence for each, without a full stop."""
    told = []
    if ended_processes:
        told.append(
            f"{ended_processes:,} of {runs(total)} left processes running, which were ended"
        )
    if unstored_files:
        told.append(f"{unstored_files:,} of {runs(total)} made files that were not stored")
    return told


def another_command(count: int) -> str:
    """Of runs of a batch that was edited: `2 runs have the outputs of another command`, and what that means."""
    word = "has" if count == 1 else "have"
    return (
        f"{runs(count)} {word} the outputs of another command (command, folder, environment or GPUs "
        "have changed since)"
    )


def parts(count: int) -> str:
    """`1 part`, `20 parts`."""
    return f"{count:,} part" + ("" if count == 1 else "s")


def workers(count: int) -> str:
    """`1 worker`, `20 workers`."""
    return f"{count:,} worker" + ("" if count == 1 else "s")


def duration(seconds: float) -> str:
    """Two units at most: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 1 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return _two_units(minutes, "min", rest, "s")
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return _two_units(hours, "h", minutes, "min")
    return _two_units(hours // 24, "d", hours % 24, "h")


def _two_units(high: int, unit: str, low: int, below: str) -> str:
    return f"{high} {unit} {low} {below}" if low else f"{high} {unit}"


def gibibytes(count: int) -> str:
    """Bytes of memory: `3.8 GiB`, `24 GiB`."""
    value = count / 2**30
    return f"{value:.0f} GiB" if value >= 10 or value == int(value) else f"{value:.1f} GiB"


def counts(numbers: Mapping[str, int]) -> str:
    """`7 completed, 1 failed`; what is zero is left out, unless all is."""
    told = [f"{count:,} {word}" for word, count in numbers.items() if count]
    return ", ".join(told) or "nothing"


def progress(
    numbers: Mapping[str, int],
    running: int,
    total: int,
    elapsed: float,
    before: int = 0,
    saving: int = 0,
) -> str:
    """The line of a display: `12 of 100 runs, 1 failed, 4 running, 3.2 a second, about 28 s left`.

    `before` had ended when the clock for `elapsed` began. `saving` have ended but are not stored yet.
    """
    ended = sum(numbers.values())
    told = [f"{ended:,} of {runs(total)}"]
    failed = numbers.get("failed", 0)
    if failed:
        told.append(f"{failed:,} failed")
    told.append(f"{running:,} running")
    if saving:
        told.append(f"{saving:,} being stored")
    done = ended - before
    if elapsed > 1 and done > 0:
        told.append(rate(done / elapsed))
        if ended < total:
            told.append(f"about {duration((total - ended) * elapsed / done)} left")
    return ", ".join(told)


def rate(per_second: float) -> str:
    """`3.2 a second`: in the unit that gives a number of at least 1, if there is one."""
    units = ((1, "a second"), (60, "a minute"), (3600, "an hour"))
    factor, unit = next((pair for pair in units if per_second * pair[0] >= 1), units[-1])
    value = per_second * factor
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"


def json_line(document: Any) -> str:
    """Compact JSON of one line, ASCII only."""
    return json.dumps(document, ensure_ascii=True, separators=(", ", ": "))
