"""AWS, asked again while it has no time for us: hundreds of machines that end together ask in the same seconds."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, Callable, Optional, TypeVar

from sc.fleets.ec2_aws import Aws, AwsRefused, Call

PATIENCE_SECONDS = 300.0
"""Of pauses, after which a refusal counts; botocore has by then tried seven times at each of ours."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 20.0

BUSY = frozenset(
    {
        # docs.aws.amazon.com/autoscaling/ec2/APIReference/CommonErrors.html,
        # docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
        # and what botocore takes for throttling (botocore.retries.standard)
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "EC2ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "SlowDown",
        # AWS has trouble of its own, or an answer without a code came from a machine in between
        "ServiceUnavailable",
        "Unavailable",
        "InternalError",
        "InternalFailure",
        "429",
        "500",
        "502",
        "503",
        "504",
        # docs.aws.amazon.com/autoscaling/ec2/APIReference/API_TerminateInstanceInAutoScalingGroup.html
        "ResourceContention",
        "ResourceContentionFault",
        "ScalingActivityInProgress",
        "ScalingActivityInProgressFault",
    }
)
Answer = TypeVar("Answer")


def is_busy(error: Exception) -> bool:
    """Whether AWS has no time for us now, and will have."""
    return isinstance(error, AwsRefused) and error.code in BUSY


class Patient:
    """An `Aws` that takes "too many at once" for "again"."""

    def __init__(self, aws: Aws, sleep: Callable[[float], None], random: Random) -> None:
        self._aws = aws
        self._sleep = sleep
        self._random = random

    @property
    def region(self) -> str:
        return self._aws.region

    @property
    def uses_fips(self) -> bool:
        return self._aws.uses_fips

    def send(self, call: Call) -> Any:
        """The parsed answer."""
        return self._again(lambda: self._aws.send(call))

    def pages(self, call: Call, key: str) -> Iterator[Any]:
        """The items under `key` of every page; asked for all at once, since none may come twice."""
        yield from self._again(lambda: list(self._aws.pages(call, key)))

    def endpoint(self, service: str, region: Optional[str] = None) -> str:
        """The URL at which a service is asked."""
        return self._aws.endpoint(service, region)

    def _again(self, ask: Callable[[], Answer]) -> Answer:
        waited, pause = 0.0, _FIRST_PAUSE
        while True:
            try:
                return ask()
            except AwsRefused as error:
                if not is_busy(error) or waited >= PATIENCE_SECONDS:
                    raise
            seconds = pause * self._random.uniform(0.5, 1.0)
            self._sleep(seconds)
            waited, pause = waited + seconds, min(2 * pause, _LONGEST_PAUSE)
