"""The way in: words, mistakes, exit codes. The command itself runs in tests/e2e."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sc.cli import main, overview
from sc.commands import WORDS, load
from sc.commands.voice import program


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["spilt"],
            "sc: there is no command 'spilt'; did you mean split? ('sc --help' lists them)",
        ),
        (["frobnicate"], "sc: there is no command 'frobnicate' ('sc --help' lists them)"),
        (
            ["--nprocs"],
            "sc: there is no option --nprocs; a command comes first, 'sc --help' lists them",
        ),
        (
            ["options", "--josn"],
            "sc: options: there is no option --josn; did you mean --json? ('sc options --help' lists them)",
        ),
        (
            ["options", "r6a"],
            "sc: options: 'r6a' is one word too many; 'sc options --help' tells what it takes",
        ),
        (
            ["options", "--option-type", "sices"],
            "sc: options: --option-type 'sices' is none of sizes, local, ec2, gpu",
        ),
        (
            ["batch"],
            "sc: batch: the following arguments are required: FILE; 'sc batch --help' tells what it takes",
        ),
        (
            ["batch", "x.json", "--nprocs", "0"],
            (
                "sc: batch: --nprocs: '0' is not a whole number of 1 or more; "
                "'sc batch --help' tells what it takes"
            ),
        ),
    ],
)
def test_a_wrong_word_is_one_sentence_and_exit_code_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err == complaint + "\n"
    assert captured.out == ""


def test_without_words_the_overview_is_told_and_nothing_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", overview())


def test_the_overview_shows_every_command_in_the_order_of_a_jobs_life() -> None:
    text = overview()
    places = [text.index(f"\n  {word.name} ") for word in WORDS]
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", [word.name for word in WORDS])
def test_every_commands_help_begins_with_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("Example")
    assert shown[1].startswith("  sc ")
    assert load(name).run is not None


def test_version_and_help_import_nothing_that_a_command_needs(checkout: Path) -> None:
    program_text = (
        "import sys, sc.cli; sc.cli.main(sys.argv[1:]);"
        "print(sorted({'yaml', 'boto3', 'botocore', 'argparse', 'multiprocessing'} & set(sys.modules)))"
    )
    for word in ("--version", "--help"):
        ran = subprocess.run(
            [sys.executable, "-c", program_text, word], cwd=checkout, capture_output=True, text=True
        )
        assert ran.stdout.splitlines()[-1] == "[]"


def test_output_survives_a_terminal_that_knows_ascii_only(checkout: Path, tmp_path: Path) -> None:
    name = "naïve-\N{SNOWMAN}.json"
    ran = subprocess.run(
        [sys.executable, "-m", "sc", "batch", str(tmp_path / name)],
        cwd=checkout,
        env={
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C",
            "PYTHONIOENCODING": "ascii",
            "PYTHONUTF8": "0",
        },
        capture_output=True,
    )
    assert ran.returncode == 2
    assert b"Traceback" not in ran.stderr
    assert ran.stderr.startswith(b"sc: ")


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", ">/dev/full"])
def test_a_closed_or_full_stream_is_no_crash(closed: str, checkout: Path) -> None:
    line = f'"{sys.executable}" -m sc --help {closed}'
    ran = subprocess.run(["/bin/sh", "-c", line], cwd=checkout, capture_output=True, text=True)
    assert "Traceback" not in ran.stderr
    assert ran.returncode == (3 if "full" in closed else 0)


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_a_batch_runs_whatever_streams_are_closed(
    closed: str, checkout: Path, tmp_path: Path
) -> None:
    """Else the number of a closed stream goes to a pipe of ours, which a fork then loses: it waits for ever."""
    (tmp_path / "batch.yaml").write_text("runs: [{cmd: cat}, {cmd: echo two}]")
    line = f'"{sys.executable}" -m sc batch "$0/batch.yaml" --remote-output-path "$0/out" {closed}'
    command = ["/bin/sh", "-c", line, str(tmp_path)]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=30)
    codes = [(tmp_path / "out" / name / "status_code").read_text() for name in "01"]
    assert (ran.returncode, codes) == (0, ["0", "0"])
    assert (tmp_path / "out/1/stdout").read_text() == "two\n"


def test_a_machine_that_allows_no_process_is_told_in_a_sentence(
    checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "batch.txt").write_text("true\n")
    line = (
        f'ulimit -n 16; "{sys.executable}" -m sc batch "$0/batch.txt" --remote-output-path "$0/out"'
    )
    command = ["/bin/sh", "-c", line, str(tmp_path)]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, "Traceback" in ran.stderr) == (3, False)
    assert ran.stderr.splitlines()[-1].startswith("sc: ")
    assert not (tmp_path / "out/0/status_code").exists()


def test_a_reader_that_leaves_is_no_trouble(checkout: Path) -> None:
    line = f'"{sys.executable}" -c "import sc.cli; sc.cli.overview = lambda: 9**9**5 and str(9) * 10**6; '
    line += "raise SystemExit(sc.cli.main(['--help']))\" | head -c 1"
    ran = subprocess.run(["/bin/sh", "-c", line], cwd=checkout, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("9", "")


def test_the_program_is_named_as_it_was_typed(tmp_path: Path) -> None:
    folder = tmp_path / "a'; echo foo"
    folder.mkdir()
    archive = folder / "sc.pyz"
    archive.touch(mode=0o644)
    assert (
        program([str(archive)], "/opt/python")
        == f"/opt/python '{tmp_path}/a'\"'\"'; echo foo/sc.pyz'"
    )
    archive.chmod(0o755)
    assert program([str(archive)], "/opt/python") == f"'{tmp_path}/a'\"'\"'; echo foo/sc.pyz'"
    assert program(["/x/sc/__main__.py"], "/opt/python") == "/opt/python -m sc"


def test_what_ends_lines_in_a_name_begins_no_line_of_ours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["batch", "nope\rsc: \u2028all\x85is\nwell"]) == 2
    told = "sc: nope\\rsc: \\u2028all\\x85is\\nwell: there is no such file.\n"
    assert capsys.readouterr().err == told
