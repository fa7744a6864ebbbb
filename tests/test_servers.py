"""The S3 server of the tests does what the tests of storage build on."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.servers import S3Server


def test_a_new_bucket_takes_objects_once_if_asked_to(seaweed: S3Server, bucket: str) -> None:
    client = seaweed.client()
    client.put_object(Bucket=bucket, Key="a", Body=b"0", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        client.put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"0"


def test_a_bucket_that_nobody_made_is_refused(seaweed: S3Server) -> None:
    with pytest.raises(ClientError) as refused:
        seaweed.client().put_object(Bucket="nobody-made-it", Key="a", Body=b"")
    assert refused.value.response["Error"]["Code"] == "NoSuchBucket"


def test_many_buckets_fit(seaweed: S3Server) -> None:
    names = {seaweed.bucket() for _ in range(20)}
    client = seaweed.client()
    for name in names:
        client.put_object(Bucket=name, Key="a", Body=b"x")
    assert len(names) == 20


def test_s3rver_ignores_conditions_and_lists_keys_as_they_are(s3rver: S3Server) -> None:
    client, bucket = s3rver.client(), s3rver.bucket()
    client.put_object(Bucket=bucket, Key="a b+%41", Body=b"0")
    client.put_object(Bucket=bucket, Key="a b+%41", Body=b"1", IfNoneMatch="*")
    client.put_object(Bucket=bucket, Key="a b+%41", Body=b"2", IfMatch='"0123456789abcdef"')
    assert client.get_object(Bucket=bucket, Key="a b+%41")["Body"].read() == b"2"
    page = client.list_objects_v2(Bucket=bucket, EncodingType="url")
    assert [one["Key"] for one in page["Contents"]] == ["a b+%41"]
    assert "EncodingType" not in page
