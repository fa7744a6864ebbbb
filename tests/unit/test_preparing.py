"""The environment of a job's runs, with its secrets."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sc.errors import CloudError
from sc.fleets.ec2_aws import Call
from sc.fleets.ec2_parameters import read_parameters
from sc.worker.preparing import read_environment
from tests.fakes.aws import FakeAws


def test_secrets_are_looked_up_once_and_only_if_there_are_any() -> None:
    asked: list[list[str]] = []

    def look_up(names: list[str]) -> Mapping[str, str]:
        asked.append(names)
        return {name: f"value of {name}" for name in names}

    assert read_environment({"A": "1", "B": "ssm"}, look_up) == {"A": "1", "B": "ssm"}
    assert asked == []
    found = read_environment({"A": "ssm:/x", "B": "ssm:/x", "C": "ssm:/y", "D": "d"}, look_up)
    assert found == {"A": "value of /x", "B": "value of /x", "C": "value of /y", "D": "d"}
    assert asked == [["/x", "/y"]]


def test_parameters_are_read_ten_at_a_time() -> None:
    def answer(asked: Mapping[str, list[str]]) -> Mapping[str, object]:
        return {"Parameters": [{"Name": name, "Value": name.upper()} for name in asked["Names"]]}

    aws = FakeAws(get_parameters=answer)
    names = [f"/n{number}" for number in range(23)]
    assert read_parameters(aws, names) == {name: name.upper() for name in names}
    assert [len(call.parameters["Names"]) for call in aws.calls] == [10, 10, 3]
    assert aws.calls[0] == Call(
        "ssm", "get_parameters", {"Names": names[:10], "WithDecryption": True}
    )


def test_a_missing_parameter_is_named() -> None:
    aws = FakeAws(get_parameters={"Parameters": [{"Name": "/a", "Value": "1"}]})
    with pytest.raises(CloudError, match="has no /b in eu-west-1"):
        read_parameters(aws, ["/a", "/b"])
