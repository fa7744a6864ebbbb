"""Batches as people write them: what is understood, and how."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sc.documents import read_batch, read_batch_file
from sc.errors import InputError
from sc.model import Batch, Run

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def writer(name: str, text: str) -> str:
        (tmp_path / name).write_bytes(text.encode())
        return str(tmp_path / name)

    return writer


def runs_of(batch: Batch) -> list[Run]:
    runs = list(batch.runs)
    assert len(runs) == len(batch.runs)
    assert list(batch.runs) == runs  # read anew, the same again
    return runs


BACKFILL = """\
nprocs: 4
remote_output_path: s3://bucket/backfill/
runs:
- cmd: python enrich.py --start-dt 2023-12-31 --end-dt 2024-01-02
  remote_output_path: s3://bucket/backfill/2024-01-01
- cmd: [python, enrich.py, --lr, 1e-3, --on, 2024-01-01]
"""
BACKFILL_RUNS = [
    Run(
        "python enrich.py --start-dt 2023-12-31 --end-dt 2024-01-02",
        "s3://bucket/backfill/2024-01-01",
    ),
    Run(
        ("python", "enrich.py", "--lr", "1e-3", "--on", "2024-01-01"),
        "s3://bucket/backfill/1",
    ),
]


def test_yaml(write: Write) -> None:
    batch = read_batch(write("batch.yaml", BACKFILL))
    assert (batch.nprocs, batch.remote_output_path) == (4, "s3://bucket/backfill")
    assert runs_of(batch) == BACKFILL_RUNS


def test_json_with_the_head_at_the_end_and_a_byte_order_mark(write: Write) -> None:
    text = """\ufeff {
      "runs": [
        {"cmd": "python enrich.py --start-dt 2023-12-31 --end-dt 2024-01-02",
         "remote_output_path": "s3://bucket/backfill/2024-01-01"},
        {"cmd": ["python", "enrich.py", "--lr", 1e-3, "--on", "2024-01-01"]}
      ], "remote_output_path": "s3://bucket/backfill/", "nprocs": 4}
    """
    batch = read_batch(write("batch.json", text))
    assert (batch.nprocs, batch.remote_output_path) == (4, "s3://bucket/backfill")
    assert runs_of(batch) == BACKFILL_RUNS


def test_a_list_of_commands(write: Write) -> None:
    path = write("commands.txt", "echo 1\r\n\n  # no\n\techo '# 2' \necho\u2028 3")
    batch = read_batch(path, remote_output_path="/out", nprocs=3)
    assert (batch.nprocs, batch.remote_output_path) == (3, "/out")
    commands = ["echo 1", "echo '# 2'", "echo\u2028 3"]
    assert runs_of(batch) == [Run(cmd, f"/out/{n}") for n, cmd in enumerate(commands)]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("a\r\nb\r\n", ["a", "b"]),
        ("\ufeffa\n", ["a"]),
        ("a\\\\\nb # \\ x\n# c \\\nd", ["a\\\\", "b # \\ x", "d"]),
        ("##SBATCH -n 1\n#PBS is gone\n# #BSUB -n\n#a\nb", ["b"]),
        ("cat <<< EOF\nEOF\necho $((1<<4))\n4\n", ["cat <<< EOF", "EOF", "echo $((1<<4))", "4"]),
        ("echo a << b", ["echo a << b"]),
        ('[ "$A" = b ] && c', ['[ "$A" = b ] && c']),
        ("{ a; }\nb", ["{ a; }", "b"]),
        ("a #!b\nb", ["a #!b", "b"]),
    ],
)
def test_a_list_with_odd_lines(write: Write, text: str, commands: list[str]) -> None:
    batch = read_batch(write("list.txt", text), remote_output_path="/out")
    assert [run.cmd for run in runs_of(batch)] == commands


@pytest.mark.parametrize("name", ["batch", "b.conf", "b.txt.bak", "b.sh"])
@pytest.mark.parametrize(
    "text",
    [
        '{"remote_output_path": "/out", "runs": [{"cmd": "a"}]}',
        "nprocs: 2\nremote_output_path: /out\nruns: [{cmd: a}]\n",
        "--- {runs: [{cmd: a}], remote_output_path: /out}\n",
    ],
)
def test_a_batch_of_another_ending_is_told_by_its_looks(write: Write, name: str, text: str) -> None:
    assert runs_of(read_batch(write(name, text))) == [Run("a", "/out/0")]


def test_a_script_in_a_bucket_is_refused_by_its_own_name(tmp_path: Path) -> None:
    def fetch(place: str, path: str) -> None:
        Path(path).write_text("cd build\nrm -rf ./*\n")

    with pytest.raises(InputError, match=r"^s3://b/x.sh: is no batch: .* cmd: sh x\.sh\.$"):
        read_batch("s3://b/x.sh", fetch=fetch, remote_output_path="/out")
    assert len(read_batch("s3://b/x.txt", fetch=fetch, remote_output_path="/out").runs) == 2


def test_files_of_saturns_client(write: Write) -> None:
    run = {
        "remote_output_path": "sfs://internal/hugo/x/1",
        "cmd": "ls",
        "local_results_dir": "/tmp/6b/",
        "status_code": None,
        "status": None,
    }
    text = json.dumps({"runs": [run], "remote_output_path": "sfs://internal/hugo/x/", "nprocs": 16})
    assert runs_of(read_batch(write("0.json", text))) == [
        Run("ls", "sfs://internal/hugo/x/1", local_results_dir="/tmp/6b/")
    ]


def test_what_the_batch_says_for_all_and_a_run_for_itself(write: Write) -> None:
    text = """
remote_output_path: /out
timeout: 10m
retries: 2
env: {A: 0.10, B: yes}
gpus: 0.5
working_directory: /work
runs:
- cmd: a
- {cmd: b, timeout: 2h, retries: 0, env: {B: '', C: 2024-01-01}, gpus: 2, working_directory: src}
- {cmd: c, timeout: null, local_results_dir: null}
- {cmd: "true", timeout: 1.5, expected_time: 2h}
"""
    assert runs_of(read_batch(write("batch.yml", text))) == [
        Run("a", "/out/0", None, 600.0, 2, {"A": "0.10", "B": "yes"}, 0.5, "/work"),
        Run("b", "/out/1", None, 7200.0, 0, {"A": "0.10", "B": "", "C": "2024-01-01"}, 2.0, "src"),
        Run("c", "/out/2", None, 600.0, 2, {"A": "0.10", "B": "yes"}, 0.5, "/work"),
        Run("true", "/out/3", None, 1.5, 2, {"A": "0.10", "B": "yes"}, 0.5, "/work", 7200.0),
    ]


@pytest.mark.parametrize(("more", "has"), [("", False), (", expected_time: 5", True)])
def test_a_batch_knows_whether_times_are_expected(write: Write, more: str, has: bool) -> None:
    text = f"remote_output_path: /out\nruns:\n- cmd: a\n- {{cmd: b{more}}}\n"
    assert read_batch(write("batch.yaml", text)).has_expected_times == has


def test_yaml_anchors_and_merges(write: Write) -> None:
    text = """
remote_output_path: /out
runs:
- &first {cmd: a, env: &env {X: 1}, retries: 1}
- {<<: *first, cmd: b}
- {cmd: c, env: {<<: [*env], Y: 2}}
- {cmd: d, env: *env}
"""
    assert [(run.cmd, run.env, run.retries) for run in read_batch(write("b.yaml", text)).runs] == [
        ("a", {"X": "1"}, 1),
        ("b", {"X": "1"}, 1),
        ("c", {"X": "1", "Y": "2"}, 0),
        ("d", {"X": "1"}, 0),
    ]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("2024-01-01", "s3://bucket/out/2024-01-01"),
        ("a//b/./c/", "s3://bucket/out/a/b/c"),
        ("s3://other//x/", "s3://other/x"),
        ("S3://other/x", "s3://other/x"),
        ("sfs://internal/hugo/x", "sfs://internal/hugo/x"),
        ("file:///folder/x/", "file:///folder/x"),
        ("/folder/é", "/folder/é"),
        ("a b", "s3://bucket/out/a b"),
        ("x.sc", "s3://bucket/out/x.sc"),
    ],
)
def test_output_paths(write: Write, written: str, path: str) -> None:
    document = {
        "remote_output_path": "s3://bucket/out/",
        "runs": [{"cmd": "a", "remote_output_path": written}],
    }
    batch = read_batch(write("batch.json", json.dumps(document)))
    assert [run.remote_output_path for run in batch.runs] == [path]


@pytest.mark.parametrize(
    ("written", "path"),
    [("out/", "/here/out"), ("./out", "/here/out"), ("../out", "/out"), ("s3://b", "s3://b")],
)
def test_a_relative_batch_path_begins_in_the_current_folder(
    write: Write, written: str, path: str
) -> None:
    text = json.dumps({"remote_output_path": written, "runs": [{"cmd": "a"}]})
    batch = read_batch(write("batch.json", text), folder="/here")
    assert batch.remote_output_path == path
    assert [run.remote_output_path for run in batch.runs] == [f"{path}/0"]


def test_options_win_over_the_file(write: Write) -> None:
    text = """
nprocs: 4
remote_output_path: s3://bucket/old
runs: [{cmd: a}, {cmd: b, remote_output_path: b}, {cmd: c, remote_output_path: s3://bucket/old/c}]
"""
    batch = read_batch(write("b.yaml", text), remote_output_path="s3://bucket/new/", nprocs=7)
    assert (batch.nprocs, batch.remote_output_path) == (7, "s3://bucket/new")
    assert [run.remote_output_path for run in batch.runs] == [
        "s3://bucket/new/0",
        "s3://bucket/new/b",
        "s3://bucket/old/c",
    ]


class TestMatrix:
    def runs(self, write: Write, **run: Any) -> list[Run]:
        document = {"remote_output_path": "/out", "runs": [{"cmd": "first"}, run, {"cmd": "last"}]}
        runs = runs_of(read_batch(write("batch.json", json.dumps(document))))
        assert (runs[0], runs[-1]) == (Run("first", "/out/0"), Run("last", f"/out/{len(runs) - 1}"))
        return runs[1:-1]

    def test_every_combination_the_last_name_fastest(self, write: Write) -> None:
        runs = self.runs(
            write,
            cmd=["train", "--lr={lr}", "{seed}"],
            env={"SEED": "<{seed}>"},
            remote_output_path="lr{lr}/{seed}",
            matrix={"lr": [0.5, "1e-3"], "seed": [1, 2]},
        )
        assert runs == [
            Run(("train", "--lr=0.5", "1"), "/out/lr0.5/1", env={"SEED": "<1>"}),
            Run(("train", "--lr=0.5", "2"), "/out/lr0.5/2", env={"SEED": "<2>"}),
            Run(("train", "--lr=1e-3", "1"), "/out/lr1e-3/1", env={"SEED": "<1>"}),
            Run(("train", "--lr=1e-3", "2"), "/out/lr1e-3/2", env={"SEED": "<2>"}),
        ]

    def test_other_braces_and_filled_in_ones_stay(self, write: Write) -> None:
        cmd = "awk '{print $1}' ${HOME} {x} {{x}} {y}"
        runs = self.runs(write, cmd=cmd, matrix={"x": ["{y}", "{x}"]})
        assert [run.cmd for run in runs] == [
            "awk '{print $1}' ${HOME} {y} {x} {y}",
            "awk '{print $1}' ${HOME} {x} {x} {y}",
        ]

    @pytest.mark.parametrize(
        ("written", "text"),
        [
            ("{x}", "1"),
            ("{{x}}", "{x}"),
            ("{{{x}}}", "{1}"),
            ("{{{{x}}}}", "{{x}}"),
            ("${{x}}", "${x}"),
            ('{"a":{"b":{x}}}', '{"a":{"b":1}}'),
            ("{{x}: 2}", "{1: 2}"),
            ("{x}{x}{{x}}", "11{x}"),
            ("$x ${x:-2} ${#x} ${xx} ${y}", "$x ${x:-2} ${#x} ${xx} ${y}"),
            ("awk '{print}'", "awk '{print}'"),
            ("docker inspect -f '{{.ID}} {{ID}} {{ x }}'", "docker inspect -f '{{.ID}} {{ID}} {{ x }}'"),
            ('{"x": {}, "y": {"z": 1}} {1..9} {a,b} { x; } {x', '{"x": {}, "y": {"z": 1}} {1..9} {a,b} { x; } {x'),
            ("{" * 50_000 + "x", "{" * 50_000 + "x"),
        ],
    )  # fmt: skip
    def test_braces_around_names_only(self, write: Write, written: str, text: str) -> None:
        (run,) = self.runs(write, cmd=[written], matrix={"x": [1]})
        assert run.cmd == (text,)

    def test_braces_without_a_matrix_stay(self, write: Write) -> None:
        (run,) = self.runs(write, cmd="{x} {{x}} ${x}", env={"A": "{{x}}"}, matrix=None)
        assert (run.cmd, run.env) == ("{x} {{x}} ${x}", {"A": "{{x}}"})

    def test_folders_of_a_run_are_filled_in(self, write: Write) -> None:
        folders = {"local_results_dir": "/r/{x}", "working_directory": "~/{x}{{x}}"}
        runs = self.runs(write, cmd="c", matrix={"x": ["a", "b"]}, **folders)
        assert [(run.local_results_dir, run.working_directory) for run in runs] == [
            ("/r/a", "~/a{x}"),
            ("/r/b", "~/b{x}"),
        ]

    def test_a_name_that_is_nearly_one_is_told_and_allowed(self, write: Write) -> None:
        run = {
            "cmd": "{lrr} {LR} {lr} {print} {seed} {{sed}}",
            "working_directory": "{seeds}",
            "matrix": {"lr": [1], "seed": [2]},
        }
        document = {"remote_output_path": "/o", "env": {"A": "{lr}"}, "runs": [run]}
        told: list[str] = []
        path = write("b.json", json.dumps(document))
        (made,) = read_batch(path, tell=told.append).runs
        assert made.cmd == "{lrr} {LR} 1 {print} 2 {{sed}}"
        assert [line[len(path) + 2 :] for line in told] == [
            "runs[0]: {LR} is no name of its matrix and stays as it is, did you mean {lr}?",
            "runs[0]: {lrr} is no name of its matrix and stays as it is, did you mean {lr}?",
            "runs[0]: {seeds} is no name of its matrix and stays as it is, did you mean {seed}?",
            "runs[0].matrix: nothing is filled in in the env of the batch; write it into the run",
        ]

    def test_without_a_path_the_runs_are_numbered_through(self, write: Write) -> None:
        runs = self.runs(write, cmd="{x}", matrix={"x": [True, 0.10, "a"]})
        assert runs == [Run("true", "/out/1"), Run("0.1", "/out/2"), Run("a", "/out/3")]

    def test_a_path_that_lacks_a_name_gets_numbers_below(self, write: Write) -> None:
        matrix = {"x": ["a", "b"], "y": [1, 2]}
        runs = self.runs(write, cmd="{x} {y}", remote_output_path="o/{x}", matrix=matrix)
        paths = [run.remote_output_path for run in runs]
        assert paths == ["/out/o/a/0", "/out/o/a/1", "/out/o/b/2", "/out/o/b/3"]

    def test_one_value_needs_no_number(self, write: Write) -> None:
        matrix = {"x": ["a", "b"], "y": [1]}
        runs = self.runs(write, cmd="{x} {y}", remote_output_path="o/{x}", matrix=matrix)
        assert [run.remote_output_path for run in runs] == ["/out/o/a", "/out/o/b"]

    def test_yaml_numbers_keep_their_spelling(self, write: Write) -> None:
        text = "remote_output_path: /o\nruns: [{cmd: 'x {n}', matrix: {n: [0.10, 1e-3, 007, no]}}]"
        batch = read_batch(write("batch.yaml", text))
        assert [run.cmd for run in batch.runs] == ["x 0.10", "x 1e-3", "x 007", "x no"]

    def test_a_name_asked_for_nowhere_is_told_and_allowed(self, write: Write) -> None:
        path = write("b.yaml", "remote_output_path: /o\nruns: [{cmd: x, matrix: {rep: [1, 2]}}]")
        told: list[str] = []
        assert len(read_batch(path, tell=told.append).runs) == 2
        assert told == [f"{path}: runs[0].matrix: {{rep}} is asked for nowhere in this run"]


@pytest.mark.parametrize(
    ("text", "cmd"),
    [
        ('{"remote_output_path": "/o", "runs": [{"cmd": "a"}]}', "a"),
        ("remote_output_path: /o\nruns:\n- cmd: b\n", "b"),
        ("# my commands\n{ c; }\n", "{ c; }"),
        ("{remote_output_path: /o, runs: [{cmd: d}]}", "d"),
        ("'runs':\n- cmd: e\nremote_output_path: /o\n", "e"),
    ],
)
def test_what_comes_from_a_pipe_is_told_by_its_looks(text: str, cmd: str) -> None:
    batch = read_batch("-", stdin=io.BytesIO(text.encode()), remote_output_path="/out")
    assert runs_of(batch) == [Run(cmd, "/out/0")]


def test_a_batch_in_a_bucket_is_fetched_and_the_copy_is_gone(tmp_path: Path) -> None:
    fetched = []

    def fetch(place: str, path: str) -> None:
        fetched.append(path)
        Path(path).write_text(BACKFILL)

    batch = read_batch("s3://bucket/batch.yaml", fetch=fetch)
    assert len(fetched) == 1
    assert not os.path.exists(fetched[0])
    assert runs_of(batch) == BACKFILL_RUNS


def test_a_local_copy_may_be_removed_and_errors_go_by_the_name_shown(write: Write) -> None:
    path = write("copy", '{"remote_output_path": "/out", "runs": [{"cmd": "a"}]}')
    batch = read_batch_file(path, "s3://bucket/batch.json")
    os.remove(path)
    assert runs_of(batch) == [Run("a", "/out/0")]
    with pytest.raises(InputError, match=r"^s3://bucket/b.json: line 1, column 2: "):
        read_batch_file(write("copy", "{}}"[:1]), "s3://bucket/b.json")


def test_a_file_that_changes_meanwhile_is_noticed(write: Write, tmp_path: Path) -> None:
    text = json.dumps({"remote_output_path": "/out", "runs": [{"cmd": "a"}, {"cmd": "b"}]})
    path = write("batch.json", text)
    batch = read_batch(path)
    with open(path, "a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="changed while sc was reading it"):
        list(batch.runs)


def test_much_yaml_is_told_to_be_slow(write: Write) -> None:
    comment = f"# {'x' * 78}\n" * 70_000
    path = write("batch.yaml", "remote_output_path: /out\nruns: [{cmd: a}]\n" + comment)
    told: list[str] = []
    assert len(read_batch(path, tell=told.append).runs) == 1
    assert len(told) == 1
    assert "as JSON" in told[0]
