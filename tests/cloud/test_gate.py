"""A machine's way to S3 carries what boto3 sends, signed by other keys than the server knows."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Union

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.cloud import gate, signing
from tests.cloud.gate import Gate, Refusal
from tests.cloud.signing import Credentials, Request
from tests.servers import ACCESS_KEY, SECRET_KEY, S3Server

MINE = Credentials("ASIAMACHINE", "machine's secret", "machine's/token+=")
ODD = "a'; echo foo/%41 +&=ü~.(*)!@:,$"


def admit(request: Request) -> Union[Request, Refusal]:
    signed = signing.read(request.headers.get("authorization", ""))
    assert signed is not None
    wrong = signing.refusal(request, signed, MINE)
    if wrong:
        return Refusal(403, f"<Error><Code>{wrong}</Code></Error>".encode())
    headers = {k: v for k, v in request.headers.items() if k != "x-amz-security-token"}
    kept = Request(request.method, request.target, headers)
    anew = signing.sign(kept, signed, Credentials(ACCESS_KEY, SECRET_KEY))
    return Request(kept.method, kept.target, {**headers, "authorization": anew})


@pytest.fixture
def door(seaweed: S3Server) -> Iterator[str]:
    """The URL of a gate to the server."""
    listening = socket.create_server(("127.0.0.1", 0))
    one = Gate(seaweed.url, admit)
    gate.serve(listening, one.handler())
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    one.close()
    gate.hang_up(listening)


def client(door: str, keys: Credentials = MINE) -> Any:
    session: Any = boto3.session.Session(keys.key, keys.secret, keys.token, "us-east-1")
    return session.client("s3", endpoint_url=door, config=Config(proxies={}))


def test_objects_of_any_name_and_size_pass(door: str, bucket: str) -> None:
    mine = client(door)
    tag = mine.put_object(Bucket=bucket, Key=ODD, Body=b"0", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as refused:
        mine.put_object(Bucket=bucket, Key=ODD, Body=b"1", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    mine.put_object(Bucket=bucket, Key=ODD, Body=b"22", IfMatch=tag)
    assert mine.head_object(Bucket=bucket, Key=ODD)["ContentLength"] == 2
    assert mine.get_object(Bucket=bucket, Key=ODD, Range="bytes=1-")["Body"].read() == b"2"
    listed = mine.list_objects_v2(Bucket=bucket, Prefix=ODD[:6], Delimiter="/", StartAfter="a")
    assert [each["Prefix"] for each in listed["CommonPrefixes"]] == ["a'; echo foo/"]
    listed = mine.list_objects_v2(Bucket=bucket, Prefix=ODD[:20])
    assert [each["Key"] for each in listed["Contents"]] == [ODD]
    with pytest.raises(ClientError, match="404"):
        mine.head_object(Bucket=bucket, Key="nothing")
    done = mine.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": ODD}]})
    assert [each["Key"] for each in done["Deleted"]] == [ODD]


def test_large_files_pass_in_parts(door: str, bucket: str, tmp_path: Any) -> None:
    mine = client(door)
    (tmp_path / "large").write_bytes(b"0123456789abcdef" * 1_250_000)
    mine.upload_file(str(tmp_path / "large"), bucket, "large")
    mine.download_file(bucket, "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        (Credentials(MINE.key, "other", MINE.token), "SignatureDoesNotMatch"),
        (Credentials(MINE.key, MINE.secret, "other"), "InvalidToken"),
        (Credentials(MINE.key, MINE.secret), "InvalidToken"),
    ],
)
def test_what_is_wrongly_signed_is_refused(
    door: str, bucket: str, keys: Credentials, code: str
) -> None:
    with pytest.raises(ClientError) as refused:
        client(door, keys).list_objects_v2(Bucket=bucket)
    assert refused.value.response["Error"]["Code"] == code
