"""How a job that goes on is shown: a screen that is redrawn, lines now and then, or an object for each look."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional, Protocol

from sc import reports
from sc.commands.progress import Progress
from sc.commands.voice import hand_over, is_terminal, mutter, result, say
from sc.storage.question import is_asked

if TYPE_CHECKING:
    from sc.job_state import Worker
    from sc.screen import Line, View

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The terminal's other screen without a cursor, and back to what was there before."""
_HOME, _TO_END_OF_LINE, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
_STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "good": "\x1b[32m", "bad": "\x1b[31m"}
_PLAIN = "\x1b[0m"


class Display(Protocol):
    """Where a command's talk goes while it follows a job."""

    is_drawn: bool
    """It is to be shown again and again, also if nothing has changed."""

    def show(self, view: View, exit_code: Optional[int] = None) -> None:
        """The state of things; `exit_code` is known at the end."""

    def tell(self, text: str) -> None:
        """A line that stays."""

    def close(self) -> None:
        """Nothing more is shown; the terminal is as it was."""


def pick_display(environ: Mapping[str, str], as_json: bool) -> Display:
    """What suits where the talk goes."""
    if as_json:
        return Objects()
    return Screen("NO_COLOR" not in environ) if is_terminal(environ) else Lines()


class Screen:
    """Redrawn in place, as large as the terminal is at that moment. What is told meanwhile is said at the end."""

    is_drawn = True

    def __init__(self, has_colour: bool) -> None:
        self._has_colour = has_colour
        self._is_open = False
        self._kept: list[str] = []

    def show(self, view: View, exit_code: Optional[int] = None) -> None:
        from sc.screen import draw

        if is_asked() and exit_code is None:
            return
        size = shutil.get_terminal_size((80, 24))
        drawn = draw(view, size.columns - 1, size.lines - 1)
        lines = "".join(f"{self._styled(line)}{_TO_END_OF_LINE}\r\n" for line in drawn)
        mutter(("" if self._is_open else _ENTER) + _HOME + lines + _TO_END)
        self._is_open = True

    def tell(self, text: str) -> None:
        if self._is_open:
            self._kept.append(text)
        else:
            say(text)

    def close(self) -> None:
        if self._is_open:
            mutter(_LEAVE)
            self._is_open = False
        while self._kept:
            say(self._kept.pop(0))

    def _styled(self, line: Line) -> str:
        style = _STYLES.get(line.style, "") if self._has_colour else ""
        return f"{style}{line.text}{_PLAIN}" if style else line.text


class Lines:
    """For a log: a line now and then, at last one a minute; what goes wrong at once."""

    is_drawn = False

    def __init__(self) -> None:
        self._progress = Progress(on_terminal=False)
        self._told: set[str] = set()

    def show(self, view: View, exit_code: Optional[int] = None) -> None:
        state = view.state
        for one in state.workers:
            error = one.heartbeat.error if one.heartbeat else ""
            if error and error not in self._told:
                self._told.add(error)
                say(f"sc: {one.glance.worker}: {error}")
        if exit_code is not None:
            return
        told = [f"{state.ended:,} of {reports.runs(state.runs)}"]
        told += [f"{state.failed:,} failed"] if state.failed else []
        told += [f"{state.lost:,} lost"] if state.lost else []
        told += [f"{state.not_stored:,} not stored"] if state.not_stored else []
        told += [f"{state.running:,} running", reports.workers(len(state.live))]
        if view.estimate.rate is not None:
            told.append(reports.rate(view.estimate.rate))
        if view.estimate.left_seconds is not None:
            told.append(f"about {reports.duration(view.estimate.left_seconds)} left")
        self._progress.show(f"sc: {', '.join(told)}", view.elapsed)

    def tell(self, text: str) -> None:
        say(text)

    def close(self) -> None:
        """There is nothing to restore."""


class Objects(Lines):
    """For a program: an object for each look, on stdout."""

    def show(self, view: View, exit_code: Optional[int] = None) -> None:
        result(reports.json_line(document(view, exit_code)))
        hand_over()


def document(view: View, exit_code: Optional[int]) -> Mapping[str, Any]:
    """The object of `--json`. Its keys stay; others may come. `exit_code` is null while the job goes on."""
    state, estimate = view.state, view.estimate
    return {
        "job_url": state.job_url,
        "name": state.name,
        "seconds": round(view.elapsed, 3),
        "exit_code": exit_code,
        "runs": state.runs,
        "completed": state.completed,
        "failed": state.failed,
        "lost": state.lost,
        "not_stored": state.not_stored,
        "runs_with_ended_processes": state.ended_processes,
        "runs_with_unstored_files": state.unstored_files,
        "running": state.running,
        "waiting": state.waiting,
        "parts": state.parts,
        "parts_done": state.parts_done,
        "rate": _rounded(estimate.rate),
        "run_seconds": _rounded(estimate.run_seconds),
        "left_seconds": _rounded(estimate.left_seconds),
        "dollars": _rounded(view.dollars),
        "dollars_in_all": _rounded(view.dollars_in_all),
        "stopped": None if state.stop is None else state.stop.reason,
        "troubles": list(state.troubles),
        "errors": [vars(group) for group in state.errors],
        "workers": [_worker(one) for one in state.workers],
    }


def _worker(one: Worker) -> Mapping[str, Any]:
    glance, heartbeat = one.glance, one.heartbeat
    return {
        **dict(list(glance._asdict().items())[:8]),
        "not_stored": glance.not_stored,
        "machine": heartbeat.machine if heartbeat else None,
        "kind": heartbeat.kind if heartbeat else None,
        "load": heartbeat.load if heartbeat else None,
        "vcpus": heartbeat.vcpus if heartbeat else None,
        "error": heartbeat.error if heartbeat else "",
        "age_seconds": round(one.age_seconds, 1),
        "silent": one.is_silent,
    }


def _rounded(number: Optional[float]) -> Optional[float]:
    return None if number is None else round(number, 4)
