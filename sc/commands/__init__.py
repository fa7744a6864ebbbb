"""The words that people type, one module each, in the order of a job's life.

A command's module has `add_parser(subparsers)` and `run(args) -> int`, and is imported when its word was typed, not
before. A command only translates: words to objects, a call, a result to lines. All checks come before the first
effect. It says results with `voice.result` and everything else with `voice.say`; it never exits.
The text of its help begins with examples.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import argparse

    Subparsers = argparse._SubParsersAction[Any]


class Word(NamedTuple):
    """A command as `sc --help` shows it."""

    name: str
    gist: str


class Command(Protocol):
    """What a command's module offers."""

    def add_parser(self, subparsers: Subparsers) -> Any:
        """Describe the words that may follow the command."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code is what is returned, or that of the ScError that is raised."""


WORDS = (
    Word("setup", "prepare an AWS account once, and check that it is ready"),
    Word("options", "list this machine and the instance types that a recipe may name"),
    Word("batch", "run a batch here, on this machine"),
    Word("split", "cut a batch into parts for many machines, and start them with --start"),
    Word("apply", "start a recipe that split has written"),
    Word("watch", "see what goes on in a job, until its end"),
    Word("work", "take parts of a job until none is left (what machines run)"),
    Word("ps", "list the jobs and machines that are running"),
    Word("logs", "show what a run has printed, or follow it; or all failures, alike together"),
    Word("summarize-batch", "tell what became of each run of a batch"),
    Word("rerun", "do some runs again, here, to see what goes wrong"),
    Word("pull", "bring the outputs of a batch into a folder of this machine"),
    Word("report", "write one page that tells all of a batch"),
    Word("stop", "end a job and its machines"),
    Word("completion", "print a script that completes these words in bash or zsh"),
)


def load(name: str) -> Command:
    """The module of a command."""
    module: Any = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    command: Command = module
    return command


def is_loaded(words: Sequence[str]) -> bool:
    """Whether the first of these words is a command whose module has been imported, and may have done something."""
    return any(f"{__name__}.{name.replace('-', '_')}" in sys.modules for name in words[:1])
