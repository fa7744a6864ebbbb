"""A pull of objects some of which the storage does not give: all others arrive, and these are told."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sc.storage import open_storage
from tests.e2e.program import Program
from tests.fakes.http_server import http_server
from tests.servers import S3Server

RUNS = 40
REFUSALS = {
    "archived": (403, "InvalidObjectState"),
    "forbidden": (403, "AccessDenied"),
    "locked": (400, "KMS.DisabledException"),
    "vanished": (404, "NoSuchKey"),
}
"""What is said of an object whose key ends so."""


class Refusing(BaseHTTPRequestHandler):
    """In front of a real server; what is asked of it keeps its signature, which is of the Host that was asked."""

    protocol_version = "HTTP/1.1"
    upstream = ""

    def do_GET(self) -> None:
        found = REFUSALS.get(urlsplit(self.path).path.rpartition("-")[2])
        if found is not None:
            body = f"<Error><Code>{found[1]}</Code><Message>no</Message></Error>".encode()
            return self._answer(found[0], {}, body)
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        connection.putrequest("GET", self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        self._answer(answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return None

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def refusing(s3_environment: S3Server) -> Iterator[dict[str, str]]:
    """The environment that leads through it."""
    environment = dict(s3_environment.environment())
    name = next(one for one in environment if one.startswith("AWS_ENDPOINT_URL"))
    handler = type("Handler", (Refusing,), {"upstream": urlsplit(environment[name]).netloc})
    with http_server(handler) as url:
        yield {**environment, name: url}


def write_batch(folder: Path, place: str) -> None:
    runs = [{"cmd": "true"}] * RUNS
    (folder / "b.json").write_text(json.dumps({"remote_output_path": place, "runs": runs}))


def test_pull_of_objects_some_of_which_are_refused_brings_all_others(
    refusing: dict[str, str], bucket: str, program: Program, tmp_path: Path
) -> None:
    place = f"s3://{bucket}/out"
    write_batch(tmp_path, place)
    storage = open_storage()
    for number in range(RUNS):
        storage.put(f"{place}/{number}/stdout", b"hello")
        storage.put(f"{place}/{number}/status_code", b"0")
    names = ["1/results/a-archived", "2/results/b-archived", "9/results/c-archived"]
    names += ["3/results/d-forbidden", "4/results/e-locked", "5/results/f-vanished"]
    for name in names:
        storage.put(f"{place}/{name}", b"x")
    for fetched in (2 * RUNS, 0):  # a second one is as the first
        done = program.run("pull", "b.json", "here", "--json", cwd=tmp_path, environment=refusing)
        assert done.returncode == 3, done.stderr
        told = json.loads(done.stdout)
        assert (told["objects"], told["fetched"], told["unchanged"]) == (
            2 * RUNS + 6,
            fetched,
            2 * RUNS - fetched,
        )
        assert (told["refused"], told["gone"], told["unplaced"], told["unlisted"]) == (5, 1, 0, 0)
        archived = next(one for one in told["problems"] if "archive" in one["reason"])
        assert archived["count"] == 3
        assert sorted(archived["examples"]) == [f"{place}/{name}" for name in names[:3]]
        assert len(told["problems"]) == 3
        assert (
            "3 not fetched: cannot be read, it lies in an archive: restore it first." in done.stderr
        )
    assert sum(1 for one in (tmp_path / "here").rglob("stdout")) == RUNS
    assert not list((tmp_path / "here").rglob("*-archived"))


def test_pull_whose_credentials_are_refused_ends_at_once(
    refusing: dict[str, str], bucket: str, program: Program, tmp_path: Path
) -> None:
    write_batch(tmp_path, f"s3://{bucket}/out")
    open_storage().put(f"s3://{bucket}/out/1/stdout", b"hello")
    wrong = {**refusing, "AWS_SECRET_ACCESS_KEY": "wrong"}
    done = program.run("pull", "b.json", "here", "--json", cwd=tmp_path, environment=wrong)
    assert done.returncode == 3
    assert "secret key does not fit" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a user who may less")
def test_pull_of_a_folder_with_what_may_not_be_read_brings_all_others(
    program: Program, tmp_path: Path
) -> None:
    """Root may read all: a loop of links, a name of a folder in place of a file, are refused to root too."""
    write_batch(tmp_path, str(tmp_path / "out"))
    for number in range(RUNS):
        (tmp_path / f"out/{number}/results").mkdir(parents=True)
        (tmp_path / f"out/{number}/stdout").write_text("hello")
    (tmp_path / "out/7/results/loop").symlink_to("loop")
    (tmp_path / "here/8").mkdir(parents=True)
    (tmp_path / "here/8/stdout").mkdir()
    (tmp_path / "here/8/stdout/in-the-way").touch()
    done = program.run("pull", "b.json", "here", "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert (told["fetched"], told["unplaced"]) == (RUNS - 1, 1)
    assert "out/8/stdout" in done.stderr
