"""Which job is meant by what a person has at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Optional

import pytest

from sc import commands_folder, paths
from sc.commands.jobs import absolute, jobs, one_job
from sc.errors import CloudError, InputError
from sc.storage import open_storage

STORAGE = open_storage({})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A batch, its commands folder, and two jobs below its outputs, the second started later."""
    out = tmp_path / "out"
    batch = {"remote_output_path": str(out), "runs": [{"cmd": "true"}]}
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    part = json.dumps({**batch, "runs": [{"cmd": "true", "remote_output_path": f"{out}/0"}]})
    recipe = "type: job\nspec: {name: first, instance_type: local}\n"
    list(commands_folder.write(str(tmp_path / "commands"), [part.encode()], recipe, {}))
    for age, name in enumerate(("second", "first")):
        place = out / ".sc" / name / "recipe.json"
        place.parent.mkdir(parents=True)
        place.write_text("{}")
        os.utime(place, (place.stat().st_mtime - 100 * age,) * 2)
    (out / ".sc" / "batch").mkdir()
    return tmp_path


def url(folder: Path, name: str) -> str:
    return paths.job(str(folder / "out"), name)


@pytest.mark.parametrize("word", ["commands", "commands/", "commands/recipe.yaml"])
def test_a_commands_folder_means_its_job(folder: Path, word: str) -> None:
    assert jobs(f"{folder}/{word}", STORAGE) == [url(folder, "first")]


@pytest.mark.parametrize("word", ["batch.json", "out", "out/", "commands/0.json"])
def test_a_batch_or_its_outputs_mean_all_jobs_or_the_last(
    folder: Path, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [url(folder, "first"), url(folder, "second")]
    assert sorted(jobs(f"{folder}/{word}", STORAGE)) == both
    assert one_job(f"{folder}/{word}", STORAGE) == url(folder, "second")
    assert "of 2 jobs this one was started last" in capsys.readouterr().err


def test_a_url_means_itself_in_whatever_form(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for word in ("out/.sc/first", "./out/.sc/first/", f"file://{folder}/out/.sc/first"):
        assert jobs(word, STORAGE) == [url(folder, "first")]
    assert absolute("s3://b/x/") == "s3://b/x"


def test_a_name_is_looked_for_where_machines_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    known = {"backfill": "s3://b/.sc/backfill"}
    assert jobs("backfill", STORAGE, known.get) == ["s3://b/.sc/backfill"]
    with pytest.raises(InputError, match="There is no file, folder or job on EC2 called 'x'; name"):
        jobs("x", STORAGE, known.get)

    def refuse(name: str) -> Optional[str]:
        raise CloudError("no credentials")

    with pytest.raises(InputError, match=r"called 'x' \(EC2 could not be asked: no credentials\)"):
        jobs("x", STORAGE, refuse)

    def several(name: str) -> Optional[str]:
        raise InputError("several are called so")

    with pytest.raises(InputError) as caught:
        jobs("x", STORAGE, several)
    assert caught.value.problems[-1] == "several are called so"


def test_what_means_no_job_is_told(folder: Path) -> None:
    other = {"remote_output_path": str(folder / "other"), "runs": [{"cmd": "true"}]}
    (folder / "other.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"No job was started for .*other\.json: there is none"):
        jobs(f"{folder}/other.json", STORAGE)
    with pytest.raises(InputError, match="nor has it jobs below"):
        jobs(f"{folder}/out/.sc/batch", STORAGE)
