"""What a command shows while it goes on: one line that is redrawn, or in a log a line now and then."""

from __future__ import annotations

from sc.commands.voice import mutter, say, width
from sc.reports import printable
from sc.storage.question import is_asked

REDRAW_SECONDS = 0.5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
_CLEAR = "\r\x1b[K"


class Progress:
    """Where a command's talk goes while it has something to show. Nothing is drawn if `is_quiet`."""

    def __init__(self, on_terminal: bool, is_quiet: bool = False) -> None:
        self._on_terminal = on_terminal
        self._is_quiet = is_quiet
        self._is_drawn = False
        self._pause = FIRST_PAUSE_SECONDS
        self._next = FIRST_PAUSE_SECONDS

    def show(self, text: str, elapsed: float) -> float:
        """The state of things after so many seconds; returns in how many to come again."""
        if self._is_quiet:
            return LONGEST_PAUSE_SECONDS
        if self._on_terminal and is_asked():
            return REDRAW_SECONDS
        if self._on_terminal:
            mutter(_CLEAR + printable(text)[: max(width() - 1, 1)])
            self._is_drawn = True
            return REDRAW_SECONDS
        if elapsed >= self._next:
            say(text)
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            self._next = elapsed + self._pause
        return max(self._next - elapsed, 0.1)

    def tell(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        if not self._is_quiet:
            say(text)

    def clear(self) -> None:
        """Take the line away that is redrawn."""
        if self._is_drawn:
            mutter(_CLEAR)
            self._is_drawn = False
