"""The way in: find the command, run it, turn what went wrong into one line for each problem and an exit code.

`sc --help` and `sc --version` import nothing that a command needs: those are to answer at once.
"""

from __future__ import annotations

import difflib
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Optional

from sc import __version__
from sc.commands import WORDS, is_loaded, load
from sc.commands.aws_variables import trim_aws_variables
from sc.commands.voice import (
    NobodyReadsError,
    hand_over,
    mutter,
    open_streams,
    result,
    say,
    say_the_rest,
    to_reader,
)
from sc.errors import ExitCode, InputError, Interrupted, ScError

if TYPE_CHECKING:
    import argparse

MACHINE_SAYS_NO = frozenset(
    [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EAGAIN]
)
"""Troubles of this machine that may meet any line of code, and are not our bugs."""
_NO_THREAD = "can't start new thread"
_NO_MEMORY = (
    *("failed to map segment from shared object", "can't allocate read lock"),
    *("error return without exception set", "returned NULL without setting an exception"),
)
"""How Python, which then has none for an exception, and the loader of its modules tell it; there is no errno."""


Mend = Callable[[bool], bool]


def _is_whole(has_done_nothing: bool) -> bool:
    return False


def main(argv: Optional[Sequence[str]] = None, mend: Mend = _is_whole) -> int:
    """Run `sc` with these words (by default those of the command line); returns its exit code.

    `mend` is asked when a bug seems to show: it tells whether this copy of the program was damaged, and has then made
    another. Told that nothing has been done yet, it begins again and does not return.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    open_streams()
    try:
        return _code_of(words, mend)
    finally:
        say_the_rest()


def _code_of(words: list[str], mend: Mend) -> int:
    """Do it, and tell what went wrong."""
    code: int = ExitCode.OK
    try:
        code = _dispatch(words)
        hand_over()
    except NobodyReadsError:
        return code  # that of the command, if it had come to its end
    except (KeyboardInterrupt, Interrupted) as error:
        say(f"sc: {str(error) or 'interrupted'}")
        return ExitCode.INTERRUPTED
    except ScError as error:
        return _tell(error)
    except Exception as error:  # noqa: BLE001 - the last door: all that arrives here is told
        return _tell_trouble(error, mend)
    return code


def _dispatch(words: list[str]) -> int:
    """What the first word asks for."""
    if not words:
        mutter(overview())
        return ExitCode.BAD_INPUT
    first = words[0]
    if first in ("-V", "--version"):
        result(f"sc {__version__}")
        return ExitCode.OK
    if first in ("-h", "--help") or words == ["help"]:
        result(overview().rstrip("\n"))
        return ExitCode.OK
    if first == "help":
        words = [words[1], "--help"]
    if words[0] not in [word.name for word in WORDS]:
        raise InputError(_no_such_word(words[0]))
    return _run_command(words)


def _run_command(words: list[str]) -> int:
    command = load(words[0])
    trim_aws_variables(os.environ)
    try:
        with to_reader():
            args = _parse(words)
    except SystemExit as leaving:  # argparse has printed the help that was asked for
        return int(leaving.code or 0)
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("the folder that you are in was removed: go to another one") from None
    return command.run(args)


def _parse(words: list[str]) -> argparse.Namespace:
    """Read the words of a command. Raises InputError with the nearest option for one that does not exist."""
    from sc.commands.arguments import Parser

    parser = Parser(prog="sc")
    subparsers = parser.add_subparsers(dest="command", parser_class=Parser)
    load(words[0]).add_parser(subparsers)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        chosen = subparsers.choices[words[0]]
        options = [text for action in chosen._actions for text in action.option_strings]
        raise InputError(_no_such_option(words[0], unknown[0], options))
    return args


def overview() -> str:
    """The text of `sc --help`: the commands in the order of a job's life."""
    widest = max(len(word.name) for word in WORDS)
    lines = [
        "Examples:",
        "  sc batch batch.yaml                              run a batch on this machine",
        "  sc split recipe.yaml batch.yaml --start --wait   run it on the recipe's machines",
        "  sc summarize-batch batch.yaml                    tell what became of its runs",
        "",
        "sc runs many independent commands on as many machines as you allow, and keeps what",
        "each of them printed and made.",
        "",
        "Commands, in the order of a job's life:",
        *(f"  {word.name:{widest}}  {word.gist}" for word in WORDS),
        "",
        "sc COMMAND --help tells more. Exit codes: 0 all good, 1 some runs failed, 2 bad input,",
        "3 storage, credentials or cloud said no, 130 interrupted.",
    ]
    return "\n".join(lines) + "\n"


def _no_such_word(word: str) -> str:
    names = [known.name for known in WORDS]
    if word.startswith("-"):
        return f"there is no option {word}; a command comes first, 'sc --help' lists them"
    return f"there is no command {word!r}{_nearest(word, names)} ('sc --help' lists them)"


def _no_such_option(command: str, word: str, options: Iterable[str]) -> str:
    if not word.startswith("-"):
        return (
            f"{command}: {word!r} is one word too many; 'sc {command} --help' tells what it takes"
        )
    word = word.split("=", 1)[0]
    hint = _nearest(word, options)
    return f"{command}: there is no option {word}{hint} ('sc {command} --help' lists them)"


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _tell(error: ScError) -> int:
    """One line for each problem. What else ends lines in names (`\\r`, U+2028) begins none of ours: it is escaped."""
    problems = error.problems if isinstance(error, InputError) else str(error).split("\n")
    for problem in list(filter(None, problems)) or [type(error).__name__]:
        say(f"sc: {problem}")
    return error.exit_code


def _tell_trouble(error: Exception, mend: Mend) -> int:
    """A full disk is told in a sentence; anything else that arrives here is our bug and keeps its traceback."""
    want = _want_of(error)
    if want:
        say(f"sc: {want}; this machine has to be put right first")
        return ExitCode.REFUSED
    if mend(not is_loaded(sys.argv[1:2])):
        say("sc: a file of its unpacked copy was damaged, and another copy was made: run it again")
        return ExitCode.REFUSED
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    for line in told.splitlines():
        say(line)
    say("sc: this is a bug in sc, not in what you typed: please report it with the lines above")
    return ExitCode.REFUSED


def _want_of(error: Exception) -> str:
    """What this machine lacks; empty for an error that is of another kind."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOMEM or isinstance(error, MemoryError) or str(error).endswith(_NO_MEMORY):
        return "there is not enough memory"
    if isinstance(error, OSError) and number in MACHINE_SAYS_NO:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return "no thread can be started: raise `ulimit -u`"
    return ""
