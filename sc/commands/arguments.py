"""Reading the words behind a command: our kind of parser, and the types of values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from sc.errors import InputError


class Parser(argparse.ArgumentParser):
    """Help begins with the description (which begins with examples); an error is a sentence, not an exit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def format_help(self) -> str:
        """Examples first, then usage and options."""
        description, self.description = self.description, None
        try:
            rest = super().format_help()
        finally:
            self.description = description
        return f"{description.strip()}\n\n{rest}" if description else rest

    def error(self, message: str) -> NoReturn:
        """Raises InputError."""
        name = self.prog.partition(" ")[2]
        text = message[len("argument ") :] if message.startswith("argument ") else message
        raise InputError(f"{name}: {text}; 'sc {name} --help' tells what it takes")


def failures_limit(text: str) -> str:
    """The type of `--max-failures`: `N` or `N%`."""
    from sc.halting import is_limit

    if text and not is_limit(text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of runs nor a share as 5%")
    return text


def add_max_failures(add: Callable[..., Any]) -> None:
    """`--max-failures`, the same for every command that has it. `add` is the parser's or group's `add_argument`."""
    add(
        "--max-failures",
        metavar="N|N%",
        type=failures_limit,
        default="",
        help="start nothing more when so many runs have failed (a share: of all, once 20 have ended)",
    )


def add_on_end(add: Callable[..., Any]) -> None:
    """`--on-end`, the same for every command that has it."""
    help_ = "run this at the job's end, with SC_JOB, SC_EXIT_CODE, SC_FAILED … in its environment"
    add("--on-end", metavar="COMMAND", help=help_)


def at_least(smallest: int) -> Callable[[str], int]:
    """The type of a whole number from `smallest` up."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = smallest - 1
        if number < smallest or not text.isascii():
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number of {smallest} or more"
            )
        return number

    return read
