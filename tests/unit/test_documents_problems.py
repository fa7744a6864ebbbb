"""Batches that cannot be used: one sentence per problem, all at once, each with its place."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Optional

import pytest

from sc.documents import read_batch
from sc.documents.libyaml import fast_parser
from sc.documents.yaml_text import PythonParser, YamlError, read_yaml
from sc.errors import InputError
from tests.complaints import problems


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = """
nproc: 4
nprocs: -4
remote_output_path: gs://bucket/x
retries: many
runs:
- cmd:
- cmd: 5
- {cmds: x, timout: 3, duration: 5}
- python x.py
- {cmd: x, timeout: 0, gpus: 1.5, retries: -1, env: {A: null}}
- {cmd: [], working_directory: ''}
- {cmd: x, matrix: {a: 1}}
"""
    expected = """\
remote_output_path: 'gs://bucket/x' is of no kind known: use s3://, sfs://, file:/// or a folder
retries: a whole number is expected, not 'many'
nprocs: a whole number from 1 to 100,000 is expected, not -4
unknown key 'nproc', did you mean nprocs?
runs[0].cmd: a command is a text, or a list of texts, not null
runs[1].cmd: a command is a text, or a list of texts, not the number 5
runs[2]: unknown key 'cmds', did you mean cmd?
runs[2]: unknown key 'timout', did you mean timeout?
runs[2]: unknown key 'duration', did you mean expected_time?
runs[2].cmd: is missing; write the command to run
runs[3]: a run is a mapping with cmd, not 'python x.py'; write cmd: python x.py
runs[4].timeout: a time above 0 and up to 366 days is expected, not 0
runs[4].gpus: a run takes a fraction of one GPU or a whole number of them, not 1.5
runs[4].retries: a whole number from 0 to 1,000 is expected, not -1
runs[4].env: 'A': a text is expected, not null (for an empty variable write '')
runs[5].cmd: is an empty list; give the program and its arguments
runs[5].working_directory: is empty
runs[6].matrix: a: a list of values is expected, such as [1, 2], not '1'
"""
    told = problems(tmp_path, "batch.yaml", text)
    assert told == [f"batch.yaml: {line}" for line in expected.splitlines()]


def test_many_problems_are_counted_and_some_shown(tmp_path: Path) -> None:
    told = problems(tmp_path, "b.json", {"remote_output_path": "/o", "runs": [{}] * 200})
    assert len(told) == 21
    assert told[-1] == "b.json: … and 180 more like these"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("nprocs", 0, "a whole number from 1 to 100,000 is expected, not 0"),
        ("nprocs", True, "a whole number is expected, not true"),
        ("nprocs", "four", "a whole number is expected, not 'four'"),
        ("nprocs", 10**300, "a whole number is expected"),
        ("nprocs", 1.5, "a whole number is expected, not '1.5'"),
        ("timeout", float("nan"), "a time such as 90, 90s, 10m or 2h is expected, not 'NaN'"),
        ("timeout", float("inf"), "a time such as 90, 90s, 10m or 2h is expected, not 'Infinity'"),
        ("timeout", 1e300, "a time above 0 and up to 366 days is expected"),
        ("timeout", "5 weeks", "a time such as 90, 90s, 10m or 2h is expected"),
        ("timeout", -1, "a time above 0"),
        ("expected_time", "soon", "a time such as 90, 90s, 10m or 2h is expected, not 'soon'"),
        ("gpus", 0, "a number above 0 and up to 1,024 is expected, not 0"),
        ("gpus", -0.5, "a number above 0"),
        ("gpus", "all", "a number above 0 is expected, not 'all'"),
        ("env", ["A=1"], "a mapping of names to values is expected, not a list"),
        ("env", {"A=B": "1"}, "'A' is no name of a variable: it is empty or holds '='"),
        ("env", {"": "1"}, "'' is no name of a variable"),
        ("env", {"A": "\0"}, "'A': contains a NUL character"),
        ("env", {"A": ["1"]}, "'A': a text is expected, not a list"),
        ("working_directory", 5.0, None),
        ("working_directory", "a\0b", "contains a NUL character"),
    ],
)
def test_values_for_all_runs(
    tmp_path: Path, key: str, value: object, sentence: Optional[str]
) -> None:
    document = {"remote_output_path": "/o", key: value, "runs": [{"cmd": "a"}]}
    if sentence is None:
        (tmp_path / "batch.json").write_text(json.dumps(document))
        assert len(read_batch(str(tmp_path / "batch.json")).runs) == 1
        return
    (told,) = problems(tmp_path, "batch.json", document)
    assert told.startswith(f"batch.json: {key}: {sentence}")


@pytest.mark.parametrize(
    ("cmd", "sentence"),
    [
        ("", "is empty; write the command to run"),
        (" \n", "is empty; write the command to run"),
        ("a\0b", "contains a NUL character, which no command, variable or path can hold"),
        ("\ud800", "contains half of a surrogate pair, which is no character"),
        pytest.param(
            "x" * 131_072, "is longer than the 128 KiB that a program can be given", id="long"
        ),
        pytest.param(
            "é" * 65_536, "is longer than the 128 KiB that a program can be given", id="long"
        ),
        ({"a": 1}, "a command is a text, or a list of texts, not a mapping"),
        (False, "a command is a text, or a list of texts, not false"),
        (1.5, "a command is a text, or a list of texts, not the number 1.5"),
        (["", "a"], "begins with an empty text; the first of the list is the program"),
        (["a", None], "[1] a text is expected, not null"),
        (["a", ["b"]], "[1] a text is expected, not a list"),
    ],
)
def test_commands(tmp_path: Path, cmd: object, sentence: str) -> None:
    document = {"remote_output_path": "/o", "runs": [{"cmd": "fine"}, {"cmd": cmd}]}
    (told,) = problems(tmp_path, "batch.json", document)
    assert told.startswith(f"batch.json: runs[1].cmd: {sentence}")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("", "is empty"),
        ("../x", "'s3://bucket/out/../x' contains '..'; write the path without it"),
        (".sc/x", "'s3://bucket/out/.sc/x' lies in .sc, which sc keeps for itself"),
        ("s3://bucket/out//.sc", "'s3://bucket/out/.sc' lies in .sc, which sc keeps for itself"),
        ("s3:///x", "'s3:///x' has too few or too many slashes: write s3://…"),
        ("s3:x", "'s3:x' has too few or too many slashes: write s3://…"),
        ("s3://", "'s3://' names no bucket, as in s3://bucket/prefix"),
        ("file://x", "'file://x' has too few or too many slashes: write file:///folder"),
        ("https://x/y", "'https://x/y' is of no kind known"),
        ("/", "'/' is the root of the machine; name a folder in it"),
        ("a\nb", "'s3://bucket/out/a\\nb' contains a control character"),
        ("x\x1b[31m", "'s3://bucket/out/x\\x1b[31m' contains a control character"),
        pytest.param("x" * 1000, "'s3://bucket/out/xxx", id="long key"),
        pytest.param("/" + "x" * 256, "'/xxx", id="long name"),
        (["a"], "a text is expected, not a list"),
    ],
)
def test_output_paths(tmp_path: Path, path: object, sentence: str) -> None:
    document = {
        "remote_output_path": "s3://bucket/out",
        "runs": [{"cmd": "a", "remote_output_path": path}],
    }
    (told,) = problems(tmp_path, "batch.json", document)
    assert told.startswith(f"batch.json: runs[0].remote_output_path: {sentence}")


def clashes(tmp_path: Path, *paths: Optional[str]) -> list[str]:
    runs = [{"cmd": "a", **({"remote_output_path": path} if path else {})} for path in paths]
    told = problems(tmp_path, "b.json", {"remote_output_path": "/o", "runs": runs})
    return [line.replace("b.json: ", "").replace(".remote_output_path", "") for line in told]


def test_two_runs_with_the_same_output_path(tmp_path: Path) -> None:
    assert clashes(tmp_path, "x", "y", "x//", "file:///o/./y", "/o/x") == [
        "runs[2]: '/o/x' is also that of runs[0]",
        "runs[3]: 'file:///o/y' is also that of runs[1]",
        "runs[4]: '/o/x' is also that of runs[0]",
    ]


def test_one_inside_of_another(tmp_path: Path) -> None:
    assert clashes(tmp_path, "x/y/z", "x/yy", "a", "x", "file:///o/a/b") == [
        "runs[0]: '/o/x/y/z' lies inside that of runs[3], '/o/x'",
        "runs[1]: '/o/x/yy' lies inside that of runs[3], '/o/x'",
        "runs[4]: 'file:///o/a/b' lies inside that of runs[2], '/o/a'",
    ]


def test_default_paths_clash_too(tmp_path: Path) -> None:
    assert clashes(tmp_path, None, "0", None, "/o/2/x", "/o") == [
        "runs[1]: '/o/0' is also that of runs[0]",
        *[f"runs[{n}]: '/o/{p}' lies inside that of runs[4], '/o'" for n, p in enumerate("002")],
        "runs[3]: '/o/2/x' lies inside that of runs[2], '/o/2'",
        "runs[3]: '/o/2/x' lies inside that of runs[4], '/o'",
    ]


def test_combinations_of_a_matrix_with_the_same_path(tmp_path: Path) -> None:
    run = {"cmd": "{x}", "remote_output_path": "{x}", "matrix": {"x": ["a", "b", "a"]}}
    (told,) = problems(tmp_path, "b.json", {"remote_output_path": "/o", "runs": [run]})
    assert told == (
        "b.json: runs[0].remote_output_path: '/o/a' is also that of another combination "
        "of its matrix"
    )


def shared(
    tmp_path: Path, *folders: str, nprocs: Optional[int] = None, **options: Any
) -> list[str]:
    """What is told of runs with these folders for their results."""
    runs = [{"cmd": "a", "local_results_dir": folder} for folder in folders]
    document = {"remote_output_path": "/o", "runs": runs, "nprocs": nprocs}
    told = problems(tmp_path, "b.json", document, folder="/work", **options)
    assert all("two runs that are live at once cannot share it" in line for line in told)
    return [
        line.partition(": ")[2].partition(";")[0].replace(".local_results_dir", "") for line in told
    ]


@pytest.mark.parametrize("nprocs", [None, 2])
def test_results_folders_shared_by_live_runs(tmp_path: Path, nprocs: Optional[int]) -> None:
    folders = ["r/a", "/work/r/./a/", "x/../r//a", "/q", "r/a/b", "~/h", os.path.expanduser("~/h")]
    assert shared(tmp_path, *folders, nprocs=nprocs) == [
        "runs[1]: '/work/r/a' is also that of runs[0]",
        "runs[2]: '/work/r/a' is also that of runs[0]",
        f"runs[6]: {os.path.expanduser('~/h')!r} is also that of runs[5]",
        "runs[4]: '/work/r/a/b' lies inside that of runs[0], '/work/r/a'",
    ]


def test_results_folders_shared_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    runs = [{"cmd": "a", "local_results_dir": "r"}] * 3
    path.write_text(json.dumps({"remote_output_path": "/o", "runs": runs}))
    assert len(read_batch(str(path), nprocs=1).runs) == 3
    assert len(read_batch(str(path), at_once=1).runs) == 3
    with pytest.raises(InputError, match="local_results_dir"):
        read_batch(str(path), nprocs=1, at_once=2)
    with pytest.raises(InputError, match="local_results_dir"):
        read_batch(str(path))


def test_results_folders_shared_by_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "deep").symlink_to("link/b")
    folders = [f"{tmp_path}/{name}" for name in ("a/b", "link/b", "deep", "link/c")]
    assert [line.partition(":")[0] for line in shared(tmp_path, *folders)] == ["runs[1]", "runs[2]"]


def test_results_folders_shared_by_two_of_many_runs(tmp_path: Path) -> None:
    folders = [f"/r/{number % 4999}" for number in range(5000)]
    assert shared(tmp_path, *folders) == ["runs[4999]: '/r/0' is also that of runs[0]"]


DEEP_RUN = '{"runs": [' + "[" * 90_000
DEEP_JSON = '{"jobs": ' + "[" * 90_000


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("b.json", "", "is empty; it has to hold at least one run."),
        ("b.json", " \n", "is empty; a JSON object {…} is expected"),
        ("b.json", "[1]", "holds a list; a JSON object {…} is expected"),
        ("b.json", "runs: []", "is not JSON; a JSON object {…} is expected"),
        ("b.json", '{"runs": [{"cmd": "a"},\n {"cmd":', "line 2, column 9: the text ends too"),
        ("b.json", '{"runs": [\n {"cmd": "a"},]}', "line 2, column 15: expecting value"),
        ("b.json", '{"runs": [{"cmd": "a" "b"}]}', "line 1, column 23: expecting ',' delimiter"),
        ("b.json", '{"runs": []} x', "line 1, column 14: there is more text after the end"),
        ("b.json", '{"runs" []}', "line 1, column 9: ':' is expected"),
        ("b.json", "{'runs': []}", "line 1, column 2: a key in double quotes is expected"),
        ("b.json", '{"runs": [{"cmd": 1, "cmd": 2}]}', "line 1, column 11: the key 'cmd' is there"),
        ("b.json", '{"nprocs": 1, "nprocs": 2}', "line 1, column 24: the key 'nprocs' is there"),
        pytest.param("b.json", DEEP_JSON, "line 1, column 10: is nested too deeply", id="deep"),
        pytest.param("b.json", DEEP_RUN, "line 1, column 11: is nested too deeply", id="deep run"),
        ("b.json", b"\xff\xfe{\0}\0", "is written in UTF-16; save it as UTF-8."),
        ("b.json", b'{"a": "\xe9"}', "is not UTF-8 text (byte 0xe9 at offset 7); save it"),
        ("b.yaml", "# nothing\n", "is empty; a batch is a mapping with remote_output_path and"),
        ("b.yaml", "- cmd: a\n", "holds a list; a batch is a mapping with remote_output_path"),
        ("b.yaml", "echo hello\n", "holds 'echo hello'; a batch is a mapping"),
        ("b.yaml", "runs:\n\t- cmd: a", "line 2, column 1: is not YAML: found character"),
        ("b.yaml", 'runs:\n- cmd: "x\n', "line 3, column 1: is not YAML: found unexpected end"),
        ("b.yaml", "runs: [{cmd: a, cmd: b}]", "line 1, column 17: the key 'cmd' is there twice"),
        ("b.yaml", "runs: !!python/object:x []", "line 1, column 7: the tag 'tag:yaml.org,2002:p"),
        ("b.yaml", "runs: *x", "line 1, column 7: the alias *x has no anchor before it"),
        ("b.yaml", "runs: &x [*x]", "line 1, column 11: the alias *x has no anchor before it"),
        ("b.yaml", "runs: " + "[" * 51, "line 1, column 56: is nested more than 50 levels deep"),
        ("b.yaml", "a: 1\n---\nb: 2\n", "line 2, column 1: a second document begins here"),
        ("b.yaml", "[a]: 1", "line 1, column 1: a key has to be a text"),
        ("b.yaml", "<<: 5\n", "line 1, column 1: << takes a mapping, or a list of them"),
        ("b.yaml", "cmd: 'a\0'", "is not YAML text: the character U+0000 at position 7 is not"),
        ("b.txt", "a\nb\n", "remote_output_path: is missing; give --remote-output-path PLACE"),
    ],
)
def test_files_that_are_no_batch(tmp_path: Path, name: str, content: object, sentence: str) -> None:
    told = problems(tmp_path, name, content)
    assert told[0].startswith(f"{name}: {sentence}")
    assert len(told) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("# nothing\n\n", "runs: there is none; a batch has at least one run"),
        ("a\n\n# c\nb\0\n", "line 4.cmd: contains a NUL character"),
        pytest.param("a\n" + "x" * 1_000_000 + "\nb", "line 2.cmd: is longer than", id="long"),
    ],
)
def test_lists_of_commands(tmp_path: Path, content: str, sentence: str) -> None:
    (told,) = problems(tmp_path, "b.txt", content, remote_output_path="/o")
    assert told.startswith(f"b.txt: {sentence}")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"remote_output_path": "/o", "runs": []}, "runs: there is none"),
        ({"remote_output_path": "/o"}, "runs: a list of runs is expected, not nothing"),
        ({"remote_output_path": "/o", "runs": {}}, "runs: a list of runs is expected, not a map"),
        ({"runs": [{"cmd": "a"}]}, "remote_output_path: is missing; add it, or give --remote-out"),
    ],
)
def test_what_has_to_be_there(tmp_path: Path, document: object, sentence: str) -> None:
    (told,) = problems(tmp_path, "b.json", document)
    assert told.startswith(f"b.json: {sentence}")


def test_options_that_are_wrong(tmp_path: Path) -> None:
    document = {"remote_output_path": "/o", "runs": [{"cmd": "a"}]}
    told = problems(tmp_path, "b.json", document, remote_output_path="s3:x", nprocs=0)
    assert [line.split(": ")[1] for line in told] == ["--remote-output-path", "--nprocs"]


def test_things_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "secret").write_text("a")
    (tmp_path / "secret").chmod(0)
    expected = {
        "missing": "there is no such file.",
        ".": "is a folder; name a file in it.",
        "pipe": "is a pipe; name it `-` and connect it to standard input.",
        "/dev/zero": "is a device or a socket, not a file.",
        "x" * 300: "cannot be opened: File name too long.",
    }
    if os.geteuid() != 0:
        expected["secret"] = "cannot be opened: Permission denied."
    for name, sentence in expected.items():
        path = os.path.join(tmp_path, name)
        with pytest.raises(InputError) as caught:
            read_batch(path)
        assert str(caught.value) == f"{path}: {sentence}"


def test_a_name_with_a_nul() -> None:
    with pytest.raises(InputError, match="is no name of a file"):
        read_batch("a\0b")


def test_an_alias_bomb_shares_its_values_and_ends_in_a_sentence(tmp_path: Path) -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
    told = problems(tmp_path, "b.yaml", f"a0: &a0 [x]\n{levels}runs: *a39\nnprocs: *a39\n")
    assert "b.yaml: nprocs: a whole number is expected, not a list" in told


PARSERS = [PythonParser, *filter(None, [fast_parser(sys.path)])]


@pytest.mark.parametrize("parser", PARSERS)
def test_both_parsers_of_yaml_read_the_same(parser: Any) -> None:
    text = "a: [1, '2', ~, null, '', 0.10]\nb:\n  c: |\n    x\n    y\n  d: \"\\t\"\n  e:\n"
    assert read_yaml(iter([text]), parser) == {
        "a": ["1", "2", None, None, "", "0.10"],
        "b": {"c": "x\ny\n", "d": "\t", "e": None},
    }
    for wrong in ("a: [", "a: 'x", "\x07", "a: b: c", "%YAML x"):
        with pytest.raises(YamlError):
            read_yaml(iter([wrong]), parser)
