"""Every example as its README says, and the nine rows of the backfill to the letter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sc.documents import read_batch, read_recipe
from tests.e2e.program import Program

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLACE = "sfs://internal/hugo/intercom-backfill-2024-03-24"
SCRIPT = "python operations/pipelines/hosted/enrich_user_data.py"
DAYS = [
    ("2023-12-31", "2024-01-01", "2024-01-02"),
    ("2024-01-01", "2024-01-02", "2024-01-03"),
    ("2024-01-02", "2024-01-03", "2024-01-04"),
    ("2024-01-03", "2024-01-04", "2024-01-05"),
    ("2024-01-04", "2024-01-05", "2024-01-06"),
    ("2024-01-05", "2024-01-06", "2024-01-07"),
    ("2024-01-06", "2024-01-07", "2024-01-08"),
    ("2024-01-07", "2024-01-08", "2024-01-09"),
    ("2024-01-08", "2024-01-09", "2024-01-10"),
]
ROWS = [
    f"completed    0              {PLACE}/{day}    "
    f"{SCRIPT} --start-dt {before} --end-dt {after} --enrich --first-seen"
    for before, day, after in DAYS
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a copy of the examples in it."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    return tmp_path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where `python` and `python3` are this Python, whatever the machine calls it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python", "python3"):
        (folder / name).symlink_to(sys.executable)
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SC_SFS_ROOT": str(tmp_path / "results/sfs"),
    }


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in EXAMPLES.glob("*/batch.*")))
def test_recipe_and_batch_are_sound(folder: str, tmp_path: Path) -> None:
    batch = read_batch(str(next((EXAMPLES / folder).glob("batch.*"))), folder=str(tmp_path))
    assert len(batch.runs) == len({run.remote_output_path for run in batch.runs}) > 0
    recipe = read_recipe(str(EXAMPLES / folder / "recipe.yaml")).recipe
    assert recipe.ignored == ()
    assert len((EXAMPLES / folder / "README.md").read_text().splitlines()) == 2


def test_iris(program: Program, place: Path, environment: dict[str, str]) -> None:
    ran = program.run("batch", "examples/iris/batch.yaml", cwd=place, environment=environment)
    assert ran.returncode == 0, ran.stderr
    found = sorted(place.glob("results/iris/*/results/metrics.json"))
    assert len(found) == 24
    accuracies = [json.loads(path.read_text())["accuracy"] for path in found]
    assert 0.9 < min(accuracies) <= max(accuracies) < 1
    best = subprocess.run(
        [sys.executable, "examples/iris/summarise.py"], cwd=place, capture_output=True, text=True
    )
    assert best.stdout.splitlines()[-1].startswith("best of 24: k=")


def test_backfill_to_the_letter(program: Program, place: Path, environment: dict[str, str]) -> None:
    """Four runs here, the other five by two workers."""
    files = ["examples/backfill/recipe.yaml", "examples/backfill/batch.yaml"]
    words = ["batch", files[1], "--max-jobs", "4", "--quiet"]
    assert program.run(*words, cwd=place, environment=environment).returncode == 0
    words = ["split", *files, "commands", "--skip-completed", "--start", "--wait", "--scale", "2"]
    ran = program.run(*words, "--batch-size", "1", cwd=place, environment=environment)
    assert ran.returncode == 0, ran.stderr
    assert "skipping 4 completed runs" in ran.stderr

    summary = program.run("summarize-batch", files[1], cwd=place, environment=environment)
    assert summary.stdout.splitlines()[2:] == ROWS
    assert summary.stderr == "sc: 9 runs: 9 completed\n"
    users = (
        place
        / "results/sfs/internal/hugo/intercom-backfill-2024-03-24/2024-01-01/results/users.csv"
    )
    assert users.read_text().startswith("user_id,opened,replied,closed,rated,email,country,plan,")


def test_gpu(program: Program, place: Path, environment: dict[str, str]) -> None:
    """On a machine that says it has two GPUs, each run gets one of them, and no two at a time the same."""
    surroundings = {**environment, "CUDA_VISIBLE_DEVICES": "3,5"}
    ran = program.run("batch", "examples/gpu/batch.yaml", cwd=place, environment=surroundings)
    assert ran.returncode == 0, ran.stderr
    assert "8 runs, 2 at a time" in ran.stderr
    shown = [
        json.loads((place / f"results/gpu/run-{number}/results/device.json").read_text())
        for number in range(8)
    ]
    assert {one["CUDA_VISIBLE_DEVICES"] for one in shown} == {"3", "5"}
    assert {one["rank"] for one in shown} == {"0", "1"}
