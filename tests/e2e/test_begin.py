"""A job of this machine begins where it was split, wherever `sc apply` is called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.program import Program

BATCH = {
    "nprocs": 1,
    "runs": [
        {"cmd": "pwd"},
        {"cmd": ["pwd"], "working_directory": "src"},
        {"cmd": "touch rel/x", "local_results_dir": "rel"},
    ],
}


@pytest.fixture
def project(tmp_path: Path, program: Program) -> Path:
    """A folder in which a batch was split, into `commands` beside it."""
    folder = tmp_path / "project"
    (folder / "src" / "src").mkdir(parents=True)
    batch = {**BATCH, "remote_output_path": str(tmp_path / "out")}
    (folder / "b.json").write_text(json.dumps(batch))
    spec = {"name": "j", "instance_type": "local", "start_script": "pwd > started"}
    (folder / "r.json").write_text(json.dumps({"type": "job", "spec": spec}))
    done = program.run("split", "r.json", "b.json", "../commands", cwd=folder)
    assert done.returncode == 0, done.stderr
    (tmp_path / "else").mkdir()
    return folder


def stdout(tmp_path: Path, run: int) -> str:
    return (tmp_path / f"out/{run}/stdout").read_text().strip()


def test_apply_from_another_folder_begins_where_it_was_split(
    project: Path, tmp_path: Path, program: Program
) -> None:
    elsewhere = tmp_path / "else"
    words = ("apply", "../commands/recipe.yaml", "--start", "--wait")
    done = program.run(*words, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert [stdout(tmp_path, run) for run in (0, 1)] == [str(project), str(project / "src")]
    assert (tmp_path / "out/2/results/x").is_file()
    assert (project / "started").read_text().strip() == str(project)
    assert list(elsewhere.iterdir()) == []
    recipe = tmp_path / "commands/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("spec:\n", "spec:\n  working_directory: src\n"))
    done = program.run(*words, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert [stdout(tmp_path, run) for run in (0, 1)] == [
        str(project / "src"),
        str(project / "src/src"),
    ]
    again = program.run("rerun", "../commands", "0", cwd=elsewhere)
    assert again.stdout == f"{stdout(tmp_path, 0)}\n"


def test_apply_where_the_folder_is_gone_is_one_sentence(
    project: Path, tmp_path: Path, program: Program
) -> None:
    shutil.move(project, tmp_path / "moved")
    for words in (("--start",), ()):
        done = program.run("apply", "commands/recipe.yaml", *words, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert str(project) in done.stderr
    assert not (tmp_path / "out").exists()
    recipe = tmp_path / "commands/recipe.yaml"
    there = f"spec:\n  working_directory: {tmp_path / 'moved'}\n"
    recipe.write_text(recipe.read_text().replace("spec:\n", there))
    done = program.run("apply", str(recipe), "--start", "--wait", cwd=tmp_path / "else")
    assert done.returncode in (0, 1), done.stderr
    assert stdout(tmp_path, 0) == str(tmp_path / "moved")


def test_apply_of_what_an_earlier_version_split_begins_where_it_is_called(
    project: Path, tmp_path: Path, program: Program
) -> None:
    manifest = tmp_path / "commands/.sc-split.json"
    known = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({key: known[key] for key in known if key != "folder"}))
    program.run("apply", "../commands/recipe.yaml", "--start", "--wait", cwd=tmp_path / "else")
    assert stdout(tmp_path, 0) == str(tmp_path / "else")
