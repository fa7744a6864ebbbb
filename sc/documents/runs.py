"""What stands below `runs:` -> runs.

A run is checked and made in one go, in a few microseconds, because a batch may have a million of
them and they are made anew each time it is read through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from sc.documents import scalars
from sc.documents.matrix import Matrix
from sc.documents.outputs import below
from sc.documents.problems import Problems, Wrong, kind_of, shown, unknown_key
from sc.documents.variables import dropped_names, environment, folder_of_machine, known_variables
from sc.model import Run

_MOST_RETRIES = 1000


@dataclass(frozen=True)
class Defaults:
    """What the batch says for all of its runs."""

    remote_output_path: str
    timeout: Optional[float] = None
    retries: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: Optional[float] = None
    working_directory: Optional[str] = None
    expected_time: Optional[float] = None


def _retries(value: object) -> int:
    return scalars.whole(value, 0, _MOST_RETRIES)


SHARED: Mapping[str, Callable[[object], Any]] = {
    "timeout": scalars.seconds,
    "retries": _retries,
    "env": environment,
    "gpus": scalars.gpus,
    "working_directory": folder_of_machine,
    "expected_time": scalars.seconds,
}
"""Keys of a run that the batch may give for all, in the order of Run's last fields."""

_OWN: Mapping[str, Callable[[object], Any]] = {
    "cmd": scalars.command,
    "local_results_dir": folder_of_machine,
    **SHARED,
}
_SKIPPED = {"status", "status_code"}
"""Saturn Cloud's client writes them into its batch files; the storage knows better."""
_KEYS = {*_OWN, *_SKIPPED, "remote_output_path", "matrix"}
_HINTED = _KEYS - _SKIPPED


def is_notable(raw: Mapping[str, Any]) -> bool:
    """Whether `RunReader.notes` may have something to tell of a run; of most of a million it has not."""
    env = raw.get("env")
    return "matrix" in raw or (type(env) is dict and "$" in "".join(map(str, env.values())))


def env_notes(place: str, env: object) -> Iterator[str]:
    """Of an `env` as it was written: values that look as if something should be filled in."""
    if not isinstance(env, dict):
        return
    for name, content in env.items():
        for written in known_variables(name, content, env) if isinstance(content, str) else ():
            yield f"{place}: {shown(name)}: {shown(written)} is not filled in; the command gets these letters"


class RunReader:
    """Makes runs; what is wrong goes to `problems`, and gives no run.

    `place` says for a person where in the file the element of a number is.
    """

    def __init__(self, defaults: Defaults, place: Callable[[int], str]) -> None:
        self._defaults = defaults
        self._place = place
        self._shared = {key: getattr(defaults, key) for key in SHARED}
        self._dropped = dropped_names(defaults.env)

    def runs(self, raw_runs: Iterable[Any], problems: Problems) -> Iterator[tuple[int, Run]]:
        """All runs in order, those of a matrix one by one, with the numbers of their elements."""
        index = 0
        for number, raw in enumerate(raw_runs):
            if type(raw) is dict and "matrix" not in raw:
                run = self._run(raw, index, number, problems)
                index += 1
                if run is not None:
                    yield number, run
                continue
            for combination in self._combinations(raw, number, problems):
                run = self._run(combination, index, number, problems)
                index += 1
                if run is None:
                    break  # the other combinations would say the same
                yield number, run

    def notes(self, number: int, raw: dict[str, Any]) -> Iterator[str]:
        """What is allowed in a run, but is hardly what its author wants."""
        place = self._place(number)
        yield from env_notes(f"{place}.env", raw.get("env"))
        if raw.get("matrix") is None:
            return
        try:
            matrix = Matrix(raw["matrix"])
        except Wrong:
            return
        for name in matrix.unused(raw):
            yield f"{place}.matrix: {{{name}}} is asked for nowhere in this run"
        for written, name in matrix.misspelt(raw).items():
            yield (
                f"{place}: {{{written}}} is no name of its matrix and stays as it is, did you mean {{{name}}}?"
            )
        shared = {key: value for key, value in self._shared.items() if key not in raw}
        for key in matrix.asked_for(shared):
            yield f"{place}.matrix: nothing is filled in in the {key} of the batch; write it into the run"

    def _run(
        self, raw: dict[str, Any], index: int, number: int, problems: Problems
    ) -> Optional[Run]:
        defaults = self._defaults
        before = problems.count
        own: dict[str, Any] = {}
        for key, value in raw.items():
            try:
                if key in _OWN:
                    if value is not None or key == "cmd":
                        own[key] = _OWN[key](value)
                elif key == "remote_output_path":
                    if value is not None:
                        own[key] = below(value, defaults.remote_output_path)
                elif key not in _SKIPPED:
                    self._add(problems, number, "", unknown_key(key, _HINTED))
            except Wrong as wrong:
                self._add(problems, number, key, str(wrong))
        if "cmd" not in raw:
            self._add(problems, number, "cmd", "is missing; write the command to run")
        if self._dropped or "env" in own:
            self._check_names(own, number, problems)
        if problems.count > before:
            return None
        if "remote_output_path" not in own:
            own["remote_output_path"] = f"{defaults.remote_output_path}/{index}"
        if "env" in own and defaults.env:
            own["env"] = {**defaults.env, **own["env"]}
        if len(own) == 2:  # nearly all of a million, and this is three times as fast
            return Run(own["cmd"], own["remote_output_path"], None, *self._shared.values())
        return Run(**{**self._shared, **own})

    def _check_names(self, own: Mapping[str, Any], number: int, problems: Problems) -> None:
        """Of variables: only a command that is a text goes through a shell."""
        if isinstance(own.get("cmd"), str):
            if self._dropped:
                problems.add("env", self._dropped)
                self._dropped = ""  # told once, and not for each of a million runs
            dropped = dropped_names(own.get("env", {}))
            if dropped:
                self._add(problems, number, "env", dropped)

    def _combinations(
        self, raw: object, number: int, problems: Problems
    ) -> Iterator[dict[str, Any]]:
        if isinstance(raw, Wrong):
            self._add(problems, number, "", str(raw))
        elif not isinstance(raw, dict):
            tip = f"; write cmd: {raw[:80]}" if isinstance(raw, str) and raw.isprintable() else ""
            self._add(problems, number, "", f"a run is a mapping with cmd, not {kind_of(raw)}{tip}")
        elif raw["matrix"] is None:
            yield {key: value for key, value in raw.items() if key != "matrix"}
        else:
            try:
                matrix = Matrix(raw["matrix"])
            except Wrong as wrong:
                self._add(problems, number, "matrix", str(wrong))
                return
            before = problems.count
            for key, sentence in matrix.refused(raw):
                self._add(problems, number, key, sentence)
            if problems.count == before:
                yield from matrix.runs(raw)

    def _add(self, problems: Problems, number: int, key: str, sentence: str) -> None:
        if problems.can_show_more:
            place = self._place(number)
            problems.add(f"{place}.{key}" if key else place, sentence)
        else:
            problems.count += 1
