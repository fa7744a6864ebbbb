"""The real sc.pyz with S3 servers of different dialects, and with what they refuse."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import Program
from tests.fakes.http_server import http_server
from tests.servers import LIMITED_BUCKET, LIMITED_KEYS, S3Server

ODD = "a b/k=1+x%41"
NAMES = [
    b"x-%E9",
    b"x-\xe9",
    b"x-%xE9",
    b"50%.txt",
    b"a+b %41",
    b"back\\slash",
    b"two\nlines",
    b"\x01",
]
NAMES += ["é".encode(), "e\u0301".encode(), b"caf%C3%A9", b"<&>'\"", b" both ends "]


@pytest.fixture(params=["seaweed", "s3rver"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


def write_names(folder: Path) -> str:
    """A program that makes files of these names in the folder that it is told."""
    script = folder / "make.py"
    script.write_text(
        "import os, sys\n"
        f"for name in {NAMES!r}:\n"
        "    with open(os.path.join(os.environb[b'SATURN_RUN_LOCAL_RESULTS_DIR'], name), 'wb') as file:\n"
        "        file.write(name)\n"
    )
    return f"python3 {script}"


def write_batch(folder: Path, place: str, *commands: str) -> None:
    document = {
        "remote_output_path": place,
        "nprocs": 2,
        "runs": [{"cmd": one} for one in commands],
    }
    (folder / "batch.json").write_text(json.dumps(document))


def test_batch_on_any_server_completes_and_is_pulled_with_its_names(
    program: Program, server: S3Server, tmp_path: Path
) -> None:
    environment = server.environment()
    write_batch(tmp_path, f"s3://{server.bucket()}/{ODD}", write_names(tmp_path), "echo hello")
    done = program.run("batch", "batch.json", "--quiet", cwd=tmp_path, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    told = program.run("summarize-batch", "batch.json", cwd=tmp_path, environment=environment)
    assert "2 runs: 2 completed" in told.stderr
    for _ in range(2):
        pulled = program.run("pull", "batch.json", "here", cwd=tmp_path, environment=environment)
        assert pulled.returncode == 0, pulled.stderr
    results = os.fsencode(tmp_path / "here/0/results")
    assert sorted(os.listdir(results)) == sorted(NAMES)
    for name in NAMES:
        assert Path(os.fsdecode(os.path.join(results, name))).read_bytes() == name
    assert (tmp_path / "here/1/stdout").read_text() == "hello\n"
    assert "0 objects fetched" in pulled.stderr


def test_job_on_a_server_that_ignores_conditions_is_refused_before_anything_is_written(
    program: Program, s3rver: S3Server, tmp_path: Path
) -> None:
    bucket = s3rver.bucket()
    (tmp_path / "recipe.yaml").write_text("type: job\nspec: {name: j, instance_type: local}\n")
    write_batch(tmp_path, f"s3://{bucket}/{ODD}", "true")
    words = ("split", "recipe.yaml", "batch.json", "--start", "--wait")
    done = program.run(*words, cwd=tmp_path, environment=s3rver.environment())
    assert done.returncode == 3
    assert "does not keep the condition If-None-Match" in done.stderr.splitlines()[-1]
    assert "Contents" not in s3rver.client().list_objects_v2(Bucket=bucket)


def kept_in(temp: Path) -> Path:
    (folder,) = temp.glob("sc-kept-*/*")
    return folder


TOO_LONG = {
    "a name that is longer there than here": b"k" * 240 + 10 * b"\xe9",
    "a key": b"/".join([b"k" * 200] * 6),
}


@pytest.mark.parametrize("name", TOO_LONG.values(), ids=TOO_LONG)
def test_result_that_s3_never_takes_is_kept_at_once_and_the_others_are_stored(
    program: Program, seaweed: S3Server, bucket: str, tmp_path: Path, name: bytes
) -> None:
    (tmp_path / "long.py").write_text(
        "import os\n"
        f"path = os.path.join(os.environb[b'SATURN_RUN_LOCAL_RESULTS_DIR'], {name!r})\n"
        "os.makedirs(os.path.dirname(path), exist_ok=True)\n"
        "open(path, 'w').close()\n"
    )
    write_batch(
        tmp_path, f"s3://{bucket}/out", f"python3 {tmp_path}/long.py; echo said", "echo other"
    )
    (tmp_path / "temp").mkdir()
    environment = {**seaweed.environment(), "TMPDIR": str(tmp_path / "temp")}
    done = program.run("batch", "batch.json", cwd=tmp_path, environment=environment)
    assert done.returncode == 3, done.stderr
    assert "1 completed, 1 not stored" in done.stderr
    assert "longer than the 1024 bytes" in done.stderr
    kept = kept_in(tmp_path / "temp")
    assert str(kept.parent) in done.stderr
    assert (kept / "stdout").read_text() == "said\n"
    assert Path(os.fsdecode(os.path.join(os.fsencode(kept / "results"), name))).is_file()


def test_result_that_a_policy_forbids_is_kept_at_once_and_the_others_are_stored(
    program: Program, seaweed: S3Server, tmp_path: Path
) -> None:
    seaweed.client().create_bucket(Bucket=LIMITED_BUCKET)
    write_batch(tmp_path, f"s3://{LIMITED_BUCKET}/out", "echo stored", "echo other")
    document = json.loads((tmp_path / "batch.json").read_text())
    for run, path in zip(document["runs"], ("allowed", "forbidden")):
        run["remote_output_path"] = path
    (tmp_path / "batch.json").write_text(json.dumps(document))
    (tmp_path / "temp").mkdir()
    environment = {
        **seaweed.environment(),
        "AWS_ACCESS_KEY_ID": LIMITED_KEYS[0],
        "AWS_SECRET_ACCESS_KEY": LIMITED_KEYS[1],
        "TMPDIR": str(tmp_path / "temp"),
    }
    done = program.run("batch", "batch.json", cwd=tmp_path, environment=environment)
    assert done.returncode == 3, done.stderr
    assert "1 completed, 1 not stored" in done.stderr
    assert "these credentials lack s3:PutObject" in done.stderr
    assert (kept_in(tmp_path / "temp") / "stdout").read_text() == "other\n"


@pytest.mark.parametrize("more", ["\n", "\r\n", " ", "\t\n"], ids=ascii)
def test_white_space_round_the_settings_of_aws_is_no_matter(
    program: Program, seaweed: S3Server, bucket: str, tmp_path: Path, more: str
) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
    environment = dict(seaweed.environment())
    environment.update({name: environment[name] + more for name in names})
    write_batch(tmp_path, f"s3://{bucket}/out", "true")
    done = program.run("batch", "batch.json", cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "two\nlines"),
        ("AWS_ACCESS_KEY_ID", "schlüssel"),
        ("AWS_SECRET_ACCESS_KEY", "two\r\nlines"),
        ("AWS_SESSION_TOKEN", "two\nlines"),
    ],
)
def test_key_that_no_request_can_carry_is_one_sentence(
    program: Program, seaweed: S3Server, bucket: str, tmp_path: Path, name: str, value: str
) -> None:
    environment = {**seaweed.environment(), name: value}
    write_batch(tmp_path, f"s3://{bucket}/out", "true")
    for words in (("batch", "batch.json"), ("setup",), ("options", "--option-type", "ec2")):
        done = program.run(*words, cwd=tmp_path, environment=environment)
        assert done.returncode == 3, done.stderr
        assert "which no key has" in done.stderr
        assert value not in done.stderr
        assert "Traceback" not in done.stderr


ANSWERS = {
    "html": b"<html><body><h1>It works!</h1></body></html>",
    "json": b'{"ok": true}',
    "nothing": b"",
    "text": b"Not Found",
    "half": b"<DescribeAutoScalingGroupsResponse><Desc",
    "buckets": b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>",
}


class Stranger(BaseHTTPRequestHandler):
    """Answers everything with `/STATUS/NAME` of the URL's path: a web server, say, or an S3 that knows no EC2."""

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        _, status, name, *_ = self.path.split("/")
        body = ANSWERS[name]
        self.send_response(int(status))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST  # noqa: N815 - the names that the library looks for


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    with http_server(Stranger) as url:
        yield url


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("status", [200, 404])
def test_answer_that_is_none_of_aws_is_one_sentence(
    program: Program, seaweed: S3Server, stranger: str, tmp_path: Path, status: int, name: str
) -> None:
    environment = {**seaweed.environment(), "AWS_ENDPOINT_URL": f"{stranger}/{status}/{name}/"}
    for word in (("ps",), ("setup",), ("stop", "some-job"), ("options", "--option-type", "ec2")):
        done = program.run(*word, cwd=tmp_path, environment=environment)
        assert done.returncode == 3, done.stderr
        assert "is not AWS" in done.stderr
        assert "Traceback" not in done.stderr


def test_job_on_ec2_with_an_endpoint_that_is_an_s3_server_is_one_sentence(
    program: Program, server: S3Server, tmp_path: Path
) -> None:
    bucket = server.bucket()
    (tmp_path / "recipe.yaml").write_text("type: job\nspec: {name: j, instance_type: m5.large}\n")
    write_batch(tmp_path, f"s3://{bucket}/out", "true")
    environment = server.environment()
    words = ("split", "recipe.yaml", "batch.json", "--start")
    for word in (("ps",), words, ("setup",), ("stop", "j"), ("options",)):
        done = program.run(*word, cwd=tmp_path, environment=environment)
        assert done.returncode == 3, (word, done.stderr)
        assert "Traceback" not in done.stderr
    assert "Contents" not in server.client().list_objects_v2(Bucket=bucket)
