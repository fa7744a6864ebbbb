"""Samples to a table of medians and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from stopwatch import Sample


def rate_rows(
    samples: Mapping[str, Sequence[Sample]], runs: int, against: Optional[str]
) -> list[dict[str, Any]]:
    """A row for each contender. `ratio`: how many times its rate the contender `against` reached.

    The ratio is the median of the ratios of each round, since the two of a round were measured next to each other and
    had about the same noise.
    """
    rows = []
    for name, measured in samples.items():
        if not measured:
            continue
        rates = [runs / sample.wall_seconds for sample in measured]
        row: dict[str, Any] = {
            "contender": name,
            "rate": statistics.median(rates),
            "lowest": min(rates),
            "highest": max(rates),
            "cpu_ms_per_run": statistics.median(s.cpu_seconds for s in measured) * 1000 / runs,
            "server_cpu_ms_per_run": statistics.median(s.server_cpu_seconds for s in measured)
            * 1000
            / runs,
            "others": statistics.median(sample.others for sample in measured),
            "rounds": len(measured),
        }
        ours = samples.get(against, ()) if against else ()
        pairs = list(zip(ours, measured))
        if pairs:
            row["ratio"] = statistics.median(b.wall_seconds / a.wall_seconds for a, b in pairs)
            row["cpu_ratio"] = statistics.median(
                b.cpu_seconds / a.cpu_seconds for a, b in pairs if a.cpu_seconds
            )
        rows.append(row)
    return rows


def draw(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table whose columns line up; numbers to the right."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headings, *cells)]
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(headings))]
    lines = [_line(headings, widths, right)]
    lines.append(
        "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right)) + "|"
    )
    return "\n".join(lines + [_line(row, widths, right) for row in cells])


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    placed = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right)]
    return "| " + " | ".join(placed) + " |"


def _is_number(cell: object) -> bool:
    return cell is None or isinstance(cell, (int, float))


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
