"""How long runs took: bars from the shortest to the longest, failures on top. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sc.history import History
from sc.pages.markup import text
from sc.reports import duration

BARS = 32
LOGARITHMIC_FROM = 30.0
"""Where the longest takes so many times as long as the shortest, each bar is a factor wider than the last."""
_HEIGHT, _WIDTH = 180, 960


class Spread(NamedTuple):
    """The distribution."""

    completed: Sequence[int]
    failed: Sequence[int]
    edges: Sequence[float]
    """In seconds; one more than there are bars."""
    median: float
    late: float
    """The 95th percentile."""
    longest: float


def spread_of(history: History) -> Spread:
    """There is at least one record."""
    seconds = sorted(history.seconds(row) for row in range(len(history)))
    low, high = max(seconds[0], 1e-2), max(seconds[-1], 1e-2)
    edges = _edges(low, high)
    completed, failed = [0] * BARS, [0] * BARS
    for row in range(len(history)):
        target = failed if history.codes[row] else completed
        target[_bar(history.seconds(row), edges)] += 1
    pick = [seconds[min(len(seconds) - 1, int(share * len(seconds)))] for share in (0.5, 0.95)]
    return Spread(completed, failed, edges, pick[0], pick[1], seconds[-1])


def histogram(spread: Spread) -> str:
    """As HTML: the figures, an SVG, and the axis."""
    most = max(one + other for one, other in zip(spread.completed, spread.failed)) or 1
    width, marks = _WIDTH / BARS, []
    for number, (good, bad) in enumerate(zip(spread.completed, spread.failed)):
        if not good + bad:
            continue
        tall = max(2.0, good / most * _HEIGHT) if good else 0.0
        top = max(2.0, bad / most * _HEIGHT) if bad else 0.0
        title = _title(spread.edges[number], spread.edges[number + 1], good, bad)
        x = number * width + 1
        for kind, y, height in (("ok", _HEIGHT - tall, tall), ("bad", _HEIGHT - tall - top, top)):
            if height:
                marks.append(
                    f'<rect class="{kind}" x="{x:.1f}" y="{max(y, 0):.1f}" width="{width - 2:.1f}" '
                    f'height="{height:.1f}"><title>{text(title)}</title></rect>'
                )
    ticks = "".join(f"<span>{text(duration(spread.edges[BARS * n // 4]))}</span>" for n in range(5))
    figures = "".join(
        f"<span><b>{text(duration(value))}</b> {name}</span>"
        for name, value in (
            ("median", spread.median),
            ("95 % took less", spread.late),
            ("longest", spread.longest),
        )
    )
    return (
        f'<p class="figures">{figures}</p>'
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" '
        f'style="height:{_HEIGHT}px" role="img" aria-label="How long runs took">{"".join(marks)}'
        f'<path class="axis" d="M0 {_HEIGHT}H{_WIDTH}"/></svg><div class="ticks">{ticks}</div>'
    )


def _edges(low: float, high: float) -> Sequence[float]:
    if high / low >= LOGARITHMIC_FROM:
        factor = math.log(high / low) / BARS
        return [low * math.exp(factor * number) for number in range(BARS + 1)]
    return [high * number / BARS for number in range(BARS + 1)]


def _bar(seconds: float, edges: Sequence[float]) -> int:
    low, high = edges[0], edges[-1]
    if seconds <= low:
        return 0
    share = math.log(seconds / low) / math.log(high / low) if low > 0 else seconds / high
    return min(BARS - 1, int(share * BARS))


def _title(low: float, high: float, good: int, bad: int) -> str:
    failed = f", {bad:,} failed" if bad else ""
    return f"{duration(low)} to {duration(high)}: {good:,} completed{failed}"
