"""JSON text -> its values, one after the other, in memory for one of them.

A batch of a million runs is read as a stream: the keys of the top level come as they stand, and
of the list `runs` each element on its own. The standard library decodes each value; what lies
between the values is read here, over a buffer that holds the largest value or a piece of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from sc.documents.problems import shown
from sc.documents.scalars import Plain

LONGEST_VALUE = 8 * 1024 * 1024
"""Characters of one run, or of one value of the top level."""

_BETWEEN = re.compile(r"\}(?=[ \t\r\n]*,[ \t\r\n]*\{)")
"""Where one object of a list ends and the next begins; or where it looks so, inside of a text."""
_LOOK_BACK = 64 * 1024
_NUMBER_GOES_ON = re.compile(r"[0-9.eE+-]*")
_SPACE = re.compile(r"[ \t\r\n]*")


class JsonError(Exception):
    """The text is no JSON that `sc` reads; says why, with line and column."""


class Element(NamedTuple):
    """A key of the top level with its value, or the next few elements of the list below the key."""

    key: str
    value: Any
    is_slice: bool
    """Whether `value` is a slice of the list, and not all there is below the key."""


def read_json(pieces: Iterator[str], streamed: str) -> Iterator[Element]:
    """The keys of the object that the text is. Raises JsonError.

    If the value of `streamed` is a list, an empty list comes in its place, and then its slices.
    Numbers are `Plain`, as they were written.
    """
    buffer = _Buffer(pieces)
    if buffer.peek() != "{":
        found = {"": "is empty", "[": "holds a list"}.get(buffer.peek(), "is not JSON")
        raise JsonError(f"{found}; a JSON object {{…}} is expected")
    buffer.take("{")
    seen: set[str] = set()
    more = buffer.peek() != "}"
    while more:
        key = buffer.key()
        if key in seen:
            raise buffer.wrong(f"the key {shown(key)} is there twice")
        seen.add(key)
        if key == streamed and buffer.peek() == "[":
            yield Element(key, [], False)
            yield from _slices(buffer, key)
        else:
            yield Element(key, buffer.value(), False)
        more = buffer.peek() == ","
        if more:
            buffer.take(",")
    buffer.take("}")
    if buffer.peek():
        raise buffer.wrong("there is more text after the end of the object")


def _slices(buffer: _Buffer, key: str) -> Iterator[Element]:
    buffer.take("[")
    more = buffer.peek() != "]"
    while more:
        yield Element(key, buffer.values() or [buffer.value()], True)
        more = buffer.peek() == ","
        if more:
            buffer.take(",")
    buffer.take("]")


class _Buffer:
    """The text around the place that is read now."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._at = 0
        self._ended = False
        self._lines = 1  # number of the line in which the buffer begins
        self._columns = 0  # characters of that line before the buffer
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_without_twins,
            parse_int=Plain,
            parse_float=Plain,
            parse_constant=Plain,
        )
        self._can_slice = True

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise self.wrong(f"{character!r} is expected")
        self._at += 1

    def key(self) -> str:
        if self.peek() != '"':
            raise self.wrong("a key in double quotes is expected")
        key = str(self.value())
        self.take(":")
        return key

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Perhaps only the buffer ends here, and not the text.
                if not self._read_more():
                    at_end = error.pos >= len(self._text) or error.msg.startswith("Unterminated")
                    what = (
                        "the text ends too early"
                        if at_end
                        else error.msg[:1].lower() + error.msg[1:]
                    )
                    raise self.wrong(what, error.pos) from None
            except _Twice as twice:
                what = f"the key {shown(str(twice))} is there twice in what begins here"
                raise self.wrong(what) from None
            except RecursionError:
                raise self.wrong("is nested too deeply") from None
            else:
                # A number at the end of the buffer may go on in the next piece: `1.` is the beginning of `1.5`.
                if not _NUMBER_GOES_ON.fullmatch(self._text, end) or not self._read_more():
                    self._at = end
                    return value

    def values(self) -> list[Any]:
        """As many elements of a list as the buffer certainly holds; perhaps none.

        One call of the decoder for a thousand runs is five times as fast as a thousand calls. It is
        a guess where an element ends, but what the decoder then takes for a list is no guess.
        """
        if not self._can_slice:
            return []
        begin = max(self._at, len(self._text) - _LOOK_BACK)
        ends = [match.end() for match in _BETWEEN.finditer(self._text, begin)]
        if not ends:
            return []
        try:
            values: list[Any] = self._decoder.decode(f"[{self._text[self._at : ends[-1]]}]")
        except (json.JSONDecodeError, _Twice, RecursionError):
            self._can_slice = False  # one by one through this buffer, for the exact place
            return []
        self._at = ends[-1]
        return values

    def wrong(self, what: str, at: Optional[int] = None) -> JsonError:
        before = self._text[: self._at if at is None else at]
        line = self._lines + before.count("\n")
        newline = before.rfind("\n")
        column = len(before) - newline if newline >= 0 else self._columns + len(before) + 1
        return JsonError(f"line {line}, column {column}: {what}")

    def _read_more(self) -> bool:
        """Forget what was read and at least double the rest; False when the text has ended."""
        rest = len(self._text) - self._at
        if rest > LONGEST_VALUE:
            raise self.wrong(f"a single value is longer than {LONGEST_VALUE // 2**20} MiB")
        pieces = []
        wanted = max(rest, 1)
        while wanted > 0 and not self._ended:
            piece = next(self._pieces, "")
            self._ended = not piece
            pieces.append(piece)
            wanted -= len(piece)
        if not any(pieces):
            return False
        gone = self._text[: self._at]
        self._lines += gone.count("\n")
        newline = gone.rfind("\n")
        self._columns = len(gone) - newline - 1 if newline >= 0 else self._columns + len(gone)
        self._text = "".join([self._text[self._at :], *pieces])
        self._at = 0
        self._can_slice = True
        return True


class _Twice(Exception):
    """A key of an object is there twice."""


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Twice(key)
            seen.add(key)
    return values
