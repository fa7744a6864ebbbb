"""What runs and workers have printed, to stdout: to a file or a program as it is, to a terminal without steering it."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sc.commands.voice import to_reader

_PIECES = re.compile(r"\x1b\[[0-9;:]{0,40}m|\r\n?|\n|\t|[^\x1b\r\n\t]+|\x1b")
_PERHAPS_MORE = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,40})?|\r)\Z")
"""The end of a piece that may mean something else with the piece after it."""
_PLAIN = "\x1b[0m"


@contextmanager
def output() -> Iterator[Callable[[bytes], None]]:
    """Gives what puts bytes, in pieces of any size."""
    if not sys.stdout.isatty():
        yield _put
        return
    tame = Tame()
    try:
        yield lambda data: _write(tame.text(data))
    finally:
        _write(tame.end())


def _put(data: bytes) -> None:
    with to_reader():
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _write(text: str) -> None:
    with to_reader():
        sys.stdout.write(text)
        sys.stdout.flush()


class Tame:
    """Bytes in pieces -> text that colours a terminal and cannot do anything else with it. Pure.

    Of what steers terminals only colours and the like (SGR) pass, since test runners and compilers print them. A
    carriage return begins a new line, so that nothing is written over; all else is shown as an escape (`\\x1b`): it
    could clear the screen, set the title or the clipboard, or have the terminal type an answer at the prompt.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._is_plain = True

    def text(self, data: bytes) -> str:
        """The next piece; what cannot be judged yet is held back."""
        text = self._held + self._decoder.decode(data)
        more = _PERHAPS_MORE.search(text)
        self._held = more.group() if more else ""
        return self._tamed(text[: len(text) - len(self._held)])

    def end(self) -> str:
        """The rest, and back to plain."""
        rest = self._tamed(self._held + self._decoder.decode(b"", final=True))
        self._held = ""
        return rest if self._is_plain else rest + _PLAIN

    def _tamed(self, text: str) -> str:
        return "".join(map(self._one, _PIECES.findall(text)))

    def _one(self, piece: str) -> str:
        from sc.reports import printable

        if piece.startswith("\x1b["):
            self._is_plain = piece in (_PLAIN, "\x1b[m")
            return piece
        if piece[0] == "\r":
            return "\n"
        return piece if piece in ("\n", "\t") else printable(piece)
