"""The text of user-data, read by a shell and by shellcheck."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from sc.fleets import courier
from sc.fleets.bootstrap import user_data
from sc.fleets.proxies import machine_proxies
from tests.fakes.http_server import http_server
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


PROXIES = {"http_proxy": "http://proxy.lan:3128", "NO_PROXY": "a.lan, *.b.lan,169.254.169.254"}


def test_proxy_is_in_the_environment_of_all_that_the_bootstrap_starts(tmp_path: Path) -> None:
    text = user_data(replace(facts(HOSTILE), environment=PROXIES))
    (tmp_path / "user-data").write_text(text)
    start, end = text.index("while IFS='=' read"), text.index("\nsay() {")
    script = text[start:end] + '\nprintf "%s\\n%s\\n" "$http_proxy" "$NO_PROXY"\n'
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-uc", script], stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout.splitlines() == list(PROXIES.values())
    if shutil.which("shellcheck"):
        command = ["shellcheck", "-s", "sh", str(tmp_path / "user-data")]
        assert subprocess.run(command, stdout=subprocess.PIPE).stdout == b""
    assert "SC_PROXY" not in user_data(facts())


class Answers(BaseHTTPRequestHandler):
    """Metadata for whoever asks directly, and an S3 for whoever asks as one asks a proxy."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        keys = json.dumps({"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c"})
        answers = {"security-credentials/": "role", "security-credentials/role": keys}
        found = next((text for end, text in answers.items() if self.path.endswith(end)), "program")
        body = found.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        return


def test_courier_asks_through_the_proxy_but_for_metadata(tmp_path: Path) -> None:
    with http_server(Answers) as here:
        fetch_through(here, tmp_path)
    assert (tmp_path / "sc.pyz").read_bytes() == b"program"
    through = [path for path in Answers.asked if path.startswith("http:")]
    assert through == ["http://s3.nowhere.invalid/bucket/name/.sc/job/sc.pyz"]
    assert len(Answers.asked) > len(through)


def fetch_through(here: str, folder: Path) -> None:
    """Run the courier with this proxy, which is also the metadata service."""
    told = replace(
        facts(),
        s3_endpoint="http://s3.nowhere.invalid",
        sha256=hashlib.sha256(b"program").hexdigest(),
        environment=machine_proxies({"HTTP_PROXY": here}),
    )
    (folder / "job.json").write_text(json.dumps(asdict(told)))
    shutil.copy(courier.__file__, folder / "courier.py")
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": here, "PATH": os.environ["PATH"]}
    words = [sys.executable, "courier.py", "fetch", "sc.pyz"]
    subprocess.run(words, cwd=folder, env=environment, check=True, timeout=60)
