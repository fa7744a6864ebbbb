"""What a bucket demands: read, merged, refused, and turned into headers of the right requests."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest

from sc.documents import read_recipe
from sc.errors import InputError, StorageError
from sc.s3_settings import (
    Settings,
    adopt,
    as_environment,
    keep,
    merged,
    of_environment,
    of_profile,
    read,
    settings,
)
from sc.storage.places import resolve
from sc.storage.s3 import S3Storage
from sc.storage.s3_account import Endpoint
from sc.storage.s3_client import Client
from sc.storage.s3_files import PART_BYTES
from tests.fakes.scripted_s3 import FakeAccount, Script, World, no, ok, storage
from tests.strict_s3 import SSE

KMS = {"s3_encryption": "aws:kms", "s3_kms_key": "alias/team", "s3_bucket_key": "true"}
PLACE = "s3://bucket/a"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("s3_encryption", " aws:KMS\n", "aws:kms"),
        ("s3_encryption", "aes256", "AES256"),
        ("s3_encryption", "aws:kms:dsse", "aws:kms:dsse"),
        ("s3_encryption", "None", "none"),
        ("s3_kms_key", "1234abcd-12ab-34cd-56ef-1234567890ab", ""),
        ("s3_kms_key", "mrk-1234abcd12ab34cd56ef1234567890ab", ""),
        ("s3_kms_key", "alias/team", ""),
        ("s3_kms_key", "arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd", ""),
        ("s3_kms_key", "arn:aws:kms:us-east-2:111122223333:alias/ExampleAlias", ""),
        ("s3_bucket_key", "Yes", "true"),
        ("s3_request_payer", "Requester", "requester"),
    ],
)
def test_setting_is_read_as_s3_spells_it(key: str, text: str, value: str) -> None:
    assert read(key, text) == (value or text)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("s3_encryption", "kms"),
        ("s3_encryption", "AES-256"),
        ("s3_kms_key", "a key"),
        ("s3_kms_key", "ключ"),
        ("s3_kms_key", "x\r\nhost: evil"),
        ("s3_kms_key", "arn:aws:kms:us-east-2:1111:key/1"),
        ("s3_kms_key", "arn:aws:s3:::bucket"),
        ("s3_bucket_key", "maybe"),
        ("s3_request_payer", "BucketOwner"),
    ],
)
def test_setting_that_s3_does_not_know_is_refused(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"not|no key|expected"):
        read(key, text)
    with pytest.raises(InputError, match=f"SC_{key.upper()}: "):
        of_environment({f"SC_{key.upper()}": text})
    with pytest.raises(InputError, match=f"sc_{key} in the AWS profile: "):
        of_profile({f"sc_{key}": text})


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([KMS], Settings("aws:kms", "alias/team", "true")),
        ([KMS, {"s3_kms_key": "k"}], Settings("aws:kms", "k", "true")),
        ([KMS, {"s3_encryption": "AES256"}], Settings("AES256")),
        ([KMS, {"s3_encryption": "none"}], Settings()),
        ([KMS, {"s3_encryption": "aws:kms:dsse"}], Settings("aws:kms:dsse", "alias/team")),
        (
            [{"s3_request_payer": "requester"}, KMS],
            Settings("aws:kms", "alias/team", "true", "requester"),
        ),
        ([{"s3_request_payer": "requester"}, {"s3_request_payer": "none"}], Settings()),
        ([], Settings()),
    ],
)
def test_later_sources_win(sources: list[dict[str, str]], expected: Settings) -> None:
    assert settings(merged(*sources)) == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"s3_kms_key": "k"}, "s3_encryption is not set"),
        ({"s3_encryption": "AES256", "s3_kms_key": "k"}, "s3_encryption is AES256"),
        ({"s3_bucket_key": "true"}, "goes with s3_encryption: aws:kms only"),
        ({"s3_encryption": "aws:kms:dsse", "s3_bucket_key": "false"}, "that is aws:kms:dsse"),
    ],
)
def test_settings_that_exclude_each_other_are_one_sentence(
    values: dict[str, str], words: str
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        settings(values)
    assert len(refused.value.problems) == 1


def test_recipe_wins_over_the_environment_and_a_job_fills_it_in() -> None:
    environ = {"SC_S3_ENCRYPTION": "aws:kms", "SC_S3_KMS_KEY": "mine", "OTHER": "x"}
    keep({"s3_encryption": "AES256"}, environ)
    assert environ == {"SC_S3_ENCRYPTION": "AES256", "OTHER": "x"}
    keep({}, environ)
    adopt(KMS, environ)
    assert environ == {"SC_S3_ENCRYPTION": "AES256", "OTHER": "x"}
    bare: dict[str, str] = {}
    adopt(KMS, bare)
    assert bare == as_environment(KMS)


def test_recipe_has_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "type: job\nspec: {name: j, instance_type: local, s3_encryption: AWS:KMS, s3_kms_key: alias/team,"
        " s3_bucket_key: true, s3_request_payer: null}\n"
    )
    assert read_recipe(str(path)).recipe.s3 == KMS
    path.write_text("type: job\nspec: {name: j, instance_type: local}\n")
    assert read_recipe(str(path)).recipe.s3 == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("s3_encryption: kms", "spec.s3_encryption: 'kms' is not known"),
        ("s3_encryption: AES256, s3_kms_key: k", "spec.s3_encryption: s3_kms_key"),
        ("s3_encription: AES256", "s3_encryption"),
        ("s3_bucket_key: 7", "spec.s3_bucket_key: true or false is expected"),
        ("s3_encryption: [AES256]", "spec.s3_encryption: a text is expected"),
    ],
)
def test_recipe_with_a_wrong_setting_is_refused(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"type: job\nspec: {{name: j, instance_type: local, {line}}}\n")
    with pytest.raises(InputError) as refused:
        read_recipe(str(path))
    assert words in str(refused.value)


def test_each_request_has_the_headers_that_s3_takes_with_it(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(PART_BYTES + 1))
    world = World()
    begun = ok(b"<UploadId>1</UploadId>")
    script = Script(world, ok(), begun, ok(), ok(), ok(b"<C/>"), ok(), ok(), ok(), ok())
    wanted = Settings("aws:kms", "k", "true", "requester")
    client = Client(FakeAccount(), script, world.timekeeping(), lambda: wanted)
    one = S3Storage(lambda place: resolve(place, {}), lambda: client)
    one.put(PLACE, b"data")
    one.put_file(PLACE, str(tmp_path / "large"))
    one.get(PLACE)
    one.delete([PLACE, f"{PLACE}b"])
    heard = [each.request for each in script.heard]
    is_new = [SSE in each.headers for each in heard]
    assert [each.method for each in heard] == [
        *("PUT", "POST", "PUT", "PUT", "POST", "GET", "GET", "POST"),
    ]
    assert is_new == [True, True, *[False] * 6]
    has_checksum = ["content-md5" in each.headers for each in heard]
    assert has_checksum == [True, False, True, True, False, False, False, True]
    assert {each.headers["x-amz-request-payer"] for each in heard} == {"requester"}
    signed = [each.headers["authorization"] for each in heard]
    assert all("x-amz-request-payer" in one for one in signed)
    assert "content-md5" in signed[0]
    assert f"{SSE}-aws-kms-key-id" in signed[0]


class OnAws(FakeAccount):
    def endpoint(self, bucket: str, region: Optional[str] = None) -> Endpoint:
        return Endpoint(f"https://{bucket}.s3.us-east-1.amazonaws.com", "", "us-east-1")


@pytest.mark.parametrize(
    ("account", "has_md5"),
    [(FakeAccount(), False), (OnAws(), True)],
    ids=["no md5 in this Python", "AWS"],
)
def test_sha256_as_checksum_is_told_to_multipart_uploads(
    tmp_path: Path, account: FakeAccount, has_md5: bool
) -> None:
    (tmp_path / "large").write_bytes(bytes(PART_BYTES + 1))
    world = World()
    script = Script(world, ok(), ok(b"<UploadId>1</UploadId>"), ok(), ok(), ok(b"<C/>"), ok())
    client = Client(account, script, world.timekeeping(), has_md5=has_md5)
    one = S3Storage(lambda place: resolve(place, {}), lambda: client)
    one.put(PLACE, b"")
    one.put_file(PLACE, str(tmp_path / "large"))
    put, begin, *parts, end, _ = [each.request for each in script.heard]
    assert not any("content-md5" in heard.request.headers for heard in script.heard)
    assert put.headers["x-amz-checksum-sha256"] == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert begin.headers["x-amz-checksum-algorithm"] == "SHA256"
    sums = sorted(each.headers["x-amz-checksum-sha256"] for each in parts)
    assert len(sums) == 2
    assert all(f"<ChecksumSHA256>{one}</ChecksumSHA256>".encode() in end.body for one in sums)


WHO = "User: arn:aws:sts::1:assumed-role/r/i is not authorized to perform:"


@pytest.mark.parametrize(
    ("status", "code", "message", "words"),
    [
        (
            403,
            "AccessDenied",
            f'{WHO} s3:PutObject on resource: "arn:aws:s3:::b/k" with an explicit deny in a resource-based policy',
            ["the bucket's policy denies s3:PutObject", "s3_encryption", "SC_S3_ENCRYPTION"],
        ),
        (
            403,
            "AccessDenied",
            f"{WHO} s3:PutObject on resource: x with an explicit deny in a service control policy",
            ["a service control policy denies", "s3_encryption"],
        ),
        (
            403,
            "AccessDenied",
            f"{WHO} s3:PutObject on resource: x with an explicit deny in a VPC endpoint policy",
            ["a VPC endpoint policy denies"],
        ),
        (
            403,
            "AccessDenied",
            f"{WHO} s3:PutObject on resource: x with an explicit deny in a permissions boundary",
            ["a permissions boundary denies"],
        ),
        (
            403,
            "AccessDenied",
            f"{WHO} s3:PutObject on resource: x because no identity-based policy allows the s3:PutObject action",
            ["these credentials lack s3:PutObject"],
        ),
        (403, "AccessDenied", "Access Denied", ["lack s3:PutObject", "s3_encryption"]),
        (
            403,
            "AccessDenied",
            f"{WHO} kms:GenerateDataKey on this resource because the resource does not exist in this Region",
            ["lack kms:GenerateDataKey", "SC_S3_KMS_KEY"],
        ),
        (
            403,
            "AccessDenied",
            f"{WHO} kms:Decrypt on resource: arn:x with an explicit deny in a resource-based policy",
            ["lack kms:Decrypt"],
        ),
        (
            400,
            "KMS.NotFoundException",
            "Invalid keyId 'x'",
            ["its key of KMS cannot be used", "SC_S3_KMS_KEY"],
        ),
        (
            400,
            "KMS.DisabledException",
            "arn:aws:kms:us-east-1:1:key/1 is disabled.",
            ["is disabled", "SC_S3_KMS_KEY"],
        ),
        (
            400,
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Part requests with Object Lock parameters",
            ["its checksum does not arrive", "proxy"],
        ),
        (
            400,
            "InvalidArgument",
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption",
            ["wants another", "s3_encryption"],
        ),
        (
            501,
            "NotImplemented",
            "Header 'x-amz-server-side-encryption' with value 'aws:kms' not implemented",
            ["does not take that encryption", "s3_encryption"],
        ),
        (
            501,
            "NotImplemented",
            "Server side encryption specified but KMS is not configured",
            ["does not take that encryption"],
        ),
    ],
)
def test_refusal_of_a_write_names_what_is_to_be_set(
    status: int, code: str, message: str, words: list[str]
) -> None:
    world = World()
    with pytest.raises(StorageError) as refused:
        storage(Script(world, no(status, code, message)), world).put(PLACE, b"")
    for one in words:
        assert one in str(refused.value)
    assert "\n" not in str(refused.value)


def test_refusal_of_a_read_names_no_encryption() -> None:
    world = World()
    words = f"{WHO} s3:GetObject on resource: x with an explicit deny in a resource-based policy"
    with pytest.raises(StorageError) as refused:
        storage(Script(world, no(403, "AccessDenied", words)), world).get(PLACE)
    assert "s3_encryption" not in str(refused.value)
