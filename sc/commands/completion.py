"""`sc completion`: a script with which the shell completes the words of `sc`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sc.commands import WORDS, load
from sc.commands.arguments import Parser
from sc.commands.voice import result
from sc.errors import ExitCode

if TYPE_CHECKING:
    from sc.commands import Subparsers
    from sc.completing import Spelling

EXAMPLES = """
Examples:
  sc completion bash             print the script; eval "$(sc completion bash)" uses it at once
  sc completion zsh              the same for zsh; as the file _sc in a folder of $fpath it stays

To keep it: sc completion bash > ~/.local/share/bash-completion/completions/sc
"""


def add_parser(subparsers: Subparsers) -> Any:
    """The words of `sc completion`."""
    from sc.completing import SHELLS

    parser = subparsers.add_parser("completion", description=EXAMPLES)
    parser.add_argument("shell", choices=SHELLS, help="for which shell")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from sc.completing import script

    result(script(args.shell, list(spellings())).rstrip("\n"))
    return ExitCode.OK


def spellings() -> Iterator[Spelling]:
    """All commands, as their own parsers describe them."""
    from sc.completing import Option, Spelling

    subparsers: Any = Parser(prog="sc").add_subparsers(parser_class=Parser)
    for word in WORDS:
        actions = load(word.name).add_parser(subparsers)._actions
        options = [
            Option(
                action.option_strings,
                (action.help or "").split(";")[0],
                action.nargs != 0,
                tuple(map(str, action.choices or ())),
            )
            for action in actions
            if action.option_strings and action.help != argparse.SUPPRESS
        ]
        first = next((action for action in actions if not action.option_strings), None)
        choices = tuple(map(str, (first.choices if first else None) or ()))
        yield Spelling(word.name, word.gist, options, choices)
