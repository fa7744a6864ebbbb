"""The examples with which each command's help begins work as they stand, as far as one machine can show it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sc import commands_folder
from sc.cli import overview
from sc.commands import WORDS, load
from sc.commands.arguments import Parser
from tests.e2e.program import Program

BATCH = """
remote_output_path: out
runs:
- cmd: echo first
  remote_output_path: first
- cmd: echo two > $SATURN_RUN_LOCAL_RESULTS_DIR/two
- cmd: echo no such file >&2; exit 3
"""
RECIPE = """
type: job
spec:
  name: backfill
  instance_type: local
"""
ELSEWHERE = re.compile(r"s3://|sfs://|--region|--instance-type|\.aws|i-0123")
"""What an example says that needs a cloud."""
IN_TMP = re.compile(r"sc split recipe.yaml batch.yaml(?! \w)(?!.*--dry-run)")
"""Writes to the folder that people use: not for a test to replace."""
NEEDS_A_CLOUD = {"setup", "options", "ps"}
CLOUDLESS_WORDS = {
    "stop": ("batch.yaml", "commands", "out/"),
    "watch": ("batch.yaml", "commands", "work", "out"),
}
"""Of these commands the examples that name a job by something that lies here."""
ALLOWED = {
    "logs": {0},
    "batch": {0, 1},
    "rerun": {0, 1},
    "watch": {0, 1},
    "apply": {0, 1},
    "split": {0, 1},
    "work": {0, 1},
}
"""Codes: the prepared batch has a run that fails. 0 alone for all others."""


def examples_of(name: str) -> Iterator[str]:
    """The lines below `Examples:`, without their remarks."""
    subparsers = Parser(prog="sc").add_subparsers(parser_class=Parser)
    text = load(name).add_parser(subparsers).format_help()
    assert text.startswith("Examples:\n"), f"the help of sc {name} begins with examples"
    for line in text.split("\n\n")[0].splitlines()[1:]:
        yield re.split(r" {2,}", line.strip())[0]


def runnable() -> Iterator[tuple[str, str]]:
    for word in WORDS:
        for example in examples_of(word.name):
            here = CLOUDLESS_WORDS.get(word.name)
            needs_more = (
                word.name in NEEDS_A_CLOUD or ELSEWHERE.search(example) or IN_TMP.search(example)
            )
            if not needs_more and (here is None or any(part in example for part in here)):
                yield word.name, example.replace(commands_folder.DEFAULT, "commands")


@pytest.fixture
def folder(tmp_path: Path, program: Program) -> Path:
    """A folder with what the examples name: files, a split that was started, and outputs."""
    (tmp_path / "batch.yaml").write_text(BATCH)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = program.run(
        "split", "recipe.yaml", "batch.yaml", "work", "--start", "--wait", cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    program.run("split", "recipe.yaml", "batch.yaml", "commands", cwd=tmp_path)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    words = " ".join(shlex.quote(word) for word in program.words)
    (bin_ / "sc").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (bin_ / "sc").chmod(0o755)
    return tmp_path


def test_every_command_has_examples_and_most_can_be_tried() -> None:
    for word in WORDS:
        assert list(examples_of(word.name)), word.name
    tried = {name for name, _ in runnable()}
    assert tried >= {
        "batch",
        "split",
        "logs",
        "summarize-batch",
        "rerun",
        "pull",
        "report",
        "completion",
    }
    for line in overview().splitlines():
        assert len(line) <= 100


@pytest.mark.parametrize(("name", "example"), list(runnable()))
def test_an_example_works(folder: Path, program: Program, name: str, example: str) -> None:

    surroundings = program.surroundings(
        {"PATH": f"{folder}/bin:{os.environ['PATH']}", "SHELL": "/bin/sh"}
    )
    done = subprocess.run(
        ["sh", "-c", example],
        cwd=folder,
        env=surroundings,
        input="",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in ALLOWED.get(name, {0}), done.stderr
    assert "Traceback" not in done.stderr
