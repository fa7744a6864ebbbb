"""`sc logs --failed`: the last words of all failed runs, those that are alike together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from sc import paths
from sc.commands.voice import result, tell
from sc.errors import ExitCode, MissingError

if TYPE_CHECKING:
    from sc.commands.at_hand import AtHand
    from sc.grouping import Groups
    from sc.storage import Storage

MOST_READ = 10_000
"""Of more failures, as many, evenly spread, are read."""
MOST_GROUPS = 200
_THREADS = 16
_SLICE = 500
_TAIL_BYTES = 4000
_LINES = 5


class Kind(NamedTuple):
    """Failures that are alike."""

    runs: int
    code: int
    text: str
    example: str


def show_failed(meant: AtHand, storage: Storage, as_json: bool) -> int:
    """Read the codes, then the end of each failure's stderr."""
    from sc.codes import CHANGED
    from sc.reports import another_command, runs
    from sc.standing import read_codes_now

    batch = meant.batch
    codes = read_codes_now(storage, batch, meant.given)
    failed, changed = sum(code > 0 for code in codes), codes.count(CHANGED)
    if changed:
        tell(f"{another_command(changed)}: not looked at")
    step = -(-failed // MOST_READ) or 1
    failures = ((run.remote_output_path, code) for run, code in zip(batch.runs, codes) if code > 0)
    kinds = read_kinds(storage, islice(failures, 0, None, step))
    read = sum(kind.runs for kind in kinds)
    if as_json:
        _tell_json(storage, failed, kinds)
        return ExitCode.OK
    for kind in kinds:
        for line in _drawn(kind, _last_lines(storage, kind.example)):
            result(line)
    some = f"; these are {read:,} of them, evenly spread" if read < failed else ""
    tell(f"{runs(failed)} of {len(batch.runs):,} failed, in {len(kinds)} ways{some}")
    return ExitCode.OK


def read_kinds(storage: Storage, failures: Iterator[tuple[str, int]]) -> Sequence[Kind]:
    """The kinds of these failures (output path and code), the most frequent first."""
    from sc.grouping import OTHERS, Groups, fold

    by_code: dict[int, Groups] = {}
    with ThreadPoolExecutor(_THREADS) as threads:
        while some := list(islice(failures, _SLICE)):
            words = threads.map(lambda failure: _last_words(storage, failure[0]), some)
            for (path, code), line in zip(some, words):
                by_code.setdefault(code, Groups(MOST_GROUPS)).add(fold(line), path)
    kinds = [
        Kind(group.count, code, group.text, group.example)
        for code, groups in by_code.items()
        for group in groups.sorted()
    ]
    return sorted(kinds, key=lambda kind: (kind.text == OTHERS, -kind.runs, kind.code, kind.text))


def _last_words(storage: Storage, remote_output_path: str) -> str:
    from sc.last_words import last_line

    return last_line(_end_of(storage, remote_output_path))


def _end_of(storage: Storage, remote_output_path: str) -> bytes:
    """What a run printed last: to stderr, or, if there is nothing, to stdout."""
    for name in (paths.STDERR, paths.STDOUT):
        try:
            data = storage.get(paths.join(remote_output_path, name), -_TAIL_BYTES)
        except MissingError:
            continue
        if data.strip():
            return data
    return b""


def _last_lines(storage: Storage, remote_output_path: str) -> list[str]:
    text = _end_of(storage, remote_output_path).decode("utf-8", "replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-_LINES:]


def _drawn(kind: Kind, lines: Sequence[str]) -> Iterator[str]:
    from sc.commands.log_following import outcome
    from sc.reports import printable, runs

    yield f"{runs(kind.runs)} {outcome(kind.code)}: {printable(kind.text) or '(no output)'}"
    yield f"    {printable(kind.example)}"
    yield from (f"    | {printable(line)[:200]}" for line in lines)


def _tell_json(storage: Storage, failed: int, kinds: Sequence[Kind]) -> None:
    from sc.reports import json_line

    groups = [
        {
            "count": kind.runs,
            "status_code": kind.code,
            "text": kind.text,
            "example": {
                "remote_output_path": kind.example,
                "lines": _last_lines(storage, kind.example),
            },
        }
        for kind in kinds
    ]
    read = sum(kind.runs for kind in kinds)
    result(json_line({"failed": failed, "read": read, "groups": groups}))
