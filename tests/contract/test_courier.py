"""The courier, as a program of its own, with an S3 that demands something and a metadata service that has keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sc.fleets import courier
from sc.s3_settings import Settings
from tests.fakes.http_server import http_server
from tests.fakes.job_facts import facts
from tests.servers import KEYS, REGION, S3Server
from tests.strict_s3 import Demands, strict_s3

TOLD = {
    "/latest/api/token": "token",
    "/latest/meta-data/iam/security-credentials/": "role",
    "/latest/meta-data/iam/security-credentials/role": json.dumps(
        dict(zip(("AccessKeyId", "SecretAccessKey"), KEYS[0]))
    ),
    "/latest/meta-data/instance-id": "i-0123",
}


class _Metadata(BaseHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        text = TOLD[self.path].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PUT = do_GET  # noqa: N815 - the name that the library looks for


@pytest.fixture
def metadata() -> Iterator[str]:
    with http_server(_Metadata) as url:
        yield url


def test_courier_obeys_what_the_bucket_demands(
    seaweed: S3Server, bucket: str, metadata: str, tmp_path: Path
) -> None:
    client, program = seaweed.client(), b"a program"
    client.put_object(Bucket=bucket, Key="out/.sc/j/sc.pyz", Body=program)
    demanded = Settings("aws:kms", "alias/team", "true", "requester")
    with strict_s3(seaweed) as front:
        front.demands = Demands(*demanded)
        job = {
            **asdict(facts()),
            "bucket": bucket,
            "key": "out/.sc/j",
            "s3_endpoint": front.url,
            "s3_region": REGION,
            "sha256": sha256(program).hexdigest(),
            "s3_headers": demanded.of_all(),
            "s3_new_headers": demanded.of_new_objects(),
        }
        (tmp_path / "courier.py").write_text(Path(courier.__file__).read_text())
        (tmp_path / "job.json").write_text(json.dumps(job))
        (tmp_path / "log").write_text("the last lines")
        for words in (("fetch", "sc.pyz"), ("log", "log")):
            done = subprocess.run(
                [sys.executable, "-S", "courier.py", *words],
                cwd=tmp_path,
                env={"PATH": os.environ["PATH"], "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
        assert front.refused == []
    assert (tmp_path / "sc.pyz").read_bytes() == program
    stored = client.get_object(Bucket=bucket, Key="out/.sc/j/logs/i-0123")
    assert stored["Body"].read() == b"the last lines"
