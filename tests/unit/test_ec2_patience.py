"""What is asked of AWS again."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from botocore.retries.standard import ThrottledRetryableChecker

from sc.fleets import courier
from sc.fleets.ec2_aws import AwsRefused, Call
from sc.fleets.ec2_patience import BUSY, PATIENCE_SECONDS, Patient
from tests.fakes.aws import FakeAws, refused

CALL = Call("autoscaling", "terminate_instance_in_auto_scaling_group", {})


def patient(code: str, times: int) -> tuple[Patient, FakeAws, list[float]]:
    """One that is refused so often."""
    left, pauses = [times], list[float]()

    def answer(asked: Mapping[str, Any]) -> Any:
        left[0] -= 1
        return refused(code) if left[0] >= 0 else {"Items": [1, 2]}

    aws = FakeAws(terminate_instance_in_auto_scaling_group=answer)
    return Patient(aws, pauses.append, Random(1)), aws, pauses


@pytest.mark.parametrize("code", sorted(BUSY))
def test_patient_asks_again_when_aws_is_busy(code: str) -> None:
    asking, aws, pauses = patient(code, 5)
    assert asking.send(CALL) == {"Items": [1, 2]}
    assert len(aws.calls) == 6
    assert pauses == sorted(pauses)


def test_patient_asks_for_all_pages_again() -> None:
    asking, aws, _ = patient("Throttling", 1)
    assert list(asking.pages(CALL, "Items")) == [1, 2]
    assert len(aws.calls) == 2


def test_patient_gives_up_after_some_minutes() -> None:
    asking, _, pauses = patient("Throttling", 10_000)
    with pytest.raises(AwsRefused, match="Throttling"):
        asking.send(CALL)
    assert PATIENCE_SECONDS <= sum(pauses) < PATIENCE_SECONDS + 20


@pytest.mark.parametrize("code", ["AccessDenied", "ValidationError", "InvalidGroup.NotFound"])
def test_patient_takes_no_for_an_answer(code: str) -> None:
    asking, aws, _ = patient(code, 1)
    with pytest.raises(AwsRefused):
        asking.send(CALL)
    assert len(aws.calls) == 1


def test_all_that_botocore_takes_for_throttling_of_these_services_is_known() -> None:
    of_others = {
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
        "LimitExceededException",
    }
    checker: Any = ThrottledRetryableChecker
    known = set(checker._THROTTLED_ERROR_CODES)
    assert known - of_others <= BUSY


def test_what_throttles_is_known_to_the_courier_too() -> None:
    told = {code for code in BUSY if any(word in code for word in courier.BUSY)}
    assert told >= {"Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown"}
