"""Two launches of one job, the second of which comes between any two calls of the first. In the program a lease keeps
them apart (`sc.start_lease`); here it is away, and still neither takes away what the other has made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Optional

import pytest

from sc.commands.stop import ask_of_others
from sc.errors import CloudError, InputError
from sc.fleets import Launch
from sc.fleets.ec2 import Ec2Fleet
from sc.fleets.ec2_aws import AwsRefused, Call
from sc.fleets.ec2_launch import launch
from sc.fleets.ec2_names import tag_list
from sc.fleets.ec2_requests import Place, Plan
from tests.fakes import memory_storage
from tests.fakes.aws import FakeAws, instance, refused
from tests.unit.test_ec2_requests import plan

PLACE = Place("vpc-1", ("subnet-a",), ("sg-1",))
FIRST, SECOND = (replace(plan(), nonce=nonce, place=PLACE) for nonce in ("first", "second"))
CALLS = 9
"""Of a launch: it looks with four, and makes with five."""


@dataclass
class Account:
    """As much of EC2 and Auto Scaling as a launch sees: names are taken once, and filters by tag hold."""

    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    before: Callable[[Call], None] = lambda call: None
    region: str = "eu-west-1"
    uses_fips: bool = False

    def send(self, call: Call) -> Any:
        self.before(call)
        return getattr(self, f"_{call.operation}", self._nothing)(call.parameters)

    def pages(self, call: Call, key: str) -> Iterator[Any]:
        yield from self.send(call).get(key, [])

    def endpoint(self, service: str, region: Optional[str] = None) -> str:
        return f"https://{service}"

    def _nothing(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def _create_launch_template(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = asked["LaunchTemplateName"]
        if name in self.templates:
            raise refused("InvalidLaunchTemplateName.AlreadyExistsException")
        tags = asked["TagSpecifications"][0]["Tags"]
        self.templates[name] = {"LaunchTemplateName": name, "LaunchTemplateId": name, "Tags": tags}
        return {"LaunchTemplate": self.templates[name]}

    def _create_auto_scaling_group(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["AutoScalingGroupName"] in self.groups:
            raise refused("AlreadyExists")
        self.groups[asked["AutoScalingGroupName"]] = dict(asked)
        return {}

    def _set_desired_capacity(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["AutoScalingGroupName"] not in self.groups:
            raise refused("ValidationError", "AutoScalingGroup name not found")
        self.groups[asked["AutoScalingGroupName"]].update(asked)
        return {}

    def _delete_auto_scaling_group(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.groups.pop(asked["AutoScalingGroupName"], None)
        return {}

    def _delete_launch_template(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.templates.pop(asked["LaunchTemplateName"], None)
        return {}

    def _describe_auto_scaling_groups(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"AutoScalingGroups": list(self.groups.values())}

    def _describe_launch_templates(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"LaunchTemplates": _filtered(self.templates, asked)}

    def nonces(self) -> set[str]:
        """Of all that is there."""
        made = [*self.templates.values(), *self.groups.values()]
        return {tag["Value"] for one in made for tag in one["Tags"] if tag["Key"] == "sc:nonce"}


def _filtered(made: Mapping[str, dict[str, Any]], asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    wanted = {
        each["Name"][len("tag:") :]: each["Values"]
        for each in asked["Filters"]
        if each["Name"].startswith("tag:")
    }
    return [
        one
        for one in made.values()
        if all(
            any(tag["Key"] == key and tag["Value"] in values for tag in one["Tags"])
            for key, values in wanted.items()
        )
    ]


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def start(account: Account, wanted: Plan) -> Optional[Exception]:
    clock = Clock()
    try:
        launch(account, wanted, lambda line: None, lambda: clock.now, clock.sleep)
    except (CloudError, InputError) as error:
        return error
    return None


@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_launch_between_two_calls_of_another_takes_nothing_of_it_away(number: int) -> None:
    """The second one runs as a whole before the `number`-th call of the first."""
    account, calls = Account(), 0
    outcome: list[Optional[Exception]] = []

    def interleave(call: Call) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            account.before = lambda call: None
            outcome.append(start(account, SECOND))

    account.before = interleave
    first = start(account, FIRST)
    assert outcome, "there are fewer calls"
    (group,) = account.groups.values()
    assert group["DesiredCapacity"] == FIRST.machines, "whoever was first to the end has machines"
    assert len(account.templates) == 1
    assert len(account.nonces()) == 1, "template and group are of one launch"
    assert first is None or outcome[0] is None


def test_what_another_launch_made_is_told_as_such_and_left_alone() -> None:
    account = Account()

    def meanwhile(call: Call) -> None:
        if call.operation == "create_launch_template":
            account.before = lambda call: None
            assert start(account, SECOND) is None

    account.before = meanwhile
    told = start(account, FIRST)
    assert "Another start of this job is under way" in str(told)
    assert account.nonces() == {"second"}
    assert len(account.groups) == 1


@pytest.mark.parametrize("operation", ["create_launch_template", "create_auto_scaling_group"])
def test_creation_whose_answer_was_lost_is_known_as_ones_own(operation: str) -> None:
    account = Account()
    real = getattr(account, f"_{operation}")

    def unheard(asked: Mapping[str, Any]) -> Any:
        real(asked)
        return real(asked)  # as botocore sends it again after a time-out

    setattr(account, f"_{operation}", unheard)
    assert start(account, FIRST) is None
    assert account.nonces() == {"first"}


@pytest.mark.parametrize(
    ("said", "step"),
    [
        # github.com/CheckPointSW/CloudGuardIaaS/issues/369
        (
            (
                "You must use a valid fully-formed launch template. In order to use this AWS Marketplace product you "
                "need to accept terms and subscribe. To do so please visit https://aws.amazon.com/marketplace/pp?sku=x"
            ),
            "Subscribe to the image",
        ),
        # github.com/hashicorp/terraform-provider-aws/issues/4769
        (
            (
                "You must use a valid fully-formed launch template. Value (p) for parameter iamInstanceProfile.name is "
                "invalid. Invalid IAM Instance Profile name"
            ),
            "Run `sc setup`",
        ),
        ("Something that nobody has seen yet", ""),
    ],
)
def test_group_that_aws_refuses_has_the_next_step_of_its_machines(said: str, step: str) -> None:
    account = Account()

    def refuse(call: Call) -> None:
        if call.operation == "create_auto_scaling_group":
            raise refused("ValidationError", said)

    account.before = refuse
    told = start(account, FIRST)
    assert isinstance(told, AwsRefused)
    assert str(told).startswith(said)
    assert step in str(told)
    assert account.templates == {}


@pytest.mark.parametrize(
    "operation", ["create_auto_scaling_group", "suspend_processes", "set_desired_capacity"]
)
def test_launch_that_fails_takes_away_all_of_its_own(operation: str) -> None:
    account = Account()

    def refuse(call: Call) -> None:
        if call.operation == operation:
            raise AwsRefused("no", "AccessDenied")

    account.before = refuse
    assert isinstance(start(account, FIRST), AwsRefused)
    assert (account.templates, account.groups) == ({}, {})


def test_whoever_slept_while_they_waited_ends_nothing_of_a_later_launch() -> None:
    """Their own machines have ended, as the job has; AWS tells of them for an hour. Then somebody starts it anew."""
    clock, url = memory_storage.Clock(), FIRST.job_url
    in_group = {"Key": "aws:autoscaling:groupName", "Value": FIRST.name}

    def tagged(one: Plan) -> list[dict[str, str]]:
        return [in_group, *tag_list(one.tags)]

    old = [instance(f"i-{n}", "terminated", FIRST.name, Tags=tagged(FIRST)) for n in range(2)]
    new = instance("i-2", "pending", FIRST.name, Tags=tagged(SECOND))
    group = {"AutoScalingGroupName": FIRST.name, "DesiredCapacity": 1, "Tags": tagged(SECOND)}
    aws = FakeAws(
        describe_auto_scaling_groups={"AutoScalingGroups": [group]},
        describe_instances={"Reservations": [{"Instances": [*old, new]}]},
        describe_scaling_activities={"Activities": []},
        get_console_output={"Output": ""},
    )

    def sleep(seconds: float) -> None:
        clock.now += seconds

    waiting = Launch(url, FIRST.recipe, 2, "", "", nonce=FIRST.nonce)
    with pytest.raises(CloudError):
        Ec2Fleet("eu-west-1", {}, aws, clock, sleep).follow(
            waiting, memory_storage.MemoryStorage(clock), lambda line: None
        )
    assert aws.changes == []


@pytest.mark.parametrize(("code", "is_raised"), [("Throttling", True), ("AccessDenied", False)])
def test_stop_of_a_job_whose_owner_cannot_be_told_now_changes_nothing(
    code: str, is_raised: bool
) -> None:
    aws = FakeAws(describe_auto_scaling_groups=refused(code))
    fleet = Ec2Fleet("eu-west-1", {}, aws)
    with pytest.raises(CloudError) if is_raised else nullcontext():
        ask_of_others([FIRST.job_url], memory_storage.MemoryStorage(memory_storage.Clock()), fleet)
