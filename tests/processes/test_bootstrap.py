"""The text of user-data, read by a shell and by shellcheck."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sc.fleets.bootstrap import user_data
from tests.fakes.job_facts import HOSTILE, facts


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    script = tmp_path / "user-data"
    script.write_text(user_data(facts(HOSTILE)))
    done = subprocess.run(
        ["shellcheck", "-s", "sh", str(script)], stdout=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_shell_reads_hostile_names_back_as_they_are(tmp_path: Path) -> None:
    text = user_data(facts(HOSTILE))
    start, end = text.index("cat >job.json"), text.index("\ncat >courier.py")
    subprocess.run(["sh", "-c", text[start:end]], cwd=tmp_path, check=True)
    assert json.loads((tmp_path / "job.json").read_text())["key"] == f"{HOSTILE}/.sc/job"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json"]
