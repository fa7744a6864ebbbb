"""The way in: words, mistakes, exit codes. In a process of its own: tests/processes. The command itself: tests/e2e."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sc import cli
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


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "there is not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "/x"), "there is not enough memory"),
        (MemoryError(), "there is not enough memory"),
        (
            ImportError("x.so: failed to map segment from shared object"),
            "there is not enough memory",
        ),
        (SystemError("error return without exception set"), "there is not enough memory"),
        (
            SystemError("<function f> returned NULL without setting an exception"),
            "there is not enough memory",
        ),
        (RuntimeError("can't start new thread"), "no thread can be started: raise `ulimit -u`"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "/x: No space left on device"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence(
    error: Exception,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def lack(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_dispatch", lack)
    assert main(["batch"]) == 3
    assert capsys.readouterr().err == f"sc: {sentence}; this machine has to be put right first\n"


def test_what_is_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def err(words: list[str]) -> int:
        raise SystemError("another")

    monkeypatch.setattr(cli, "_dispatch", err)
    assert main(["batch"]) == 3
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "SystemError: another\nsc: this is a bug in sc" in told


def test_a_broken_pipe_of_our_own_is_not_taken_for_a_reader_that_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def err(words: list[str]) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(cli, "_dispatch", err)
    assert main(["batch"]) == 3
    assert "Broken pipe\nsc: this is a bug in sc" in capsys.readouterr().err
