"""Commands that come from a job's place are executed here only if whoever sits here says so.

Who may write there decides what they are: in a shared bucket many may. So they are shown, with all else that decides
what is executed, and asked about, once. Nothing is asked where files at hand say the same of these runs.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Optional

from sc import commands_folder
from sc.commands.asking import agreed
from sc.commands.voice import command_line
from sc.errors import InputError, ScError
from sc.reports import printable

if TYPE_CHECKING:
    import argparse

    from sc.model import Given, Run
    from sc.staging import Job, Synced

SHOWN = 5
_LONGEST_SHOWN = 2000
"""Characters of a command, or of a value. What is cut off is counted."""
_MOST_FILES = 200
_LARGEST_BYTES, _LARGEST_JSON_BYTES = 8 << 20, 64 << 20
_FILES = (".yaml", ".yml", ".json", ".txt")
_STEERS = re.compile(
    r"PATH|LD_.*|DYLD_.*|PYTHON.*|PERL.*|RUBY.*|NODE_.*|LUA_.*|JAVA_.*|JDK_.*|_JAVA_.*|CLASSPATH|R_.*|JULIA_.*|"
    r"BASH.*|ENV|ZDOTDIR|IFS|PS[0-4]|PROMPT_COMMAND|SHELL.*|CDPATH|HOME|TMPDIR|XDG_.*|GIT_.*|SSH_.*|EDITOR|VISUAL|"
    r"PAGER|LESS.*|MAKE.*|GCONV_PATH|LOCPATH|CONDA_.*|VIRTUAL_ENV|AWS_(CONFIG|SHARED|ENDPOINT|PROFILE|CA).*",
    re.DOTALL,
)
"""Variables that change which program is executed, or what it loads: their values are shown. Those of others may be
secrets."""


class Foreign(NamedTuple):
    """What is to be executed here, and comes from a job's place."""

    url: str
    runs: Sequence[Run]
    """The first ones at least; none where the commands are this machine's own, and only the rest comes from there."""
    number: int
    variables: Mapping[str, str]
    """That the job gives to its runs."""
    folder: Optional[str] = None
    start_script: str = ""
    synced: Sequence[Synced] = ()


def add_yes(parser: argparse.ArgumentParser) -> None:
    """The word by which nothing is asked."""
    parser.add_argument(
        "--yes",
        action="store_true",
        help="do not ask whether commands that come from a job's place are to be executed here",
    )


def of_work(url: str, job: Job, first: Iterable[Run]) -> Foreign:
    """All of a job, for one more worker."""
    return Foreign(
        url,
        list(first),
        job.runs,
        job.environment_variables,
        job.working_directory,
        job.start_script or "",
        job.synced,
    )


def ask(foreign: Foreign, is_granted: bool, words: Sequence[str]) -> None:
    """Show it, and ask once. Raises InputError if the answer is no, or if nobody is there who could say yes.

    `is_granted`: by --yes. `words` are those of a call that says so.
    """
    if is_granted:
        return
    lines = "".join(f"sc: {printable(line)}\n" for line in shown(foreign))
    answer = agreed("Execute this here, with your rights and keys?", lines)
    if answer is None:
        raise InputError(
            f"what is shown above comes from {foreign.url}, and would be executed here with your rights and keys: "
            f"if you trust all who may write there, say so with {command_line(*words, '--yes')}"
        )
    if not answer:
        raise InputError("nothing was executed, and nothing is changed")


def shown(foreign: Foreign) -> Iterator[str]:
    """Lines for people. Whoever says them makes control characters visible."""
    from sc.model import command_text

    what = f"{foreign.number:,} command{'' if foreign.number == 1 else 's'}"
    yield f"{what if foreign.runs else 'settings of these runs'} from {foreign.url}, where others may write:"
    for run in foreign.runs[:SHOWN]:
        yield f"  {run.remote_output_path}: {_cut(command_text(run.cmd))}"
        if run.local_results_dir:
            yield f"    which empties {run.local_results_dir}"
        if run.working_directory:
            yield f"    in {run.working_directory}"
    if foreign.number > SHOWN and foreign.runs:
        yield f"  and {foreign.number - SHOWN:,} more; {command_line('summarize-batch', foreign.url)} tells all"
    yield from _shown_variables(foreign)
    if foreign.folder:
        yield f"  in the folder {foreign.folder}"
    if foreign.start_script:
        yield f"  after the start script: {_cut(foreign.start_script)}"
    for one in foreign.synced:
        yield f"  with the files of {one.place(foreign.url)}, unpacked into {one.destination}"


def _shown_variables(foreign: Foreign) -> Iterator[str]:
    values: dict[str, dict[str, None]] = {}
    for some in (foreign.variables, *(run.env for run in foreign.runs)):
        for name, value in some.items():
            values.setdefault(name, {})[value] = None
    steering = [name for name in values if _STEERS.fullmatch(name)]
    for name in steering:
        yield from (f"  with {name}={_cut(value)}" for value in list(values[name])[:SHOWN])
        if len(values[name]) > SHOWN:
            yield f"  with {name} of {len(values[name]) - SHOWN:,} other values"
    others = [name for name in values if name not in steering]
    if others:
        yield f"  with the variables {_cut(', '.join(others))}"


def _cut(text: str) -> str:
    more = len(text) - _LONGEST_SHOWN
    return f"{text[:_LONGEST_SHOWN]}… and {more:,} characters more" if more > 0 else text


def is_at_hand(runs: Collection[Run], place: str) -> bool:
    """Whether batch files in the current folder say the same of all of these runs, as they are or with `place`, which
    whoever sits here has typed, in place of their own."""
    wanted = {run.remote_output_path: _does(run) for run in runs}
    for path in _files_here(b"cmd"):
        for instead in (None, place):
            if not wanted:
                return True
            for run in _runs_of(path, instead):
                if wanted.get(run.remote_output_path) == _does(run):
                    del wanted[run.remote_output_path]
    return not wanted


def is_given_at_hand(given: Given) -> bool:
    """Whether there is a recipe in the current folder that gives the same to its runs."""
    from sc.documents import read_recipe

    if not given.environment_variables and not given.working_directory:
        return True
    for path in _files_here(b"spec"):
        with suppress(ScError):
            if not path.endswith(".txt") and read_recipe(path).recipe.given == given:
                return True
    return False


def _does(run: Run) -> Run:
    """The run without what decides only when, and how often, it is executed."""
    return run._replace(timeout=None, retries=0, expected_time=None, env=dict(run.env))


def _runs_of(path: str, place: Optional[str]) -> Iterator[Run]:
    from sc.documents import read_batch

    with suppress(ScError):
        yield from read_batch(path, remote_output_path=place, at_once=1).runs


def is_own_file(path: Optional[str]) -> bool:
    """Whether nobody but this user, and root, has written it."""
    if path is None:
        return False
    try:
        return _is_by_us(os.stat(path))
    except OSError:
        return False


def _is_by_us(found: os.stat_result) -> bool:
    is_ours = found.st_uid in (os.getuid(), 0) and not found.st_mode & 0o002
    return stat.S_ISREG(found.st_mode) and is_ours


def _is_own(entry: os.DirEntry[str]) -> bool:
    most = _LARGEST_JSON_BYTES if entry.name.endswith(".json") else _LARGEST_BYTES
    with suppress(OSError):
        found = entry.stat()
        return _is_by_us(found) and found.st_size <= most
    return False


def _files_here(word: bytes) -> Iterator[str]:
    """Those that may be a batch or a recipe, and what `sc split` has written to its usual folder. All of their kind
    have this word in them, but lists of commands."""
    for folder in (".", commands_folder.DEFAULT):
        found: list[str] = []
        with suppress(OSError), os.scandir(folder) as entries:
            found = [
                os.path.join(folder, entry.name)
                for entry in entries
                if entry.name.endswith(_FILES) and _is_own(entry)
            ]
        for path in sorted(found)[:_MOST_FILES]:
            with suppress(OSError), open(path, "rb") as file:
                if path.endswith(".txt") or word in file.read():
                    yield path
