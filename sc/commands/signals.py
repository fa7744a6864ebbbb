"""Signals that end a command, turned into what Ctrl-C does, so that it can put things right before it goes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from sc.executor.signals import heeded


@contextmanager
def ended_politely() -> Iterator[None]:
    """SIGTERM and SIGHUP, unless they are ignored, raise KeyboardInterrupt inside of the block. For the main thread."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before: list[tuple[int, Optional[object]]] = [
        (number, signal.signal(number, interrupt))
        for number in heeded((signal.SIGTERM, signal.SIGHUP))
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)  # type: ignore[arg-type]
