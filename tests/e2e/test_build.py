"""build.sh says in a sentence why it cannot go on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.machines import machine

SOURCES = ("build.sh", "pyz", "requirements", "sc")


def test_a_word_that_it_does_not_know_shows_the_words_it_knows(checkout: Path) -> None:
    told = subprocess.run(["./build.sh", "tset"], cwd=checkout, capture_output=True, text=True)
    assert told.returncode == 2
    assert [line.split()[:2] for line in told.stderr.splitlines()] == [
        ["./build.sh", "make"],
        ["./build.sh", "demo"],
        ["./build.sh", "lint"],
        ["./build.sh", "test"],
    ]


def test_no_python_that_is_new_enough(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "old").write_text(
        "#!/bin/sh\nexit 1\n"
    )  # what an old Python answers to the question
    (tmp_path / "old").chmod(0o755)
    told = subprocess.run(
        ["./build.sh"],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "PYTHON": str(tmp_path / "old")},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 3
    assert told.stderr.startswith("build.sh: no Python 3.9 or newer found. ")


def test_the_demo_ends_with_results_and_a_summary(checkout: Path, tmp_path: Path) -> None:
    copy, home = tmp_path / "a'; echo foo", tmp_path / "home"
    home.mkdir()
    copy.mkdir()
    for name in (*SOURCES, "examples"):
        (shutil.copytree if (checkout / name).is_dir() else shutil.copy)(
            checkout / name, copy / name
        )
    (copy / ".build").symlink_to(
        checkout / ".build"
    )  # what is installed, so as not to install it again
    told = subprocess.run(
        ["./build.sh", "demo"],
        cwd=copy,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    codes = [path.read_text() for path in (copy / "results" / "iris").glob("*/status_code")]
    assert codes == ["0"] * 24
    assert len([line for line in told.stdout.splitlines() if line.startswith("completed ")]) == 24


@pytest.mark.bare
def test_no_registry_no_venv_and_no_space(checkout: Path, tmp_path: Path) -> None:
    for name in SOURCES:
        (shutil.copytree if (checkout / name).is_dir() else shutil.copy)(
            checkout / name, tmp_path / name
        )
    with machine("bookworm") as bare:
        bare.copy(tmp_path, "/src")

        told = bare.run("/src/build.sh")
        assert told.returncode == 3
        assert "build.sh: apt-get could not install python3-venv" in told.stderr.splitlines()[-1]

        bare.run("chown -R 65534 /src")
        told = bare.run("setpriv --reuid=65534 --regid=65534 --clear-groups /src/build.sh")
        assert told.returncode == 3
        assert "On Debian and Ubuntu: apt-get install python3-venv" in told.stderr.splitlines()[-1]

        bare.run(
            "rm -r /src/.build; mount -t tmpfs -o size=8k,mode=777 tmpfs /mnt; ln -s /mnt /src/.build"
        )
        bare.run("head -c 1M /dev/zero > /mnt/filler")
        told = bare.run("/src/build.sh")
        assert told.returncode == 3
        assert told.stderr.splitlines()[-1].startswith("build.sh: the disk is full")
