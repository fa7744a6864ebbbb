"""Waiting for the first worker, with what AWS and the storage tell as a history."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

import pytest

from sc import paths
from sc.fleets.ec2_follow import Following, last_lines, reason
from sc.fleets.ec2_names import group_name, tag_list, tags
from sc.heartbeats import Heartbeat
from tests.fakes.aws import FakeAws, instance
from tests.fakes.memory_storage import Clock, MemoryStorage

URL = "s3://bucket/.sc/job"
NAME = group_name(URL)
TAGS = tag_list(tags(URL, {}))
AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
BEAT = Heartbeat("i-1", "i-1", "ec2", "r6a.xlarge", 4, "working", 0.0).to_bytes()
FAILED = b"one\ntwo\nsc-bootstrap: failed: no usable sc.pyz\n"


@dataclass
class Story:
    """At each look the next state of the machines; after the last one the clock runs on."""

    looks: list[dict[str, str]]
    machines: int = 2
    earlier: frozenset[str] = frozenset()
    console: str = ""
    activities: list[dict[str, Any]] = field(default_factory=list)
    group: Optional[dict[str, Any]] = None
    reasons: dict[str, str] = field(default_factory=dict)
    """Instance id -> the code of its state's reason."""
    clock: Clock = field(default_factory=Clock)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.storage = MemoryStorage(self.clock)
        self.aws = FakeAws(
            describe_auto_scaling_groups=lambda _: {
                "AutoScalingGroups": [{**self.group, "Tags": TAGS}] if self.group else []
            },
            describe_instances=lambda _: {"Reservations": [{"Instances": self._instances()}]},
            describe_scaling_activities=lambda _: {"Activities": self.activities},
            get_console_output=lambda _: {"Output": self.console},
        )

    def _instances(self) -> list[dict[str, Any]]:
        states = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return [
            instance(name, state, NAME, StateReason={"Code": self.reasons.get(name, "")})
            for name, state in states.items()
        ]

    def _sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        assert self.clock.now < 5000, "it waits for ever"

    def end(self) -> Optional[str]:
        return Following(
            self.aws,
            self.storage,
            URL,
            self.machines,
            self.earlier,
            self.said.append,
            self.clock,
            self._sleep,
        ).until_first_report()

    def log(self, identity: str, text: bytes) -> None:
        self.storage.put(paths.log(URL, identity), text)


def test_a_heartbeat_ends_the_wait() -> None:
    story = Story([{"i-1": "pending"}, {"i-1": "running"}, {"i-1": "running"}])
    story.looks.append({"i-1": "running"})
    real = story._instances

    def with_heartbeat() -> list[dict[str, Any]]:
        if len(story.looks) == 1:
            story.storage.put(paths.heartbeat(URL, "i-1"), BEAT)
        return real()

    story._instances = with_heartbeat  # type: ignore[method-assign]
    assert story.end() is None
    assert story.said == [
        "Instance i-1 (r6a.xlarge, eu-west-1a) was started",
        "Instance i-1 runs its bootstrap",
        "The first worker is at work: i-1",
    ]
    assert story.aws.changes == []


def test_a_heartbeat_of_an_attempt_before_is_no_report() -> None:
    story = Story([{"i-1": "running"}], machines=1)
    story.storage.put(paths.heartbeat(URL, "i-0"), BEAT)
    story.clock.now += 100
    story.log("i-1", FAILED)
    assert story.end() is not None


def test_a_young_heartbeat_of_an_earlier_machine_is_no_report() -> None:
    """The machine of the attempt before may have ended a second ago."""
    story = Story([{"i-1": "terminated", "i-2": "running"}], 1, earlier=frozenset({"i-1"}))
    story.storage.put(paths.heartbeat(URL, "i-1"), BEAT)
    story.log("i-2", FAILED)
    assert story.end() is not None


def test_a_worker_that_could_not_begin_is_no_report() -> None:
    story = Story([{"i-1": "running"}], machines=1)
    gone = Heartbeat("i-1", "i-1", "ec2", "r6a.xlarge", 0, "failed", 0.0, error="start_script: 1")
    story.storage.put(paths.heartbeat(URL, "i-1"), gone.to_bytes())
    story.log("i-1", FAILED)
    assert story.end() is not None


def test_boots_that_fail_alike_are_told_with_their_last_lines() -> None:
    story = Story([{"i-1": "running", "i-2": "running", "i-3": "running"}], machines=3)
    story.log("i-1", FAILED)
    story.log("i-3", FAILED)
    trouble = story.end()
    assert trouble == (
        "2 machines came up and failed before doing any work: no usable sc.pyz\n"
        "--- i-1:\none\ntwo\nsc-bootstrap: failed: no usable sc.pyz"
    )


def test_one_of_many_that_fails_is_not_the_end() -> None:
    story = Story([{"i-1": "terminated", "i-2": "running"}] * 5)
    story.console = "sc-bootstrap: failed: bad luck"
    real = story._sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        if story.clock.now > 1010:
            story.storage.put(paths.heartbeat(URL, "i-2"), BEAT)

    story._sleep = sleep  # type: ignore[method-assign]
    assert story.end() is None
    assert "The boot of i-1 failed" in story.said


@pytest.mark.parametrize(
    "code",
    [
        "Client.VolumeLimitExceeded",
        "Client.InvalidKMSKey.InvalidState",
        "Server.InsufficientInstanceCapacity",
        "Server.SpotInstanceTermination",
    ],
)
def test_machines_that_aws_ends_do_not_end_the_others(code: str) -> None:
    """`scale` is "at most": a quota of storage, or spot capacity, for some of them is enough."""
    states = {f"i-{number}": "running" if number < 8 else "terminated" for number in range(10)}
    story = Story([states], 10, reasons={"i-8": code, "i-9": code})
    real = story._sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        if story.clock.now > 1060:
            beat = Heartbeat("i-0", "i-0", "ec2", "r6a.xlarge", 4, "working", 0.0)
            story.storage.put(paths.heartbeat(URL, "i-0"), beat.to_bytes())

    story._sleep = sleep  # type: ignore[method-assign]
    assert story.end() is None
    assert story.said[-1] == "The first worker is at work: i-0"


def test_a_machine_without_a_log_is_asked_for_its_console() -> None:
    story = Story([{"i-1": "running"}, {"i-1": "shutting-down"}], machines=1)
    story.console = "kernel\nsc-bootstrap: failed: no Python 3.9 or newer"
    trouble = story.end()
    assert trouble is not None
    assert trouble.splitlines()[0].endswith("before doing any work: no Python 3.9 or newer")


def test_a_machine_that_ends_without_a_word_is_told_so() -> None:
    trouble = Story([{"i-1": "terminated"}], machines=1).end()
    assert trouble is not None
    assert "It ended without a log and without a word on its console." in trouble


def test_machines_of_an_attempt_before_are_not_counted() -> None:
    story = Story([{"i-0": "terminated", "i-1": "terminated"}], earlier=frozenset(["i-0"]))
    story.machines = 1
    story.end()
    assert [line for line in story.said if "i-0" in line] == []


def test_a_log_that_tells_of_no_failure_is_no_failure() -> None:
    story = Story([{"i-1": "running"}], machines=1)
    story.log("i-1", b"sc-bootstrap: starting the worker\n")
    with pytest.raises(AssertionError, match="waits for ever"):
        story.end()
    assert any(line.startswith("Still waiting for the first worker") for line in story.said)


def test_a_lack_of_capacity_is_told_once_and_waited_for() -> None:
    told = {
        "StatusCode": "Failed",
        "StatusMessage": "We do not have sufficient r6a.xlarge capacity",
    }
    story = Story([{}], activities=[told, told])
    with pytest.raises(AssertionError, match="waits for ever"):
        story.end()
    assert len([line for line in story.said if "sufficient r6a.xlarge capacity" in line]) == 1


def test_what_aws_will_never_do_ends_the_wait() -> None:
    told = {
        "StatusCode": "Failed",
        "StatusMessage": "You have requested more vCPU capacity than your current vCPU limit",
    }
    trouble = Story([{}], activities=[told]).end()
    assert trouble is not None
    assert trouble.startswith("AWS cannot start these machines: You have requested more vCPU")


QUOTA = {"StatusCode": "Failed", "StatusMessage": "Your current vCPU limit of 4", "StartTime": AT}
CAPACITY = {"StatusCode": "Failed", "StatusMessage": "We do not have capacity", "StartTime": AT}
ZONE = {
    "StatusCode": "Failed",
    "StatusMessage": "Your requested instance type (x) is not supported in your requested Availability Zone (e)",
    "StartTime": AT,
}
PROFILE = {
    "StatusCode": "Failed",
    "StatusMessage": "Invalid IAM Instance Profile name",
    "StartTime": AT,
}
STARTING = {
    "StatusCode": "PreInService",
    "Description": "Launching a new EC2 instance",
    "StartTime": AT,
}


def waits_for_ever(story: Story) -> bool:
    with pytest.raises(AssertionError, match="waits for ever"):
        story.end()
    return True


def test_quota_for_some_machines_is_told_once_and_the_others_work() -> None:
    story = Story([{"i-1": "running", "i-2": "running"}], machines=4)
    story.activities = [{**QUOTA, "StatusMessage": f"vCPU limit, try {n}"} for n in range(9)]
    assert waits_for_ever(story)
    assert len([line for line in story.said if "vCPU limit" in line]) == 1


def test_quota_for_nothing_ends_the_wait_within_a_minute() -> None:
    story = Story([{}], machines=4, activities=[QUOTA])
    began = story.clock.now
    assert "servicequotas" in str(story.end())
    assert story.clock.now - began < 60


def test_refusal_of_a_launch_before_this_one_counts_for_nothing() -> None:
    story = Story([{}], activities=[QUOTA])
    story.group = {"AutoScalingGroupName": NAME, "CreatedTime": AT + timedelta(seconds=5)}
    assert waits_for_ever(story)
    assert not any("vCPU" in line for line in story.said)


def test_refusal_while_machines_are_on_their_way_is_not_the_end() -> None:
    assert waits_for_ever(Story([{}], activities=[QUOTA, STARTING]))
    assert waits_for_ever(Story([{"i-1": "pending"}], machines=4, activities=[QUOTA]))


def test_refusal_of_a_moment_before_the_first_machine_is_not_the_end() -> None:
    story = Story([{}, {}, {}, {"i-1": "pending"}, {"i-1": "running"}], 4, activities=[QUOTA])
    assert waits_for_ever(story)


def test_newest_refusal_tells_and_a_zone_without_the_type_tells_nothing() -> None:
    assert waits_for_ever(Story([{}], activities=[CAPACITY, QUOTA]))
    assert waits_for_ever(Story([{}], activities=[ZONE]))
    assert "vCPU" in str(Story([{}], activities=[ZONE, QUOTA, CAPACITY]).end())


def test_profile_of_a_moment_ago_is_waited_for() -> None:
    story = Story([{}], activities=[PROFILE])
    began = story.clock.now
    assert "Run `sc setup`" in str(story.end())
    assert story.clock.now - began > 240


def test_machine_that_aws_ends_for_its_key_is_told_at_once() -> None:
    for machines in (1, 4):
        story = Story([{"i-1": "pending"}, {"i-1": "terminated"}], machines)
        story.reasons = {"i-1": "Client.InvalidKMSKey.InvalidState"}
        began = story.clock.now
        trouble = str(story.end())
        assert trouble.startswith("AWS cannot start these machines: Client.InvalidKMSKey.Inval")
        assert story.clock.now - began < 60


def test_boot_that_failed_beside_a_quota_tells_both() -> None:
    story = Story([{"i-1": "terminated"}], machines=4, activities=[QUOTA])
    story.log("i-1", FAILED)
    trouble = str(story.end())
    assert "1 machine came up and failed before doing any work: no usable sc.pyz" in trouble
    assert "vCPU limit" in trouble


@pytest.mark.parametrize("state", ["stopping", "stopped"])
def test_machine_that_stops_has_failed_and_is_ended(state: str) -> None:
    story = Story([{"i-1": "running"}, {"i-1": state}], machines=1)
    story.console = "sc-bootstrap: failed: no Python"
    assert "no Python" in str(story.end())
    assert [call.parameters for call in story.aws.calls if call.operation in story.aws.changes] == [
        {"InstanceIds": ["i-1"]}
    ]


@pytest.mark.parametrize("after", [None, {"AutoScalingGroupName": NAME, "DesiredCapacity": 0}])
def test_group_that_somebody_has_stopped_ends_the_wait(after: Optional[dict[str, Any]]) -> None:
    story = Story([{"i-1": "pending"}, {}], machines=3)
    story.group = {"AutoScalingGroupName": NAME, "DesiredCapacity": 3}
    real = story._sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        story.group = after

    story._sleep = sleep  # type: ignore[method-assign]
    assert "somebody has stopped this job" in str(story.end())


def test_lines_of_a_machine_cannot_steer_a_terminal() -> None:
    assert last_lines("a\x1b[2Jb\n\n\nc\tö") == "a?[2Jb\nc\tö"
    assert len(last_lines("\n".join(map(str, range(100)))).splitlines()) == 15


def test_the_last_reason_counts() -> None:
    assert reason("sc-bootstrap: failed: one\nsc-bootstrap: failed: two\n") == "two"
    assert reason("nothing") == ""
