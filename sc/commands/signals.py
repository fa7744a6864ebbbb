"""Signals that end a command, turned into what Ctrl-C does, so that it can put things right before it goes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional


@contextmanager
def ended_politely() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt inside of the block. For the main thread."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before: list[tuple[int, Optional[object]]] = [
        (number, signal.signal(number, interrupt)) for number in numbers
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)  # type: ignore[arg-type]
