"""The workflow of examples/github-actions, its steps run as GitHub's runner does: `bash -e`, one after the other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.program import Program

WORKFLOW = Path(__file__).resolve().parents[2] / "examples/github-actions/workflow.yml"
BATCH = """
remote_output_path: results
runs:
- cmd: echo fine
- cmd: echo no such table >&2; exit {code}
"""


def steps() -> list[dict[str, Any]]:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    found: list[dict[str, Any]] = workflow["jobs"]["batch"]["steps"]
    return found


@pytest.mark.parametrize("code", [0, 5])
def test_the_steps_do_what_they_say(tmp_path: Path, program: Program, pyz: Path, code: int) -> None:
    shutil.copy(pyz, tmp_path / "sc.pyz")
    (tmp_path / "batch.yaml").write_text(BATCH.format(code=code))
    summary = tmp_path / "summary.md"
    surroundings = {"RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(summary)}
    has_failed, told = False, ""
    for step in steps():
        wanted = step.get("if", "success()")
        is_wanted = wanted == "always()" or (wanted == "failure()") == has_failed
        if "run" in step and step["name"] != "Get sc" and is_wanted:
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=tmp_path,
                env=program.surroundings(surroundings),
                capture_output=True,
                text=True,
            )
            told += done.stdout
            has_failed = has_failed or done.returncode != 0
    assert has_failed == bool(code)
    assert ("1 run failed with exit code 5: no such table" in told) == has_failed
    assert summary.exists() == has_failed
    assert (tmp_path / "report.html").stat().st_size > 10_000
    kept = next(
        step["with"]["path"].split() for step in steps() if "upload" in step.get("uses", "")
    )
    assert all((tmp_path / path).exists() for path in kept)


def test_the_way_to_get_it_is_one_that_builds(tmp_path: Path) -> None:
    script = next(step["run"] for step in steps() if step.get("name") == "Get sc")
    (tmp_path / "bin").mkdir()
    git = '#!/bin/sh\nfor folder; do :; done\nmkdir -p "$folder"\nprintf \'#!/bin/sh\\necho "$@" > "$2"\\n\' '
    (tmp_path / "bin/git").write_text(git + '> "$folder/build.sh"\nchmod +x "$folder/build.sh"\n')
    (tmp_path / "bin/git").chmod(0o755)
    surroundings = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "RUNNER_TEMP": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-e", "-c", script], env={**surroundings, "SC_REPOSITORY": "here"}, cwd=tmp_path
    )
    assert done.returncode == 0
    assert (tmp_path / "sc.pyz").read_text() == f"build {tmp_path}/sc.pyz\n"
