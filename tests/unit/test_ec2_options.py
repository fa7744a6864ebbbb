"""Reading what EC2 says of its instance types."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError

from sc.fleets.ec2_options import Option, cheapest, missing, read_type


def test_a_type_with_gpus() -> None:
    document = {
        "InstanceType": "g5.12xlarge",
        "VCpuInfo": {"DefaultVCpus": 48, "DefaultCores": 24},
        "MemoryInfo": {"SizeInMiB": 196608},
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "GpuInfo": {"Gpus": [{"Name": "A10G", "Manufacturer": "NVIDIA", "Count": 4}]},
    }
    assert read_type(document) == Option(
        "g5.12xlarge", 48, 192 * 2**30, 4, "NVIDIA A10G", "x86_64", None
    )


def test_a_type_that_tells_little() -> None:
    document = {
        "InstanceType": "mac1.metal",
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64_mac"]},
    }
    assert read_type(document) == Option("mac1.metal", 0, 0)


def price(zone: str, dollars: str, hour: int) -> dict[str, Any]:
    stamp = datetime(2024, 3, 24, hour, tzinfo=timezone.utc)
    return {
        "InstanceType": "r6a.xlarge",
        "AvailabilityZone": zone,
        "SpotPrice": dollars,
        "Timestamp": stamp,
    }


def test_of_a_zone_the_newest_price_counts_and_of_zones_the_lowest() -> None:
    history = [price("a", "0.01", 1), price("a", "0.07", 3), price("b", "0.06", 2)]
    assert cheapest(history) == {"r6a.xlarge": 0.06}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "words"}}, "DescribeInstanceTypes")


def test_what_is_missing_is_one_sentence_with_the_next_step() -> None:
    assert missing(NoRegionError()) == "no region is set; give --region or set AWS_DEFAULT_REGION"
    assert "aws configure" in missing(NoCredentialsError())
    assert missing(refusal("UnauthorizedOperation")) == (
        "DescribeInstanceTypes is not allowed; ask for the permission ec2:DescribeInstanceTypes"
    )
    assert "renew them" in missing(refusal("ExpiredToken"))
    assert missing(refusal("InternalError")) == "DescribeInstanceTypes failed: words"
