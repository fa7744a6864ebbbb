"""Every command line in the README and in the help is one that sc understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sc.cli import _parse, main
from sc.commands import WORDS

README = Path(__file__).resolve().parents[2] / "README.md"
PROGRAM = re.compile(r"^(?:\$ dist/sc\.pyz|  sc) (\S.*)$")


def command_lines(text: str) -> list[list[str]]:
    """The words behind `sc` of each line that calls it; what follows two blanks in help is a remark."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        match = PROGRAM.match(line)
        if match:
            typed = match.group(1)
            if line.startswith("  sc"):
                typed = re.split(r"\s{2,}", typed)[0]
            words = shlex.split(typed, comments=True)
            found.append(words[: words.index("|")] if "|" in words else words)
    return found


def test_the_readme() -> None:
    lines = command_lines(README.read_text())
    assert len(lines) > 10
    for words in lines:
        assert _parse(words).command == words[0]


@pytest.mark.parametrize("name", [word.name for word in WORDS])
def test_the_examples_of_a_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    lines = command_lines(capsys.readouterr().out)
    assert len(lines) >= 2
    for words in lines:
        assert _parse(words).command == words[0]


def test_the_examples_of_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = command_lines(capsys.readouterr().out)
    assert len(lines) == 3
    for words in lines:
        assert _parse(words).command == words[0]
