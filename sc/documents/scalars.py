"""Single values: what a person wrote -> text, numbers, durations, mappings of texts.

Both readers hand over every plain scalar as the text that was written (`Plain`), so that `0.10`,
`1e-3`, `2024-01-01` and `yes` reach a command or an environment variable letter by letter. What
has to be a number or a switch becomes one here, by our own rules.

Each function returns the value or raises `Wrong` with the end of a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sc.documents.problems import Wrong, kind_of, shown
from sc.model import Command

LONGEST_ARGUMENT = 128 * 1024 - 1
"""Bytes. Linux takes no longer single argument or variable (MAX_ARG_STRLEN, see execve(2))."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"([+-]?\d{1,15})(?:\.0{0,15})?", re.ASCII)
_DURATION = re.compile(r"(.*?) ?([smhd]?)", re.DOTALL)
_SIZE = re.compile(r"(\d{1,9}) ?(Gi?B?|Ti?B?)?", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NOTHING_SPECIAL = re.compile(r"[!-~][ -~\n\t]{0,9999}")
"""Nearly all commands of a million, seen at a glance."""
_LONGEST_TIMEOUT = 366 * 86400


class Plain(str):
    """A scalar that stood without quotes: text, though it may look like a number or a switch."""

    __slots__ = ()


def text(value: object) -> str:
    """Any scalar as it was written; null, lists and mappings are none."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    if not isinstance(value, str):
        raise Wrong(f"a text is expected, not {kind_of(value)}")
    if "\0" in value:
        raise Wrong("contains a NUL character, which no command, variable or path can hold")
    if not value.isascii():
        _bytes(value)
    return str(value)


def filled_text(value: object) -> str:
    """A text with something in it."""
    result = text(value)
    if not result.strip():
        raise Wrong("is empty")
    return result


def argument(value: object) -> str:
    """A text that can be handed to a program."""
    result = text(value)
    if len(result) > LONGEST_ARGUMENT // 4 and len(_bytes(result)) > LONGEST_ARGUMENT:
        raise Wrong("is longer than the 128 KiB that a program can be given; put it into a file")
    return result


def command(value: object) -> Command:
    """A text for the shell, or a list of arguments."""
    if type(value) is str and _NOTHING_SPECIAL.fullmatch(value):
        return value
    if isinstance(value, list):
        if not value:
            raise Wrong("is an empty list; give the program and its arguments")
        words = _each(argument, value)
        if not words[0].strip():
            raise Wrong("begins with an empty text; the first of the list is the program")
        return words
    if isinstance(value, Plain) and _NUMBER.fullmatch(value):
        raise Wrong(f"a command is a text, or a list of texts, not the number {value}")
    if not isinstance(value, str):
        raise Wrong(f"a command is a text, or a list of texts, not {kind_of(value)}")
    if not value.strip():
        raise Wrong("is empty; write the command to run")
    return argument(value)


def texts(value: object) -> tuple[str, ...]:
    """One text or a list of texts, none of them empty."""
    return _each(filled_text, value) if isinstance(value, list) else (filled_text(value),)


def variables(value: object) -> Mapping[str, str]:
    """A mapping of environment variables. What is wrong is told without any value, which may be a secret."""
    if isinstance(value, str):
        raise Wrong("a mapping of names to values is expected, not a text")
    result: dict[str, str] = {}
    for name, content in mapping(value).items():
        if not name or "=" in name:
            before = shown(name.partition("=")[0])
            raise Wrong(f"{before} is no name of a variable: it is empty or holds '='")
        try:
            result[text(name)] = argument(content)
        except Wrong as wrong:
            hint = " (for an empty variable write '')" if content is None else ""
            raise Wrong(f"{shown(name)}: {wrong}{hint}") from None
    return result


def mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Wrong(f"a mapping of names to values is expected, not {kind_of(value)}")
    return value


def whole(value: object, least: int, most: int) -> int:
    """A whole number between the two, both included."""
    match = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(f"a whole number is expected, not {kind_of(value)}")
    number = int(match.group(1))
    if not least <= number <= most:
        raise Wrong(f"a whole number from {least} to {most:,} is expected, not {value}")
    return number


def number_above_zero(value: object, most: float) -> float:
    """A finite number above 0 and up to `most`."""
    if not isinstance(value, str) or len(value) > 40 or not _NUMBER.fullmatch(value):
        raise Wrong(f"a number above 0 is expected, not {kind_of(value)}")
    number = float(value)
    if not 0 < number <= most:
        raise Wrong(f"a number above 0 and up to {most:,.0f} is expected, not {value}")
    return number


def seconds(value: object) -> float:
    """A duration: seconds, or a number with s, m, h or d."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or len(match.group(1)) > 40 or not _NUMBER.fullmatch(match.group(1)):
        raise Wrong(f"a time such as 90, 90s, 10m or 2h is expected, not {kind_of(value)}")
    duration = float(match.group(1)) * _SECONDS[match.group(2)]
    if not 0 < duration <= _LONGEST_TIMEOUT:
        raise Wrong(f"a time above 0 and up to 366 days is expected, not {value}")
    return duration


def gpus(value: object) -> float:
    """GPUs per run: a fraction of one, or a whole number of them."""
    number = number_above_zero(value, 1024)
    if number > 1 and number != int(number):
        raise Wrong(f"a run takes a fraction of one GPU or a whole number of them, not {value}")
    return number


def gibibytes(value: object) -> int:
    """A size of a disk in GiB: 100, or 100Gi as Saturn Cloud writes it."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(f"a size in GiB such as 100 or 100Gi is expected, not {kind_of(value)}")
    size = int(match.group(1)) * (1024 if (match.group(2) or "").startswith("T") else 1)
    if not 1 <= size <= 65536:
        raise Wrong(f"a size from 1 to 65,536 GiB is expected, not {value}")
    return size


def switch(value: object) -> bool:
    """true or false."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in _SWITCHES:
        raise Wrong(f"true or false is expected, not {kind_of(value)}")
    return _SWITCHES[value.lower()]


def _each(read: Callable[[object], str], values: list[object]) -> tuple[str, ...]:
    words = []
    for number, value in enumerate(values):
        try:
            words.append(read(value))
        except Wrong as wrong:
            raise Wrong(f"[{number}] {wrong}") from None
    return tuple(words)


def _bytes(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Wrong("contains half of a surrogate pair, which is no character") from None
