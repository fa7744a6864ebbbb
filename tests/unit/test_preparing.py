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


ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter"


class Store:
    """As Parameter Store answers: without the selector in the name, and by the ARN of what another account shares."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.values = {
            "/a": "newest",
            "/a:2": "second",
            "/a:stable": "labelled",
            f"{ARN}/a": "of another",
            f"{ARN}/a:1": "first of another",
            "plain": "flat",
            f"{ARN}/flat:7": "seventh",
        }

    def __call__(self, parameters: Mapping[str, list[str]]) -> Mapping[str, object]:
        names = parameters["Names"]
        self.asked.append(names)
        known = [name for name in names if name in self.values]
        return {
            "Parameters": [
                {"Name": self._told(name), "Value": self.values[name], "Selector": ":"}
                for name in sorted(known)
            ],
            "InvalidParameters": [name for name in names if name not in self.values],
        }

    def _told(self, name: str) -> str:
        start, colon, rest = name.partition(":parameter")
        return start + colon + rest.partition(":")[0] if colon else name.partition(":")[0]


class ByNameOnly(Store):
    """As it answers for an ARN of the own account."""

    def _told(self, name: str) -> str:
        told = super()._told(name)
        return told.partition(":parameter")[2] or told


@pytest.mark.parametrize("kind", [Store, ByNameOnly])
def test_versions_labels_and_arns_of_one_parameter_are_told_apart(kind: type[Store]) -> None:
    store = kind()
    names = [*store.values]
    assert read_parameters(FakeAws(get_parameters=store), names) == store.values
    assert sorted(name for batch in store.asked for name in batch) == sorted(names)


def test_missing_version_is_named_with_it() -> None:
    with pytest.raises(CloudError, match=r"has no /a:9, arn:.*:parameter/b in eu-west-1"):
        read_parameters(FakeAws(get_parameters=Store()), ["/a", "/a:9", f"{ARN}/b"])


def test_a_missing_parameter_is_named() -> None:
    aws = FakeAws(get_parameters={"Parameters": [{"Name": "/a", "Value": "1"}]})
    with pytest.raises(CloudError, match="has no /b in eu-west-1"):
        read_parameters(aws, ["/a", "/b"])
