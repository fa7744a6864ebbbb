"""Completion, in the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sc.commands import WORDS
from tests.e2e.program import Program

ASK = """
source ./completion
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_sc
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Path:
    made = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh"):
        done = program.run("completion", shell, cwd=made)
        assert (done.returncode, done.stderr) == (0, "")
        (made / ("completion" if shell == "bash" else "_sc")).write_text(done.stdout)
    for name in ("batch.yaml", "a file.yaml"):
        (made / name).touch()
    return made


def asked(folder: Path, *words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", *words], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_bash_completes_commands_options_and_files(folder: Path) -> None:
    assert asked(folder, "sc", "") == [*(word.name for word in WORDS), "--help", "--version"]
    assert asked(folder, "sc", "su") == ["summarize-batch"]
    assert asked(folder, "sc", "logs", "--fo") == ["--follow"]
    assert asked(folder, "sc", "logs", "ba") == ["batch.yaml"]
    assert asked(folder, "sc", "batch", "a") == ["a file.yaml"]
    assert asked(folder, "sc", "completion", "") == ["bash", "zsh"]
    assert asked(folder, "sc", "report", "-o", "ba") == ["batch.yaml"]
    assert asked(folder, "sc", "pull", "--f") == ["--failed"]
    assert asked(folder, "sc", "nonsense", "") in ([], [""])
    assert asked(folder, "sc", "help", "rer") == ["rerun"]


def test_every_option_of_every_command_is_known(folder: Path, program: Program) -> None:
    text = (folder / "completion").read_text()
    for word in WORDS:
        line = next(line for line in text.splitlines() if line.startswith(f"    {word.name}) "))
        helped = program.run(word.name, "--help", cwd=folder).stdout
        options = {
            part.strip(" ,[]").split("=")[0] for part in helped.split() if part.startswith("--")
        }
        assert "--help" in line
        assert {
            option for option in options if f" {option[2:]}" in helped and option not in line
        } == set()


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh on this machine")
def test_zsh_takes_the_script(folder: Path) -> None:
    script = "autoload -Uz compinit; compinit -D -u; source ./_sc; print -r -- ${_comps[sc]} ${+functions[_sc]}"
    done = subprocess.run(
        ["zsh", "-f", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "_sc 1\n", "")
