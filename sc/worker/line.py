"""The desk's line to its clerk: one descriptor to watch, whichever clerk is at the other end, and no waiting."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Optional, Protocol

from sc.worker.wire import Wire, WireClosedError


class ClerkAtWork(Protocol):
    """A clerk somewhere, and the wire to it."""

    wire: Wire

    def end(self, seconds: float) -> None:
        """Give it so long to leave by itself; then it is ended."""


class Line:
    """Clerks may come and go; `fileno` stays, as it is that of a selector over the wire."""

    def __init__(self, start_clerk: Callable[[], ClerkAtWork]) -> None:
        self.clerks = 0
        """Started so far."""
        self._start_clerk = start_clerk
        self._selector = selectors.DefaultSelector()
        self._clerk: Optional[ClerkAtWork] = None
        self._watched = 0
        self.begin()

    @property
    def is_dead(self) -> bool:
        """True when nobody is at the other end."""
        return self._clerk is None

    def fileno(self) -> int:
        """Readable when `receive` has something to do."""
        return int(self._selector.fileno())

    def begin(self) -> None:
        """Start a clerk; there is none now."""
        self.clerks += 1
        self._clerk = self._start_clerk()
        self._watched = selectors.EVENT_READ
        self._selector.register(self._clerk.wire, self._watched)

    def wait(self, seconds: float) -> None:
        """Until there is news, but no longer."""
        self._selector.select(seconds)

    def send(self, message: object) -> None:
        """Say something; if the clerk has died, `receive` will tell."""
        if self._clerk is None:
            return
        try:
            self._clerk.wire.send(message)
        except WireClosedError:
            return  # its end of file is about to be read
        self._watch()

    def receive(self) -> list[Any]:
        """What the clerk has said meanwhile; sends what was left. Look at `is_dead` afterwards."""
        if self._clerk is None:
            return []
        try:
            said = self._clerk.wire.receive()
        except WireClosedError:
            self.end(0.0)
            return []
        with suppress(
            WireClosedError
        ):  # what it said comes first; the end of file is read next time
            self._clerk.wire.flush()
        self._watch()
        return said

    def end(self, seconds: float) -> None:
        """Hang up, and give the clerk so long to leave."""
        if self._clerk is not None:
            self._selector.unregister(self._clerk.wire)
            self._clerk.end(seconds)
            self._clerk = None

    def close(self) -> None:
        """Let go of the descriptor."""
        self._selector.close()

    def _watch(self) -> None:
        """Have `fileno` tell, too, when there is room for what is left to send."""
        if self._clerk is None:
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._clerk.wire.is_behind else 0)
        if wanted != self._watched:
            self._watched = wanted
            self._selector.modify(self._clerk.wire, wanted)
