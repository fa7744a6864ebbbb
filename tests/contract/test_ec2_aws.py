"""boto3, without an AWS that it could reach."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest

from sc.errors import CloudError, InputError
from sc.fleets.ec2_aws import AwsRefused, Boto3, Call
from tests.servers import S3Server
from tests.strict_s3 import Demands, strict_s3


def test_without_credentials_and_region_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, f"{tmp_path}/none")
    with pytest.raises(InputError, match="write `region: eu-west-1`"):
        assert Boto3().region
    with pytest.raises(AwsRefused, match="aws configure"):
        Boto3("eu-west-1").send(Call("ec2", "describe_vpcs", {}))


def test_an_api_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(CloudError, match="AWS could not be asked"):
        Boto3("eu-west-1").send(Call("pricing", "get_products", {"ServiceCode": "AmazonEC2"}))


@pytest.mark.parametrize(
    ("variable", "configuration", "is_wanted"),
    [
        (None, "", False),
        ("true", "", True),
        ("TRUE", "", True),
        ("false", "use_fips_endpoint = true", False),
        (None, "use_fips_endpoint = true", True),
    ],
)
def test_wish_for_fips_is_read_from_variable_and_profile(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: Optional[str],
    configuration: str,
    is_wanted: bool,
) -> None:
    (tmp_path / "config").write_text(f"[default]\n{configuration}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_USE_FIPS_ENDPOINT", raising=False)
    if variable is not None:
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", variable)
    assert Boto3("eu-west-1").uses_fips is is_wanted


def test_requester_pays_for_what_boto3_asks_of_s3(
    s3_environment: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with strict_s3(s3_environment) as front:
        front.demands = Demands(payer="requester")
        monkeypatch.setenv("AWS_ENDPOINT_URL", front.url)
        head = Call("s3", "head_bucket", {"Bucket": bucket})
        with pytest.raises(AwsRefused, match="denied"):
            Boto3("us-east-1").send(head)
        monkeypatch.setenv("SC_S3_REQUEST_PAYER", "requester")
        Boto3("us-east-1").send(head)
        Boto3("us-east-1").send(Call("s3", "list_objects_v2", {"Bucket": bucket}))
