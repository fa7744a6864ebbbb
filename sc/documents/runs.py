"""What stands below `runs:` -> runs.

A run is checked and made in one go, in a few microseconds, because a batch may have a million of
them and they are made anew each time it is read through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

from sc.documents import scalars
from sc.documents.matrix import Matrix
from sc.documents.outputs import below
from sc.documents.problems import Problems, Wrong, kind_of, unknown_key
from sc.model import Run

_MOST_RETRIES = 1000


class RawRun(NamedTuple):
    """An element of the list, unread."""

    where: str
    """How a person finds it, with a `{}` for the number: `runs[{}]` or `line {}`."""
    number: int
    value: Any


@dataclass(frozen=True)
class Defaults:
    """What the batch says for all of its runs."""

    remote_output_path: str
    timeout: Optional[float] = None
    retries: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: Optional[float] = None
    working_directory: Optional[str] = None


def _retries(value: object) -> int:
    return scalars.whole(value, 0, _MOST_RETRIES)


def _anything(value: object) -> object:
    return value


SHARED: Mapping[str, Callable[[object], Any]] = {
    "timeout": scalars.seconds,
    "retries": _retries,
    "env": scalars.variables,
    "gpus": scalars.gpus,
    "working_directory": scalars.filled_text,
}
"""Keys of a run that the batch may give for all."""

_OWN: Mapping[str, Callable[[object], Any]] = {
    "cmd": scalars.command,
    "local_results_dir": scalars.filled_text,
    **SHARED,
}
_SKIPPED = {"status", "status_code"}
"""Saturn Cloud's client writes them into its batch files; the storage knows better."""
_KEYS = {*_OWN, *_SKIPPED, "remote_output_path", "matrix"}
_HINTED = _KEYS - _SKIPPED


class RunReader:
    """Makes runs; what is wrong goes to `problems`, and gives no run."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults

    def runs(self, raw_runs: Iterable[RawRun], problems: Problems) -> Iterator[tuple[RawRun, Run]]:
        """All runs in order, those of a matrix one by one, each with where it came from."""
        index = 0
        for raw in raw_runs:
            value = raw.value
            if type(value) is dict and "matrix" not in value:
                run = self._run(value, index, raw, problems)
                index += 1
                if run is not None:
                    yield raw, run
                continue
            for combination in _combinations(raw, problems):
                run = self._run(combination, index, raw, problems)
                index += 1
                if run is None:
                    break  # the other combinations would say the same
                yield raw, run

    def _run(
        self, value: dict[str, Any], index: int, raw: RawRun, problems: Problems
    ) -> Optional[Run]:
        defaults = self._defaults
        before = problems.count
        own: dict[str, Any] = {}
        path = f"{defaults.remote_output_path}/{index}"
        for key, content in value.items():
            try:
                if key == "remote_output_path":
                    if content is not None:
                        path = below(content, defaults.remote_output_path)
                elif key in _OWN:
                    if content is not None or key == "cmd":
                        own[key] = _OWN[key](content)
                elif key not in _SKIPPED:
                    problems.add(where(raw), unknown_key(key, _HINTED))
            except Wrong as wrong:
                problems.add(f"{where(raw)}.{key}", str(wrong))
        if "cmd" not in value:
            problems.add(f"{where(raw)}.cmd", "is missing; write the command to run")
        if problems.count > before:
            return None
        env = own.get("env")
        if defaults.env:
            env = {**defaults.env, **env} if env else defaults.env
        return Run(
            own["cmd"],
            path,
            own.get("local_results_dir"),
            own.get("timeout", defaults.timeout),
            own.get("retries", defaults.retries),
            env or _NO_ENV,
            own.get("gpus", defaults.gpus),
            own.get("working_directory", defaults.working_directory),
        )


_NO_ENV: Mapping[str, str] = {}


def where(raw: RawRun) -> str:
    """The place of a run for people."""
    return raw.where.format(raw.number)


def matrix_notes(raw: RawRun) -> list[str]:
    """What is allowed in a matrix, but is hardly what its author wants."""
    value = raw.value
    if type(value) is not dict or "matrix" not in value:
        return []
    try:
        unused = Matrix(value["matrix"]).unused(value)
    except Wrong:
        return []
    return [f"{where(raw)}.matrix: {{{name}}} is asked for nowhere in this run" for name in unused]


def _combinations(raw: RawRun, problems: Problems) -> Iterator[dict[str, Any]]:
    value = raw.value
    if type(value) is not dict:
        tip = f"; write cmd: {value}" if isinstance(value, str) and value.isprintable() else ""
        kind = kind_of(value)
        problems.add(where(raw), f"a run is a mapping with cmd, not {kind}{tip[:80]}")
        return
    if value["matrix"] is None:
        yield {key: content for key, content in value.items() if key != "matrix"}
        return
    try:
        matrix = Matrix(value["matrix"])
    except Wrong as wrong:
        problems.add(f"{where(raw)}.matrix", str(wrong))
        return
    yield from matrix.runs(value)
