"""Which run of a batch a person means: by its index, by its path, or by the end of its path.

A number is the index of a run, from 0, as long as the batch has so many. Anything else is the run's output path or
the end of it: `17`, `/17`, `2024-01-01/17`. `/17` is never an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from sc.errors import InputError
from sc.model import Run

_SHOWN = 3


class Found(NamedTuple):
    """A run and its number in the batch."""

    number: int
    run: Run


@dataclass
class _Word:
    """What is looked for, and what fits so far."""

    text: str
    index: Optional[int]
    ends: str
    exact: Optional[Found] = None
    tails: list[Found] = field(default_factory=list)
    count: int = 0

    def look_at(self, found: Found) -> None:
        path = found.run.remote_output_path.rstrip("/")
        if found.number == self.index or (self.index is None and path == self.text):
            self.exact = found
        elif path.endswith(self.ends):
            self.count += 1
            if len(self.tails) < _SHOWN:
                self.tails.append(found)


def find_runs(runs: Iterable[Run], length: int, words: Sequence[str]) -> list[Found]:
    """The run that each word means, in the order of the words. Raises InputError with every word that means none.

    `runs` are `length` many, and are gone through once.
    """
    wanted = [_read(word, length) for word in words]
    for index, run in enumerate(runs):
        found = Found(index, run)
        for word in wanted:
            word.look_at(found)
    problems = [problem for problem in (_problem(word, length) for word in wanted) if problem]
    if problems:
        raise InputError(*problems)
    chosen = [word.exact or word.tails[0] for word in wanted]
    return list({found.number: found for found in chosen}.values())


def _read(word: str, length: int) -> _Word:
    text = word.rstrip("/") or word
    is_index = text.isascii() and text.isdigit() and len(text) < 12 and int(text) < length
    return _Word(text, int(text) if is_index else None, "/" + text.strip("/"))


def _problem(word: _Word, length: int) -> str:
    if word.exact is not None or word.count == 1:
        return ""
    if not word.count:
        last = f"the indices go from 0 to {length - 1:,}" if length else "the batch is empty"
        return f"there is no run {word.text!r}: {last}, and no output path is or ends with it"
    shown = ", ".join(found.run.remote_output_path for found in word.tails)
    more = ", …" if word.count > len(word.tails) else ""
    return (
        f"{word.text!r} may be any of {word.count:,} runs ({shown}{more}); "
        "write more of its path, or its index"
    )
