"""boto3, without an AWS that it could reach."""

from __future__ import annotations

import pytest

from sc.errors import CloudError, InputError
from sc.fleets.ec2_aws import AwsRefused, Boto3, Call


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
