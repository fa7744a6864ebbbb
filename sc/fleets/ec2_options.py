"""The instance types that EC2 offers in a region, and what they cost on the spot market now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Optional

from sc.fleets.ec2_aws import UNREADABLE, AwsRefused, Call, no_answer, refuse_unusable_keys


class Option(NamedTuple):
    """One kind of machine that a recipe may name as `instance_type`."""

    name: str
    vcpus: int
    memory_bytes: int
    gpus: int = 0
    gpu_model: str = ""
    architecture: str = ""
    spot_dollars_per_hour: Optional[float] = None
    """The cheapest zone's price; None where it is not told."""


def ec2_options(
    environment: Mapping[str, str], region: Optional[str], pattern: str, now: datetime
) -> tuple[list[Option], str]:
    """The types whose name matches the shell pattern, and why prices are missing ("" if they are not).

    Raises AwsRefused, with the next step, where EC2 cannot be asked. Needs `ec2:DescribeInstanceTypes`;
    with `ec2:DescribeSpotPriceHistory` prices are told too.
    """
    try:
        client = _client(environment, region)
        types = _pages(client, "describe_instance_types", "InstanceTypes", _filters(pattern))
        found = [read_type(document) for document in types]
    except Exception as error:  # its parser's errors have no common root
        sentence = f"the instance types of EC2 are missing: {missing(error)}"
        raise AwsRefused(sentence, type(error).__name__) from error
    if not found:
        return [], ""
    try:
        prices = _spot_prices(client, [option.name for option in found], now)
    except Exception as error:  # noqa: BLE001 - as above; the types are known all the same
        return found, f"spot prices are missing: {missing(error)}"
    return [option._replace(spot_dollars_per_hour=prices.get(option.name)) for option in found], ""


def read_type(document: Mapping[str, Any]) -> Option:
    """One entry of the answer of DescribeInstanceTypes."""
    gpus = document.get("GpuInfo", {}).get("Gpus", [])
    architectures = document.get("ProcessorInfo", {}).get("SupportedArchitectures", [])
    models = dict.fromkeys(
        f"{gpu.get('Manufacturer', '')} {gpu.get('Name', '')}".strip() for gpu in gpus
    )
    return Option(
        name=document["InstanceType"],
        vcpus=document.get("VCpuInfo", {}).get("DefaultVCpus", 0),
        memory_bytes=document.get("MemoryInfo", {}).get("SizeInMiB", 0) * 2**20,
        gpus=sum(gpu.get("Count", 0) for gpu in gpus),
        gpu_model=", ".join(models),
        architecture=next((a for a in ("x86_64", "arm64") if a in architectures), ""),
    )


def cheapest(history: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The lowest price of each type over all zones; of a zone its newest entry counts."""
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entry in history:
        key = (entry["InstanceType"], entry["AvailabilityZone"])
        if key not in newest or entry["Timestamp"] > newest[key]["Timestamp"]:
            newest[key] = entry
    prices: dict[str, float] = {}
    for (name, _), entry in newest.items():
        price = float(entry["SpotPrice"])
        prices[name] = min(price, prices.get(name, price))
    return prices


def missing(error: Exception) -> str:
    """What EC2 or botocore said, in one sentence with the next step."""
    import botocore.exceptions

    if isinstance(error, botocore.exceptions.NoRegionError):
        return "no region is set; give --region or set AWS_DEFAULT_REGION"
    if isinstance(error, botocore.exceptions.NoCredentialsError):
        return "no AWS credentials were found; run 'aws configure' or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, botocore.exceptions.ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        if not code and not error.response.get("Error", {}).get("Message"):
            return no_answer(Call("ec2", "describe_instance_types", {}), UNREADABLE)
        if code in ("UnauthorizedOperation", "AccessDenied"):
            return f"{error.operation_name} is not allowed; ask for the permission ec2:{error.operation_name}"
        if code in ("AuthFailure", "InvalidClientTokenId", "ExpiredToken", "RequestExpired"):
            return f"AWS does not accept these credentials ({code}); renew them, for example with 'aws sso login'"
        return (
            f"{error.operation_name} failed: {error.response.get('Error', {}).get('Message', code)}"
        )
    if isinstance(error, (botocore.exceptions.BotoCoreError, AwsRefused, ValueError)):
        return " ".join(str(error).split())
    return no_answer(Call("ec2", "describe_instance_types", {}), UNREADABLE)


def _client(environment: Mapping[str, str], region: Optional[str]) -> Any:
    import boto3
    from botocore.config import Config

    from sc.storage import s3_keys

    config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10)
    chosen = region or environment.get("AWS_REGION") or None
    session = boto3.session.Session(region_name=chosen, botocore_session=s3_keys.session())
    refuse_unusable_keys(session)
    return session.client("ec2", config=config)


def _filters(pattern: str) -> Mapping[str, Any]:
    """EC2 knows `*` and `?` itself; anything finer is left to the caller. A name without its dot is asked for with
    the dot in every place."""
    if not pattern or "[" in pattern or len(pattern) > 100:
        return {}
    values = [pattern]
    if "." not in pattern:
        values += [f"{pattern[:place]}.{pattern[place:]}" for place in range(1, len(pattern))]
    return {"Filters": [{"Name": "instance-type", "Values": values}]}


def _spot_prices(client: Any, names: list[str], now: datetime) -> dict[str, float]:
    """With a start of now, the answer holds just the entry in force of each zone."""
    question: dict[str, Any] = {"StartTime": now, "ProductDescriptions": ["Linux/UNIX"]}
    if len(names) <= 100:
        question["InstanceTypes"] = names
    return cheapest(_pages(client, "describe_spot_price_history", "SpotPriceHistory", question))


def _pages(client: Any, operation: str, key: str, question: Mapping[str, Any]) -> Iterable[Any]:
    for page in client.get_paginator(operation).paginate(**question):
        yield from page[key]
