"""Machines x slots over time: each run as a bar, or, where there are many, how busy each moment was. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sc.history import History, Worker
from sc.pages.markup import text
from sc.reports import duration

MOST_ROWS = 64
MOST_BARS = 3000
BINS = 240
LEVELS = 5
_WIDTH = 1000


class Lane(NamedTuple):
    """A row of the picture."""

    label: str
    slots: int


class Picture(NamedTuple):
    """Which lane each slot belongs to."""

    lanes: Sequence[Lane]
    first: Sequence[int]
    """Of each worker: its first lane."""
    is_by_slot: bool


def lanes_of(workers: Sequence[Worker]) -> Picture:
    """A lane for each slot; if these are too many for each worker; and if these are, for some workers together."""
    order = sorted(range(len(workers)), key=lambda one: (workers[one].started, workers[one].id))
    first = [0] * len(workers)
    lanes: list[Lane] = []
    if sum(worker.slots for worker in workers) <= MOST_ROWS:
        for one in order:
            first[one] = len(lanes)
            lanes += [
                Lane(workers[one].id if not rank else "", 1) for rank in range(workers[one].slots)
            ]
        return Picture(lanes, first, True)
    together = -(-len(workers) // MOST_ROWS)
    for position in range(0, len(order), together):
        some = order[position : position + together]
        for one in some:
            first[one] = len(lanes)
        label = workers[some[0]].id if together == 1 else ""
        if together > 1 and not lanes:
            label = f"{together} each line"
        lanes.append(Lane(label, sum(workers[one].slots for one in some)))
    return Picture(lanes, first, False)


def timeline(history: History, workers: Sequence[Worker]) -> str:
    """The picture as HTML: labels, an SVG, and the axis. Empty if there is nothing to show."""
    if not len(history):
        return ""
    begin, end = min(history.started), max(history.ended)
    span = max(end - begin, 1e-3)
    picture = lanes_of(workers)
    height = 16 if len(picture.lanes) <= 24 else 10
    if picture.is_by_slot and len(history) <= MOST_BARS:
        marks = _bars(history, picture, begin, span, height)
    else:
        marks = _shares(history, picture, begin, span, height)
    total = height * len(picture.lanes)
    labels = "".join(_label(lane, height) for lane in picture.lanes)
    lines = "".join(f'<path class="grid" d="M{_WIDTH * n // 4} 0V{total}"/>' for n in range(1, 4))
    ticks = "".join(f"<span>{text(duration(span * n / 4))}</span>" for n in range(5))
    return (
        f'<div class="lanes"><div class="labels" aria-hidden="true">{labels}</div>'
        f'<div><svg class="plot" viewBox="0 0 {_WIDTH} {total}" preserveAspectRatio="none" '
        f'style="height:{total}px" role="img" aria-label="What each slot did over time">'
        f'<rect class="idle" width="{_WIDTH}" height="{total}"/>{"".join(marks)}{lines}</svg>'
        f'<div class="ticks">{ticks}</div></div></div>'
    )


def short(name: str) -> str:
    """A long name of a machine by its end, which tells it from others."""
    return name if len(name) <= 15 else f"…{name[-12:]}"


def _label(lane: Lane, height: int) -> str:
    shown = text(short(lane.label)) if height > 10 or lane.label else ""
    return f'<div style="height:{height}px;line-height:{height}px" title="{text(lane.label)}">{shown}</div>'


def _bars(
    history: History, picture: Picture, begin: float, span: float, height: int
) -> Iterator[str]:
    """Failures last, so that they lie on top."""
    rows = sorted(range(len(history)), key=lambda row: history.codes[row] != 0)
    for row in rows:
        x = (history.started[row] - begin) / span * _WIDTH
        width = max((history.ended[row] - history.started[row]) / span * _WIDTH, 0.6)
        lane = picture.first[history.workers[row]] + history.ranks[row]
        kind = "ok" if history.codes[row] == 0 else "bad"
        told = duration(history.seconds(row))
        if kind == "bad":
            code = history.codes[row]
            told += f", exit code {code}" if code >= 0 else ", lost"
        yield (
            f'<rect class="{kind}" x="{x:.1f}" y="{lane * height + 1}" width="{width:.1f}" '
            f'height="{height - 2}"><title>{text(told)}</title></rect>'
        )


def _shares(
    history: History, picture: Picture, begin: float, span: float, height: int
) -> Iterator[str]:
    """How much of each lane was busy in each of the moments, in five shades; failures as marks below."""
    count = len(picture.lanes)
    busy = [[0.0] * BINS for _ in range(count)]
    failed = [[0] * BINS for _ in range(count)]
    scale = BINS / span
    for row in range(len(history)):
        at = picture.first[history.workers[row]]
        at += history.ranks[row] if picture.is_by_slot else 0
        start, stop = (history.started[row] - begin) * scale, (history.ended[row] - begin) * scale
        _spread(busy[at], start, stop)
        if history.codes[row]:
            failed[at][min(int(stop), BINS - 1)] += 1
    for number, lane in enumerate(picture.lanes):
        levels = [min(LEVELS, round(LEVELS * share / lane.slots + 0.3)) for share in busy[number]]
        for first, length, level in _stretches(levels):
            yield _cell(f"ok l{level}", first, length, number * height, height - 1, "")
        for bin_, some in enumerate(failed[number]):
            if some:
                yield _cell(
                    "bad",
                    bin_,
                    1,
                    number * height + height // 2,
                    height // 2 - 1,
                    f"{some:,} failed",
                )


def _spread(lane: list[float], start: float, stop: float) -> None:
    """Add the time from one moment to another to the moments between."""
    first, last = int(start), min(int(stop), BINS - 1)
    if first >= last:
        lane[min(first, BINS - 1)] += stop - start
        return
    lane[first] += first + 1 - start
    for moment in range(first + 1, last):
        lane[moment] += 1.0
    lane[last] += stop - last


def _stretches(levels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Where a level that is not 0 begins, and for how long it lasts."""
    first = 0
    for position in range(1, len(levels) + 1):
        if position == len(levels) or levels[position] != levels[first]:
            if levels[first]:
                yield first, position - first, levels[first]
            first = position


def _cell(kind: str, first: int, length: int, y: int, height: int, title: str) -> str:
    width = _WIDTH / BINS
    told = f"><title>{text(title)}</title></rect>" if title else "/>"
    return (
        f'<rect class="{kind}" x="{first * width:.2f}" y="{y}" width="{length * width:.2f}" '
        f'height="{height}"{told}'
    )
