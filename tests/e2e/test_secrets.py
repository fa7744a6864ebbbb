"""Values of a recipe's and a batch's variables: nobody reads them who may not read the file that they come from."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import Program

SECRETS = ("of-the-recipe-5ecret", "of-the-batch-5ecret", "of-a-run-5ecret")
RECIPE = f"""
type: job
spec:
  name: job
  instance_type: local
  environment_variables: {{RECIPE_KEY: {SECRETS[0]}}}
"""
BATCH = f"""
remote_output_path: out
env: {{BATCH_KEY: {SECRETS[1]}}}
runs:
- cmd: test `printf $RECIPE_KEY$BATCH_KEY$RUN_KEY | wc -c` = {len("".join(SECRETS))}
  env: {{RUN_KEY: {SECRETS[2]}}}
- cmd: echo $0; exit 3
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name, text in [("recipe.yaml", RECIPE), ("batch.yaml", BATCH)]:
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def _holders(folder: Path) -> Iterator[Path]:
    """The files in which a secret is."""
    for top, _, names in os.walk(folder):
        for name in names:
            data = (Path(top) / name).read_bytes()
            if any(one.encode() in data for one in SECRETS):
                yield Path(top) / name


def _is_private(path: Path) -> bool:
    return not path.stat().st_mode & 0o077


def test_files_made_of_private_ones_are_private(program: Program, work: Path) -> None:
    commands = work / "commands"
    commands.mkdir()
    program.run("split", "recipe.yaml", "batch.yaml", "commands", cwd=work)
    for name in os.listdir(commands):  # as an earlier version has left them
        (commands / name).chmod(0o644)
    (work / "out/.sc/job/parts").mkdir(parents=True)
    (work / "out/.sc/job/parts/0.json").write_text("{}")
    done = program.run(
        "split", "recipe.yaml", "batch.yaml", "commands", "--start", "--wait", cwd=work
    )
    assert done.returncode == 1, done.stderr
    found = {str(path.relative_to(work)) for path in _holders(work)}
    derived = {f"out/.sc/job/{name}" for name in ("recipe.json", "parts/0.json")}
    assert found >= {"commands/recipe.yaml", "commands/0.json", *derived}
    assert [path for path in _holders(work) if not _is_private(path)] == []
    assert _is_private(work / "out/.sc/job")
    for path in (work / "out/.sc/job").rglob("*"):
        assert path.is_dir() or _is_private(path), path
    for name in ("stdout", "stderr", "status_code"):  # whoever may read outputs still does
        assert stat.S_IMODE((work / "out/0" / name).stat().st_mode) & 0o044


def test_files_made_by_apply_from_stdin_and_of_batches_are_private(
    program: Program, work: Path
) -> None:
    with open(work / "batch.yaml") as stdin:
        words = [*program.words, "split", "recipe.yaml", "-", "commands"]
        subprocess.run(words, cwd=work, env=program.surroundings(), stdin=stdin, check=True)
    done = program.run("apply", "commands/recipe.yaml", "--start", "--wait", cwd=work)
    assert done.returncode == 1, done.stderr
    program.run("report", "commands", "--output", "report.html", cwd=work)
    program.run("batch", "batch.yaml", "--remote-output-path", "other", cwd=work)
    assert [path for path in _holders(work) if not _is_private(path)] == []
    assert _is_private(work / "report.html")  # it has the commands
    kept = [path for path in (work / "other/.sc").rglob("*") if path != work / "other/.sc"]
    assert kept
    assert all(map(_is_private, kept))


def test_files_made_of_open_ones_are_as_the_umask_has_them(program: Program, work: Path) -> None:
    for name in ("recipe.yaml", "batch.yaml"):
        (work / name).chmod(0o644)
    os.mkdir(work / "out")
    (work / "out").chmod(0o2775)
    done = program.run(
        "split", "recipe.yaml", "batch.yaml", "commands", "--start", "--wait", cwd=work
    )
    assert done.returncode == 1, done.stderr
    for path in (work / "commands/recipe.yaml", work / "commands/0.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    folder = stat.S_IMODE((work / "out/.sc/job").stat().st_mode)
    assert folder & 0o2057 == 0o2050
    assert stat.S_IMODE((work / "out/.sc/job/recipe.json").stat().st_mode) == 0o640


def test_commands_tell_no_value_of_variables(program: Program, work: Path) -> None:
    for words in (
        ("split", "recipe.yaml", "batch.yaml", "commands", "--start", "--wait", "--json"),
        ("watch", "commands", "--json"),
        ("report", "batch.yaml", "--output", "report.html", "--json"),
        ("logs", "batch.yaml", "0", "--json"),
        ("logs", "batch.yaml", "--failed", "--json"),
        ("logs", "commands", "--worker", ""),
        ("summarize-batch", "batch.yaml", "--json"),
        ("rerun", "batch.yaml", "1"),
        ("batch", "batch.yaml", "--json"),
    ):
        done = program.run(*words, cwd=work)
        told = done.stdout + done.stderr
        assert done.returncode in (0, 1), told
        assert not [one for one in SECRETS if one in told], words


@pytest.mark.parametrize(
    "env",
    [
        "{KEY: [SECRET]}",
        "SECRET",
        "'KEY=SECRET'",
        "['KEY=SECRET']",
        "{KEY: {a: SECRET}}",
        "{'KEY=SECRET': ''}",
        "{KEY: !tag SECRET}",
        '{KEY: "SECRET\\0"}',
        '{KEY: "SECRET',
        "{KEY: SECRET: x}",
    ],
)
def test_errors_tell_no_value_of_variables(program: Program, tmp_path: Path, env: str) -> None:
    written = env.replace("SECRET", SECRETS[0])
    batch = f"remote_output_path: out\nenv: {written}\nruns:\n- cmd: 'true'\n  env: {written}\n"
    (tmp_path / "b.yaml").write_text(batch)
    (tmp_path / "r.yaml").write_text(
        f"type: job\nspec: {{name: a, instance_type: local, environment_variables: {written}}}\n"
    )
    (tmp_path / "good.yaml").write_text("remote_output_path: out\nruns: [{cmd: 'true'}]\n")
    for words in (("batch", "b.yaml"), ("split", "r.yaml", "good.yaml", "commands")):
        done = program.run(*words, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert SECRETS[0] not in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_private_job_hinders_no_other_user_who_reads_the_outputs(
    program: Program, work: Path, pyz: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program.run("split", "recipe.yaml", "batch.yaml", "commands", "--start", "--wait", cwd=work)
    for folder in [*pyz.parents, work, *work.parents]:
        if folder.stat().st_uid == os.geteuid() and len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o055)
    (work / "batch.yaml").chmod(0o644)
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o777)
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *program.words]
    other = Program(words)
    around = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}
    done = other.run("summarize-batch", "batch.yaml", "--json", cwd=work, environment=around)
    assert done.returncode == 0, done.stderr
    assert all(f'"{word}"' in done.stdout for word in ("completed", "failed"))
    secret = other.run("logs", "out/.sc/job", "0", cwd=work, environment=around)
    assert secret.returncode == 3, secret.stdout
