"""One screen that tells all about a job: lines of text for a terminal of any size. Pure; writes nothing.

    head       name, time, bar, counts, rate and time left, cost
    workers    those in trouble first, as many as fit
    errors     the most frequent first, each with one example

Names and texts of strangers are made `printable`: nothing in them can steer the terminal.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

from sc import reports
from sc.estimating import Estimate
from sc.grouping import Group
from sc.job_state import State, Worker

NARROWEST = 20
_FEWEST_ROWS = 3
"""Of workers, and of errors, however low the screen is."""
_COLUMNS = (("worker", 1), ("slots", 6), ("load", 5), ("done", 8), ("failed", 7), ("state", 14))
_HEALTHY = "working"
_MOST_TROUBLES, _LINES_OF_TROUBLE = 3, 3


@dataclass(frozen=True)
class View:
    """What is shown."""

    state: State
    estimate: Estimate
    elapsed: float
    """Seconds since somebody began to watch."""
    dollars: Optional[float] = None
    """What the machines have cost so far; None where nobody knows, or nothing is to be paid."""
    dollars_in_all: Optional[float] = None
    note: str = ""
    """A last line: what one can do now, or why nothing goes on."""


class Line(NamedTuple):
    """A line as wide as the screen at most, and how it is to look."""

    text: str
    style: str = ""
    """`bold`, `dim`, `good`, `bad`, or nothing."""


def draw(view: View, width: int, height: int) -> list[Line]:
    """The screen. At most `height` lines of `width` columns each, where that is possible at all."""
    width = max(NARROWEST, width)
    head = list(_head(view, width))
    foot = [Line(text, "dim") for text in _wrapped(view.note, width)]
    left = max(0, height - len(head) - len(foot))
    errors = list(_errors(view.state.errors, width, max(3 * _FEWEST_ROWS, left // 2)))
    workers = list(_workers(view.state, width, max(_FEWEST_ROWS + 2, left - len(errors))))
    return [*head, *workers, *errors, *foot][:height]


def fit(text: str, width: int) -> str:
    """The text in `width` columns: its middle is left out where it is longer, since paths differ at their ends."""
    text = reports.printable(text)
    if columns(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    first = (width - 1) // 2
    return _cut(text, first) + "…" + _cut(text[::-1], width - 1 - first)[::-1]


def begin(text: str, width: int) -> str:
    """The text's beginning in `width` columns."""
    text = reports.printable(text)
    return text if columns(text) <= width else _cut(text, width - 1) + "…"


def columns(text: str) -> int:
    """How wide a terminal shows a printable text: East Asian characters take two columns, accents none."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, width: int) -> str:
    """As much of the beginning as fits."""
    taken = 0
    for place, character in enumerate(text):
        taken += _columns_of(character)
        if taken > width:
            return text[:place]
    return text


def _head(view: View, width: int) -> Iterator[Line]:
    state, elapsed = view.state, reports.duration(round(view.elapsed))
    yield Line(_ends(fit(state.name, max(8, width - 12)), elapsed, width), "bold")
    yield Line(fit(state.job_url, width), "dim")
    yield Line(_bar(state.ended, state.runs, width), "good")
    for text in _wrapped(_counts(state), width):
        yield Line(text, "bad" if state.unsuccessful else "")
    for remark in reports.remarks(state.runs, state.ended_processes, state.unstored_files):
        for text in _wrapped(remark, width):
            yield Line(text)
    for text in _wrapped(_times(state, view.estimate), width):
        yield Line(text)
    for text in _wrapped(_machines(view), width):
        yield Line(text)
    for trouble in _troubles(state):
        for text in _wrapped(trouble, width)[:_LINES_OF_TROUBLE]:
            yield Line(text, "bad")


def _troubles(state: State) -> Iterator[str]:
    """What went wrong beside runs."""
    if state.stop is not None:
        yield state.stop.reason
    yield from state.troubles[:_MOST_TROUBLES]
    told = {one.heartbeat.error: one for one in state.live if one.heartbeat and one.heartbeat.error}
    for error, one in list(told.items())[:_MOST_TROUBLES]:
        yield f"{one.glance.worker}: {error}"


def _bar(ended: int, runs: int, width: int) -> str:
    """`[#####-----]  50 %`; it is full only when all is done."""
    share = 100 * ended // runs if runs else 100
    room = width - 8
    full = room * ended // runs if runs else room
    return f"[{'#' * full}{'-' * (room - full)}] {share:3d} %"


def _counts(state: State) -> str:
    told = [f"{state.completed:,} completed", f"{state.failed:,} failed"]
    told += [f"{state.lost:,} lost"] if state.lost else []
    told += [f"{state.not_stored:,} not stored"] if state.not_stored else []
    told += [f"{state.running:,} running", f"{state.waiting:,} waiting"]
    return f"{reports.runs(state.runs)}: {', '.join(told)}"


def _times(state: State, estimate: Estimate) -> str:
    told = []
    if estimate.rate is not None:
        told.append(reports.rate(estimate.rate))
    if estimate.run_seconds is not None:
        told.append(f"{reports.duration(estimate.run_seconds)} a run")
    if estimate.left_seconds is not None and not state.is_complete:
        told.append(f"about {reports.duration(estimate.left_seconds)} left")
    return ", ".join(told)


def _machines(view: View) -> str:
    live = view.state.live
    silent = sum(one.is_silent for one in view.state.workers)
    told = [reports.workers(len(live)), f"{sum(one.glance.slots for one in live):,} slots"]
    if silent:
        told.append(f"{silent:,} silent")
    if view.dollars is not None:
        told.append(f"${view.dollars:,.2f} so far")
    if view.dollars_in_all is not None:
        told.append(f"about ${view.dollars_in_all:,.2f} in all")
    return ", ".join(told)


def _workers(state: State, width: int, height: int) -> Iterator[Line]:
    """A table: those in trouble first, then the ones at work; columns go where there is no room."""
    shown = sorted(state.workers, key=_trouble, reverse=True)
    if not shown:
        return
    rows = height - 2  # a blank line, the headers
    more = len(shown) > rows
    shown = shown[: rows - 1] if more else shown
    chosen = _columns_for(width)
    yield Line("")
    yield Line(_row([name for name, _ in _COLUMNS], chosen, width), "dim")
    for one in shown:
        yield Line(_row(_cells(one), chosen, width), "bad" if one.is_silent else "")
    if more:
        yield Line(f"and {len(state.workers) - len(shown):,} more", "dim")


def _trouble(one: Worker) -> tuple[bool, bool, int]:
    return one.is_silent, not one.glance.is_last, one.glance.failed


def _columns_for(width: int) -> Sequence[int]:
    """Which of the columns there is room for, the least important ones going first."""
    chosen = list(range(len(_COLUMNS)))
    for victim in (2, 3, 1, 4):
        if sum(_COLUMNS[one][1] + 1 for one in chosen) + 12 <= width:
            break
        chosen.remove(victim)
    return chosen


def _row(cells: Sequence[str], chosen: Sequence[int], width: int) -> str:
    """The first cell gets what the others leave, the last one begins after two blanks."""
    rest = ""
    for one in chosen[1:]:
        cell = begin(cells[one], _COLUMNS[one][1])
        is_last = one == len(_COLUMNS) - 1
        rest += f"  {cell:<{_COLUMNS[one][1]}}" if is_last else f" {cell:>{_COLUMNS[one][1]}}"
    room = max(1, min(40, width - columns(rest)))
    name = fit(cells[0], room)
    return (name + " " * (room - columns(name)) + rest).rstrip()


def _cells(one: Worker) -> Sequence[str]:
    glance, heartbeat = one.glance, one.heartbeat
    load = f"{heartbeat.load:.1f}" if heartbeat else ""
    busy = f"{glance.running}/{glance.slots}" if one.is_live else f"-/{glance.slots}"
    health = f"silent {_since(one.age_seconds)}" if one.is_silent else glance.state
    if health == _HEALTHY and heartbeat and heartbeat.error:
        health = "in trouble"
    done, failed = f"{glance.completed:,}", f"{glance.unsuccessful:,}"
    return glance.worker, busy, load, done, failed, health


def _since(seconds: float) -> str:
    """In one unit: `40 s`, `2 min`."""
    return reports.duration(round(seconds) if seconds < 60 else 60 * round(seconds / 60))


def _errors(groups: Sequence[Group], width: int, height: int) -> Iterator[Line]:
    if not groups:
        return
    yield Line("")
    yield Line(begin("errors, and an example of each", width), "dim")
    is_wide = width >= 70
    room = max(1, (height - 3) // (1 if is_wide else 2))
    for group in groups[:room]:
        count = f"{group.count:>6,}  "
        if is_wide:
            path = fit(group.example, width // 3)
            text = begin(group.text, width - len(count) - columns(path) - 2)
            yield Line(_ends(count + text, path, width))
        else:
            yield Line(count + begin(group.text, width - len(count)))
            yield Line(" " * len(count) + fit(group.example, width - len(count)), "dim")
    if len(groups) > room:
        yield Line(f"and {len(groups) - room:,} kinds more", "dim")


def _ends(left: str, right: str, width: int) -> str:
    """One text at the left end of the line, one at the right."""
    return left + " " * max(1, width - columns(left) - columns(right)) + right


def _wrapped(text: str, width: int) -> list[str]:
    return [fit(line, width) for line in textwrap.wrap(reports.printable(text), width)]
