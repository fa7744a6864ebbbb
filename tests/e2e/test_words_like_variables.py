"""Words that look like variables, and names of a matrix: the real sc.pyz fills them in where a person expects it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.program import Program
from tests.servers import S3Server


def write(folder: Path, runs: list[dict[str, Any]], **head: Any) -> None:
    (folder / "b.json").write_text(json.dumps({"remote_output_path": "out", **head, "runs": runs}))


def around(folder: Path) -> Mapping[str, str]:
    (folder / "home").mkdir()
    return {"HOME": str(folder / "home"), "DATA": str(folder / "data"), "ODD": f"{folder}/a$HOME"}


def codes(folder: Path) -> list[str]:
    """The places of all runs that have ended, below the folder."""
    return sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("status_code"))


def test_places_are_filled_in_alike_for_batch_run_and_option(
    program: Program, tmp_path: Path
) -> None:
    own = ["~/b", "$DATA/c", "${DATA}/d", "e", "file://" + str(tmp_path / "$DATA")]
    write(tmp_path, [{"cmd": "true", "remote_output_path": one} for one in own])
    environment = around(tmp_path)
    for place, below in (("~/o", "home/o"), ("$DATA/o", "data/o")):
        words = ["b.json", "--remote-output-path", place]
        ran = program.run("batch", *words, "--quiet", cwd=tmp_path, environment=environment)
        assert ran.returncode == 0, ran.stderr
        told = program.run("summarize-batch", *words, cwd=tmp_path, environment=environment)
        assert told.stderr == "sc: 5 runs: 5 completed\n"
        assert f"{below}/e" in codes(tmp_path)
    assert codes(tmp_path) == ["$DATA", "data/c", "data/d", "data/o/e", "home/b", "home/o/e"]


def test_folder_with_a_dollar_is_the_same_for_a_whole_job(program: Program, tmp_path: Path) -> None:
    write(tmp_path, [{"cmd": "echo hello"}] * 3, remote_output_path="$ODD/o")
    (tmp_path / "r.yaml").write_text("type: job\nspec: {name: t, instance_type: local}\n")
    environment = around(tmp_path)

    def say(*words: str) -> str:
        ran = program.run(*words, cwd=tmp_path, environment=environment)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    say("split", "r.yaml", "b.json", "commands")
    say("apply", "commands/recipe.yaml", "--start", "--wait")
    assert codes(tmp_path) == [f"a$HOME/o/{number}" for number in range(3)]
    assert say("logs", "commands", "1") == "hello\n"
    assert say("logs", "b.json", "1") == "hello\n"


def test_names_of_a_matrix_are_filled_in_everywhere(program: Program, tmp_path: Path) -> None:
    cmd = (
        "pwd; echo {x} {{x}} ${{x}} \"$A\" $(echo 1 | awk '{print}') '{{.ID}}'; "
        "echo {x} >$SATURN_RUN_LOCAL_RESULTS_DIR/file; sleep 0.2"
    )
    run = {
        "cmd": cmd,
        "env": {"A": "<{x}>"},
        "working_directory": "in-{x}",
        "local_results_dir": "results-{x}",
        "matrix": {"x": ["a", "b"]},
    }
    for name in ("a", "b"):
        (tmp_path / f"in-{name}").mkdir()
    write(tmp_path, [run], nprocs=2)
    ran = program.run("batch", "b.json", "--quiet", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for number, name in enumerate("ab"):
        place = tmp_path / "out" / str(number)
        told = f"{tmp_path}/in-{name}\n{name} {{x}} <{name}> 1 {{{{.ID}}}}\n"
        assert (place / "stdout").read_text() == told
        assert (place / "results" / "file").read_text() == f"{name}\n"


def test_one_results_folder_one_run_at_a_time(program: Program, tmp_path: Path) -> None:
    """The option says it, not the file; and whoever only looks at the batch need not say it again."""
    write(tmp_path, [{"cmd": "true", "local_results_dir": "r"}] * 3)
    ran = program.run("batch", "b.json", "--quiet", "--nprocs", "1", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for words in (
        ["summarize-batch", "b.json"],
        ["pull", "b.json", "here"],
        ["logs", "b.json", "1"],
    ):
        assert program.run(*words, cwd=tmp_path).returncode == 0
    ran = program.run("rerun", "b.json", "0", "1", "2", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_keys_are_left_to_the_letter_and_scripts_in_a_bucket_refused(
    program: Program, tmp_path: Path, seaweed: S3Server, bucket: str
) -> None:
    client = seaweed.client()
    for name in ("x.sh", "x.txt"):
        client.put_object(Bucket=bucket, Key=name, Body=b"echo one\n")
    place = f"s3://{bucket}/out/$HOME"

    def batch(name: str) -> tuple[int, str]:
        words = ["batch", f"s3://{bucket}/{name}", "--remote-output-path", place, "--quiet"]
        ran = program.run(*words, cwd=tmp_path, environment=seaweed.environment())
        return ran.returncode, ran.stderr

    code, told = batch("x.sh")
    assert (code, "cmd: sh x.sh" in told) == (2, True)
    assert batch("x.txt") == (0, "")
    found = client.get_object(Bucket=bucket, Key="out/$HOME/0/stdout")["Body"].read()
    assert found == b"one\n"
