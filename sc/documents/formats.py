"""The formats of a batch file: JSON, YAML, and a list of commands.

Only a `.txt` and standard input may be a list of commands. Everything else has to be JSON or YAML: a script would
otherwise be run line by line, all lines at once, each in a shell of its own.

JSON and lists of commands are read anew each time somebody asks for the runs. YAML is kept as plain
values, since reading it takes long.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol, Union

from sc.documents.json_text import JsonError, read_json
from sc.documents.problems import Wrong, kind_of, shown
from sc.documents.scalars import LONGEST_ARGUMENT
from sc.documents.source import Source
from sc.documents.yaml_text import PythonParser, YamlError, read_yaml, yaml_parser
from sc.errors import InputError

_MUCH_YAML = 5 * 1024**2
_TOO_MUCH_YAML = 256 * 1024**2
_JSON_BEGINS = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\"{\]])")
_YAML_KEY = re.compile(
    r"""^(?:---[ \t]+)?["']?(?:runs|nprocs|remote_output_path)["']?[ \t]*:"""
    r"""|\A\s*(?:---\s*)?\{\s*["']?(?:runs|nprocs|remote_output_path)["']?\s*:""",
    re.MULTILINE,
)
_KINDS = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".txt": "text"}
_DIRECTIVE = re.compile(
    r"#DISBATCH\b|#(?:SBATCH|PBS|BSUB|MSUB|COBALT|OAR|PJM|QSUB|SLURM|flux:|FLUX:|\$)[ \t]+-",
    re.ASCII,
)
"""Comments that other programs obey."""
_HERE_DOCUMENT = re.compile(r"(?<!<)<<-?[ \t]*(?:(['\"])([^'\"]+)\1|\\?([A-Za-z_][A-Za-z0-9_]*))")
_MOST_HERE_DOCUMENTS = 1000
_INTERPRETER = re.compile(r"\s*#![ \t]*(\S+)(?:[ \t]+(?:-\S+[ \t]+)*(\S+))?")
_PROGRAM = re.compile(r"[A-Za-z][A-Za-z0-9.+_-]{0,30}", re.ASCII)
_PROGRAMS = {
    ".bash": "bash",
    ".jl": "julia",
    ".js": "node",
    ".ksh": "ksh",
    ".pl": "perl",
    ".py": "python3",
    ".r": "Rscript",
    ".rb": "ruby",
    ".zsh": "zsh",
}
"""What runs a script, where its first line does not say it."""


class Document(Protocol):
    """One file of runs, of any format."""

    def head(self) -> dict[str, Any]:
        """All keys of the top level; `runs` is an empty list if it is a list."""

    def raw_runs(self) -> Iterator[Any]:
        """The elements of `runs`, as often as one asks."""

    def place(self, number: int) -> str:
        """Where a person finds the element of that number, counted from 0."""


class JsonDocument:
    def __init__(self, source: Source) -> None:
        self._source = source

    def head(self) -> dict[str, Any]:
        try:
            elements = read_json(self._source.text(), streamed="runs")
            return {one.key: one.value for one in elements if not one.is_slice}
        except JsonError as error:
            raise InputError(f"{self._source.name}: {error}") from None

    def raw_runs(self) -> Iterator[Any]:
        try:
            for _, value, is_slice in read_json(self._source.text(), streamed="runs"):
                if is_slice:
                    yield from value
        except JsonError as error:
            raise InputError(f"{self._source.name}: {error}") from None

    def place(self, number: int) -> str:
        return f"runs[{number}]"


class YamlDocument:
    def __init__(self, source: Source, tell: Callable[[str], None]) -> None:
        size = source.size / 1024**2
        if source.size > _TOO_MUCH_YAML:
            raise InputError(
                f"{source.name}: {size:,.0f} MiB of YAML would not fit into memory; "
                "write the batch as JSON, which is read piece by piece."
            )
        if source.size > _MUCH_YAML:
            factor = "thirty" if yaml_parser() is PythonParser else "three"
            tell(
                f"{source.name}: {size:,.0f} MiB of YAML take a while to read; "
                f"as JSON they would be read about {factor} times faster."
            )
        try:
            value = read_yaml(source.text())
        except YamlError as error:
            raise InputError(f"{source.name}: {error}") from None
        if not isinstance(value, dict):
            what = "is empty" if value is None else f"holds {kind_of(value)}"
            raise InputError(
                f"{source.name}: {what}; a batch is a mapping with remote_output_path and runs."
            )
        runs = value.get("runs")
        self._runs: list[Any] = runs if isinstance(runs, list) else []
        self._head = {**value, "runs": []} if isinstance(runs, list) else value

    def head(self) -> dict[str, Any]:
        return self._head

    def raw_runs(self) -> Iterator[Any]:
        return iter(self._runs)

    def place(self, number: int) -> str:
        return f"runs[{number}]"


class TextDocument:
    """One command per line; blank lines and lines that begin with `#` are skipped.

    In place of a command that is none by itself, a `Wrong` comes that says why.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def head(self) -> dict[str, Any]:
        return {"runs": []}

    def raw_runs(self) -> Iterator[Any]:
        for _, command in self._commands():
            yield {"cmd": command} if isinstance(command, str) else command

    def place(self, number: int) -> str:
        line, _ = next(islice(self._commands(), number, None))
        return f"line {line}"

    def _commands(self) -> Iterator[tuple[int, Union[str, Wrong]]]:
        documents: dict[str, int] = {}
        for number, line in enumerate(_lines(self._source), start=1):
            command = line.strip()
            if not command:
                continue
            if command in documents:
                yield number, _no_end(command, documents.pop(command))
            elif command[0] == "#":
                if "\r" in command or _DIRECTIVE.match(command):
                    yield number, _no_comment(command)
            elif "\r" in command or (command[-1] == "\\" and _goes_on(command)):
                yield number, _no_command(command)
            else:
                if "<<" in command and len(documents) < _MOST_HERE_DOCUMENTS:
                    words = (match[2] or match[3] for match in _HERE_DOCUMENT.finditer(command))
                    documents.update((word, number) for word in words if word != command)
                yield number, command


def _no_end(word: str, begin: int) -> Wrong:
    return Wrong(
        f"{shown(word)} ends the here-document that begins in line {begin}, but each line is a command "
        "of its own; put these lines into a script, and run that"
    )


def _no_comment(line: str) -> Wrong:
    if "\r" in line:
        return _carriage_return()
    return Wrong(
        f"{shown(line)} is a directive for another program, and sc does not follow it; remove it, and write what it "
        "asks for into each command (a prefix, say), or into a batch in YAML (timeout, env, gpus)"
    )


def _no_command(line: str) -> Wrong:
    if "\r" in line:
        return _carriage_return()
    return Wrong(
        "ends with a backslash, but each line is a command of its own and does not go on in the next; "
        "write the whole command in one line"
    )


def _carriage_return() -> Wrong:
    return Wrong(
        "contains a carriage return (CR) that ends no line here; save the file with line feeds (LF), "
        "or give it as: tr '\\r' '\\n' < FILE | sc batch -"
    )


def _goes_on(line: str) -> bool:
    """Two backslashes at the end of a line are one, and end it."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _lines(source: Source) -> Iterator[str]:
    """Lines without their ends; of one longer than any command can be, only the beginning."""
    rest = ""
    for piece in source.text():
        first, *others = piece.split("\n")
        rest += first if len(rest) <= LONGEST_ARGUMENT else ""
        for other in others:
            yield rest
            rest = other
    yield rest


def document_of(source: Source, tell: Callable[[str], None]) -> Document:
    """By the name's ending, or else by what the text looks like. Raises InputError for what is no batch."""
    if source.size == 0:
        raise InputError(f"{source.name}: is empty; it has to hold at least one run.")
    packed = source.packed_by()
    if packed:
        raise InputError(
            f"{source.name}: is compressed with {packed}; unpack it, and give what comes out (sc batch - reads a pipe)."
        )
    beginning = source.beginning()
    if beginning.lstrip().startswith("#!"):
        raise InputError(
            f"{source.name}: is a script (its first line begins with #!) and no batch; {_as_command(source)}."
        )
    kind = _KINDS.get(_ending(source)) or _kind_by_looks(beginning)
    if kind == "yaml":
        try:
            return YamlDocument(source, tell)
        except InputError as error:
            raise _with_advice(error, source) from None
    if kind == "text":
        _check_list(source, beginning)
    return JsonDocument(source) if kind == "json" else TextDocument(source)


def head_of(document: Document, source: Source) -> dict[str, Any]:
    """All keys of the top level, to be changed at will."""
    try:
        return dict(document.head())
    except InputError as error:
        raise _with_advice(error, source) from None


def _check_list(source: Source, beginning: str) -> None:
    """Only what is meant as a list of commands is executed line by line."""
    if _ending(source) == ".txt":
        if _YAML_KEY.search(beginning):
            raise InputError(
                f"{source.name}: looks like JSON or YAML, but a .txt is a list of commands, one per line; "
                "let its name end in .json or .yaml."
            )
    elif not source.is_stream:
        raise InputError(
            f"{source.name}: is no batch: it is neither JSON nor YAML with runs, and a list of commands, one per line, "
            f"is a .txt or comes from standard input (sc batch -); if it is a script, {_as_command(source)}."
        )


def _with_advice(error: InputError, source: Source) -> InputError:
    """The error in what looked like a batch, though its name does not say so: it may have been a script."""
    if source.is_stream or _ending(source) in _KINDS:
        return error
    first, *others = error.problems
    return InputError(f"{first.rstrip('.')}; if it is a script, {_as_command(source)}.", *others)


def _as_command(source: Source) -> str:
    """How a script is run by a batch, in the middle of a sentence."""
    if source.is_stream:
        return f"save it and write it as the command of a run: cmd: {_interpreter(source)} FILE"
    name = source.name.rpartition("/")[2] if "://" in source.name else source.name
    word = shlex.quote(name if name.isprintable() else "FILE")
    if os.path.basename(name).lower() in ("makefile", "gnumakefile"):
        return f"write it as the command of a run: cmd: make -f {word}"
    return f"write it as the command of a run: cmd: {_interpreter(source)} {word}"


def _interpreter(source: Source) -> str:
    match = _INTERPRETER.match(source.beginning())
    if match is not None:
        program = os.path.basename(match[1])
        program = os.path.basename(match[2] or "") if program == "env" else program
        if _PROGRAM.fullmatch(program):
            return program
    return _PROGRAMS.get(_ending(source), "sh")


def _ending(source: Source) -> str:
    return "" if source.is_stream else os.path.splitext(source.name)[1].lower()


def _kind_by_looks(beginning: str) -> str:
    if _JSON_BEGINS.match(beginning):
        return "json"
    return "yaml" if _YAML_KEY.search(beginning) else "text"
