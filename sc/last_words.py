"""The line of an output that says best why a run has failed. Pure, of the standard library alone, as the executor is.

The last line, as on a terminal: what follows the last carriage return, without colours. But a progress bar, a spinner
or a mere rule is passed over if something else was printed before it. tqdm and its like draw their bar once more when
they are closed, and that is when the interpreter ends: behind the traceback. Where nothing but bars was printed the
last of them is taken.
"""

from __future__ import annotations

import re

LONGEST = 300
"""Characters of a line that count; what is behind them does not tell kinds apart."""
BAR = "[…]"
"""Stands for a progress bar with all that belongs to it."""
_LONGEST_LOOKED_AT = 2000

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()][0-9A-Za-z]|[@-Z\\-_=>78])"
)
_RUBBED_OUT = re.compile("[^\x08]\x08")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_PERCENT = r"\d{1,3}(?:\.\d+)?\s?%"
_SIZE = r"\d[\d.,]*\s?[kKMGT]?i?[bB]?"
_COUNT = rf"\b{_SIZE}\s?(?:/|of)\s?{_SIZE}"
_SPEED = r"(?:[\d.]+|\?|-+\.-)\s?[^\W\d_]{0,6}/[^\W\d_]{1,6}"
_TIME = r"(?:\d+:)?\d+:\d\d|\d+(?:\.\d+)?\s?(?:ms|s|m|h|min)\b"
_BLOCKS = "\u2501\u2578\u257a\u2580-\u259f\u25a0-\u25ff\u2800-\u28ff"
_SHAPES = (
    rf"\|[ {_BLOCKS}#\d.=>-]*\|(?=\s*[\d.?])",  # of tqdm; the last # of its ASCII bar is a digit
    rf"[\[|(]?[{_BLOCKS}](?:[{_BLOCKS} ]*[{_BLOCKS}])?\s*[\])|]?",
    r"\[(?=[^\]]{3})(?:[=#*+]+[>oO]?|>)[ .=#_-]*\]",
    r"\[(?:[ ]{4,}|\.{5,}|-{5,})\]",
    rf"(?:#{{2,}} *|# {{3,}})(?={_PERCENT})",  # of curl
)
_BEFORE = rf"(?:(?:{_PERCENT}|{_COUNT})\s*){{0,2}}"
_BEHIND = (
    rf"(?:\s*(?:{_PERCENT}|{_COUNT}|{_SPEED}|{_TIME}|\[\s*[\d:]+\s*<[^\]]*\]?|{_SIZE}\b"
    r"|\b(?:eta|ETA|left|elapsed)\b:?|[•·,?]|-(?=\s)))*"
)
_BARS = re.compile(rf"{_BEFORE}(?:{'|'.join(_SHAPES)}){_BEHIND}")
_UNBOUNDED = re.compile(r"\b\d+(?:\.\d+)?[kMG]?(?:[^\W\d_]{1,12})?\s?\[\d+:\d\d[^\]]*\]?")
"""As tqdm draws it where it knows no end: `123it [00:01, 98.7it/s]`."""

_TROUBLE = re.compile(
    r"error|exception|fail|fatal|abort|kill|denied|cannot|can't|could ?n[o']t|unable|refused|invalid|traceback|panic"
    r"|no such|not found|full|out of|warning|terminated|exceeded",
    re.IGNORECASE,
)
_HOW_FAR = re.compile(rf"{_PERCENT}|{_COUNT}")
_AMOUNTS = re.compile(rf"{_PERCENT}|{_COUNT}|{_SPEED}|{_TIME}|{_SIZE}")
_WORDS = re.compile(r"[^\W\d_]+")
_OF_PROGRESS = re.compile(
    r"complete|completed|compressing|copying|counting|deltas|done|downloaded|downloading|elapsed|"
    r"epoch|eta|fetching|it|iteration|left|loaded|loading|objects|processed|processing|progress|"
    r"reading|receiving|remote|resolving|total|training|uploaded|uploading|writing",
    re.IGNORECASE,
)


def visible(line: str) -> str:
    """What of a line is left to be seen on a terminal."""
    text = line.rstrip("\r\n")[-_LONGEST_LOOKED_AT:].rpartition("\r")[2]
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    while "\b" in text:
        text = _RUBBED_OUT.sub("", text).lstrip("\b")
    return _CONTROLS.sub("", text).strip()


def without_bars(text: str) -> str:
    """The text with BAR for each progress bar, its percentage, counts, times and speed."""
    text = text[:_LONGEST_LOOKED_AT]
    if not any(sign in text for sign in "|[#/") and text.isascii():
        return text
    return _UNBOUNDED.sub(BAR, _BARS.sub(f" {BAR} ", text))


def is_progress(text: str) -> bool:
    """Whether a visible line tells no more than how far something is, or nothing at all."""
    if not any(map(str.isalnum, text)):
        return True
    if _TROUBLE.search(text):
        return False
    text = text[:LONGEST]
    if BAR in without_bars(text):
        return True
    if not _HOW_FAR.search(text):
        return False
    words = _WORDS.findall(_AMOUNTS.sub(" ", text))
    others = [word for word in words if not _OF_PROGRESS.fullmatch(word)]
    return len(others) <= (len(words) > len(others))  # one that says what is loaded, copied …


def last_line(data: bytes) -> str:
    """The last line of some output that tells more than progress; if there is none, the last that is not empty."""
    bar = ""
    for line in reversed(data.decode("utf-8", "replace").split("\n")):
        text = visible(line)
        if text and not is_progress(text):
            return text[:LONGEST]
        bar = bar or text
    return bar[:LONGEST]
