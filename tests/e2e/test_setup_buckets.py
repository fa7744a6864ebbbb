"""The real `sc setup` with versioned buckets, in an AWS that has IAM and S3."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import Program
from tests.servers import _NO_PROXY, REGION, S3Server, _free_ports


@pytest.fixture(scope="module")
def account() -> Iterator[S3Server]:
    """moto, as a process of its own."""
    (port,) = _free_ports(1)
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    one = S3Server(f"http://127.0.0.1:{port}", process)
    limit = time.monotonic() + 60
    try:
        while time.monotonic() < limit:
            try:
                _NO_PROXY.open(urllib.request.Request(one.url + "/moto-api/"), timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield one
    finally:
        process.kill()
        process.wait()


def setup(program: Program, account: S3Server, folder: Path, *words: str) -> Any:
    return program.run("setup", *words, cwd=folder, environment=account.environment())


def test_setup_prints_the_rules_that_a_bucket_lacks_and_then_none(
    program: Program, account: S3Server, tmp_path: Path
) -> None:
    client = account.client()
    client.create_bucket(Bucket="kept")
    client.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    theirs = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "x/"},
        "Expiration": {"Days": 3},
    }
    client.put_bucket_lifecycle_configuration(
        Bucket="kept", LifecycleConfiguration={"Rules": [theirs]}
    )
    done = setup(program, account, tmp_path, "--bucket", "kept", "--region", REGION)
    assert done.returncode == 0, done.stderr
    assert "The bucket kept keeps old versions" in done.stderr
    assert "put-bucket-lifecycle-configuration --bucket kept" in done.stdout
    told = json.loads(setup(program, account, tmp_path, "--json").stdout)
    document = told["bucket_lifecycle"]["kept"]
    assert document["Rules"][0]["ID"] == "theirs"
    client.put_bucket_lifecycle_configuration(Bucket="kept", LifecycleConfiguration=document)
    again = json.loads(setup(program, account, tmp_path, "--json").stdout)
    assert again["bucket_lifecycle"] == {}
    missing = setup(program, account, tmp_path, "--bucket", "absent", "--dry-run")
    assert missing.returncode == 0, missing.stderr
    assert "There is no bucket absent yet" in missing.stderr
