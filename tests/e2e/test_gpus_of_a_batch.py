"""What `gpus` does on a machine that has two, and on one that has fewer than a run asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import Program

TWO = {"CUDA_VISIBLE_DEVICES": "0,1"}


def written(folder: Path, runs: list[dict[str, Any]], **batch: Any) -> Path:
    path = folder / "batch.json"
    document = {"remote_output_path": str(folder / "out"), "runs": runs, **batch}
    path.write_text(json.dumps(document))
    return path


def recipe(folder: Path, instance_type: str) -> Path:
    path = folder / "recipe.json"
    path.write_text(
        json.dumps({"type": "job", "spec": {"name": "g", "instance_type": instance_type}})
    )
    return path


def test_batch_with_half_gpus_uses_both_gpus_twice(program: Program, tmp_path: Path) -> None:
    """Each waits until all four have begun."""
    wait = (
        f"touch {tmp_path}/$SATURN_RUN_LOCAL_RANK; until [ -e {tmp_path}/3 ]; do sleep 0.05; done"
    )
    runs = [{"cmd": f"{wait}; echo $CUDA_VISIBLE_DEVICES", "timeout": 100}] * 4
    batch = written(tmp_path, runs, gpus=0.5)
    done = program.run("batch", str(batch), cwd=tmp_path, environment=TWO)
    assert done.returncode == 0, done.stderr
    used = [(tmp_path / f"out/{number}/stdout").read_text() for number in range(4)]
    assert sorted(used) == ["0\n", "0\n", "1\n", "1\n"]


@pytest.mark.parametrize("command", ["batch", "split", "split --start"])
def test_gpus_above_what_this_machine_has_are_refused_before_any_effect(
    program: Program, tmp_path: Path, command: str
) -> None:
    batch = written(tmp_path, [{"cmd": "true"}, {"cmd": "true", "gpus": 4}])
    word, *more = command.split()
    words = [word, str(batch)]
    if word == "split":
        words = [word, str(recipe(tmp_path, "local")), str(batch), str(tmp_path / "parts"), *more]
    done = program.run(*words, cwd=tmp_path, environment=TWO)
    assert done.returncode == 2, done.stderr
    assert "runs[1].gpus: a run asks for 4 GPUs, and this machine has 2 GPUs" in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "parts").exists()


def test_gpus_above_what_a_type_of_ec2_has_are_refused_while_splitting(
    program: Program, tmp_path: Path
) -> None:
    batch = written(tmp_path, [{"cmd": "true"}], gpus=2)
    words = ["split", str(recipe(tmp_path, "g5.xlarge")), str(batch), str(tmp_path / "parts")]
    done = program.run(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "a run asks for 2 GPUs, and g5.xlarge has 1 GPU" in done.stderr


def test_a_run_that_cannot_have_its_gpus_says_so_in_its_stderr(
    program: Program, tmp_path: Path
) -> None:
    batch = written(tmp_path, [{"cmd": "true"}, {"cmd": "true", "gpus": 4}])
    done = program.run("rerun", str(batch), "1", "--save", cwd=tmp_path, environment=TWO)
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "out/1/status_code").read_text() == "126"
    assert "asks for 4 GPUs" in (tmp_path / "out/1/stderr").read_text()
