"""`.scignore` means what git says of `.gitignore`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sc.archives import pack, unpack
from sc.archives.ignoring import Ignored

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

NAMES = [
    "a",
    "b",
    "ab",
    "abc",
    "[",
    "]",
    "a b",
    "*",
    "#",
    "!a",
    "-",
    "a ",
    "\\",
    "é",
    ".a",
    "[ab]",
    " ",
]
FOLDERS = ["f", "a.d", "b.d", "f/a.d", "f/f", "a.d/b.d", "f/f/f"]
ATOMS = [
    *(
        "a",
        "b",
        "c",
        "f",
        "*",
        "**",
        "?",
        "/",
        "/",
        ".d",
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]",
        "[]a]",
        "é",
    ),
    *(
        "[[:alpha:]]",
        "[[:punct:]]",
        "\\",
        "\\*",
        "!",
        "#",
        "-",
        "[",
        "]",
        "[a\\]b]",
        "[a-]",
        "[b-a]",
    ),
    *("**/", "/**", "***", "[[:x:]]", "[a/b]", "\\/", " ", "\\ ", "\t"),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for parent in ["", *FOLDERS]:
        (folder / parent).mkdir(exist_ok=True)
        for name in NAMES:
            (folder / parent / name).touch()
    return folder


PATHS = [*FOLDERS, *(os.path.join(parent, name) for parent in ["", *FOLDERS] for name in NAMES)]


def by_git(repository: Path, lines: Sequence[str]) -> set[str]:
    (repository / ".gitignore").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=repository,
        input="\0".join(PATHS) + "\0",
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.split("\0")) - {""}


def by_us(lines: Sequence[str]) -> set[str]:
    ignored = Ignored(lines)
    return {path for path in PATHS if ignored.leaves_out_all_of(path, path in FOLDERS)}


@needs_git
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "", "", "!"]),
            st.lists(st.sampled_from(ATOMS), min_size=1, max_size=6).map("".join),
            st.sampled_from(["", "", "/"]),
        ).map("".join),
        min_size=1,
        max_size=4,
    )
)
def test_drawn_rules_mean_what_git_says(repository: Path, lines: list[str]) -> None:
    assert by_us(lines) == by_git(repository, lines)


@needs_git
@pytest.mark.parametrize(
    "lines",
    [
        ["*", "!f/", "!f/a"],
        ["f/*", "!f/a.d"],
        ["/a", "f/f/"],
        ["f/**", "!f/a"],
        ["**/f/a", "a.d/**/a"],
        ["a\\ ", "b  "],
        ["\\#", "\\!a", "# no rule"],
        ["a\\"],
        ["[a"],
        ["f//"],
        ["//a"],
        ["/"],
        ["\ufeffa"],
        ["a\r"],
        ["f**/a"],
        ["?"],
        ["??"],
        ["[[:space:]]", "*[![:alnum:]]"],
    ],
)
def test_rules_of_a_table_mean_what_git_says(repository: Path, lines: list[str]) -> None:
    assert by_us(lines) == by_git(repository, lines)


def test_a_long_name_and_many_stars_are_soon_compared() -> None:
    assert not Ignored(["*a" * 30 + "b", "**/a/" * 20 + "b"]).leaves_out(
        "a" * 250 + "/a" * 60, False
    )


def test_scignore_of_a_deeper_folder_comes_last(tmp_path: Path) -> None:
    for name in ("x.csv", "f/x.csv", "f/y.csv", "f/top", "f/g/top"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).touch()
    (tmp_path / "src/.scignore").write_text("*.csv\n")
    (tmp_path / "src/f/.scignore").write_text("!x.csv\n/top\n")
    pack(str(tmp_path / "src"), str(tmp_path / "a.tar.gz"))
    unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"))
    found = {str(one.relative_to(tmp_path / "out")) for one in (tmp_path / "out").rglob("*[!e]")}
    assert found == {"f", "f/x.csv", "f/g", "f/g/top"}
