"""Taking away what a job has, in an order in which nothing can come back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

import pytest

from sc.errors import InputError
from sc.fleets.ec2_found import ended_at, find_by_name, find_everything, find_jobs, find_one
from sc.fleets.ec2_names import group_name, is_ours, tags
from sc.fleets.ec2_remove import Removal
from tests.fakes.aws import FakeAws, instance, refused

URL = "s3://b/.sc/job"
NAME = group_name(URL)
TAGS = [{"Key": "sc:job", "Value": "job"}, {"Key": "sc:url", "Value": URL}]


class World:
    """A job's things, which go when they are told to; instances take one look longer."""

    def __init__(self, instances: int = 2, **answers: Any) -> None:
        self.group = True
        self.template = True
        self.security_group = True
        self.states = {f"i-{number}": "running" for number in range(1, instances + 1)}
        self.aws = FakeAws(
            describe_auto_scaling_groups=lambda _: {"AutoScalingGroups": self._groups()},
            describe_instances=lambda _: {"Reservations": [{"Instances": self._instances()}]},
            describe_launch_templates=lambda _: {"LaunchTemplates": self._templates()},
            describe_security_groups=self._security_groups,
            delete_auto_scaling_group=self._delete_group,
            terminate_instances=self._terminate,
            terminate_instance_in_auto_scaling_group=lambda asked: self._terminate(
                {"InstanceIds": [asked["InstanceId"]]}
            ),
            delete_launch_template=lambda _: self._gone("template"),
            delete_security_group=self._delete_security_group,
        )
        self.aws.answers.update(answers)

    def _groups(self) -> list[dict[str, Any]]:
        one = {"AutoScalingGroupName": NAME, "DesiredCapacity": 2, "Tags": TAGS, "Instances": []}
        return [one] if self.group else []

    def _instances(self) -> list[dict[str, Any]]:
        told = [instance(name, state, NAME) for name, state in self.states.items()]
        for name, state in self.states.items():
            if state == "shutting-down":
                self.states[name] = "terminated"
        return told

    def _templates(self) -> list[dict[str, Any]]:
        return [{"LaunchTemplateName": NAME, "Tags": TAGS}] if self.template else []

    def _security_groups(self, _: Mapping[str, Any]) -> dict[str, Any]:
        mine = {"GroupName": NAME, "GroupId": "sg-1", "VpcId": "vpc-1", "Tags": TAGS}
        return {"SecurityGroups": [mine] if self.security_group else []}

    def _delete_group(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        assert asked == {"AutoScalingGroupName": NAME, "ForceDelete": True}
        self.group = False
        self._end(list(self.states))
        return {}

    def _terminate(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._end(asked["InstanceIds"])
        return {}

    def _end(self, names: list[str]) -> None:
        for name in names:
            if self.states[name] == "running":
                self.states[name] = "shutting-down"

    def _delete_security_group(self, _: Any) -> Any:
        if any(state != "terminated" for state in self.states.values()):
            return refused("DependencyViolation")
        return self._gone("security_group")

    def _gone(self, name: str) -> dict[str, Any]:
        setattr(self, name, False)
        return {}

    @property
    def is_empty(self) -> bool:
        return not (self.group or self.template or self.security_group)


def patience(looks: int) -> Callable[[], bool]:
    left = iter(range(looks))
    return lambda: next(left, None) is not None


def removal(world: World, looks: int = 20) -> Removal:
    return Removal(world.aws, lambda line: None, patience(looks), lambda seconds: None)


def test_from_outside_the_group_goes_first_and_the_rest_when_all_machines_are_gone() -> None:
    world = World()
    assert removal(world).from_outside(find_by_name(world.aws, NAME)) == []
    assert world.is_empty
    assert set(world.states.values()) == {"terminated"}
    assert world.aws.changes == [
        "suspend_processes",
        "delete_auto_scaling_group",
        "terminate_instances",
        "delete_launch_template",
        "delete_security_group",
    ]


def test_it_can_be_repeated_after_any_of_its_steps() -> None:
    for step in range(5):
        world = World()
        sent = 0
        real = world.aws.send

        def dying(call: Any, real: Any = real, limit: int = step) -> Any:
            nonlocal sent
            if not call.operation.startswith("describe"):
                if sent == limit:
                    raise KeyboardInterrupt
                sent += 1
            return real(call)

        world.aws.send = dying  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            removal(world).from_outside(find_by_name(world.aws, NAME))
        world.aws.send = real  # type: ignore[method-assign]
        assert removal(world).from_outside(find_by_name(world.aws, NAME)) == []
        assert world.is_empty


def test_machines_may_first_leave_by_themselves() -> None:
    world = World()
    looks = iter([True, True, True, True])

    def leaving() -> bool:
        world.states["i-1"] = "terminated"
        return next(looks, False)

    removal(world).from_outside(find_by_name(world.aws, NAME), leaving)
    assert world.aws.changes[:2] == ["suspend_processes", "delete_auto_scaling_group"]
    terminated = [c for c in world.aws.calls if c.operation == "terminate_instances"]
    assert [call.parameters["InstanceIds"] for call in terminated] == [["i-2"]]


def test_what_stays_is_told_with_the_command_that_ends_it() -> None:
    world = World(
        delete_launch_template=refused("UnauthorizedOperation", "you may not"),
    )
    (sentence,) = removal(world).from_outside(find_by_name(world.aws, NAME))
    assert sentence.startswith(f"Could not end launch template {NAME}: you may not")
    assert sentence.endswith(
        f"By hand: aws --region eu-west-1 ec2 delete-launch-template --launch-template-name {NAME}"
    )


def test_machines_that_do_not_end_in_time_are_told() -> None:
    world = World(terminate_instances={})
    world.states = {"i-1": "stopping", "i-2": "stopping"}
    sentences = removal(world, looks=3).from_outside(find_by_name(world.aws, NAME))
    assert "instances i-1 i-2: AWS has not ended them yet" in sentences[0]
    assert "aws --region eu-west-1 ec2 terminate-instances --instance-ids i-1 i-2" in sentences[0]
    assert len(sentences) == 2  # and the security group that they are in


def test_the_last_machine_removes_itself_at_the_very_end() -> None:
    world = World(instances=1)
    assert removal(world).from_inside(find_by_name(world.aws, NAME), "i-1") == []
    assert (world.group, world.template) == (False, False)
    assert world.aws.changes == [
        "suspend_processes",
        "delete_launch_template",
        "delete_auto_scaling_group",
    ]


def test_the_last_machine_waits_for_the_others() -> None:
    world = World(instances=2)
    looked = 0
    real = world.aws.answers["describe_instances"]

    def look(asked: Any) -> Any:
        nonlocal looked
        looked += 1
        if looked == 4:
            world.states["i-2"] = "terminated"
        assert callable(real)
        return real(asked)

    world.aws.answers["describe_instances"] = look
    assert removal(world).from_inside(find_by_name(world.aws, NAME), "i-1") == []
    assert looked == 5  # and once more for strangers, before the group goes
    assert (world.group, world.template) == (False, False)


LONG = "s3://b/" + "x" * 300 + "/.sc/job"


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (NAME, tags(URL, {}), True),
        (NAME, tags(URL, {"sc:url": "s3://else", "sc:job": "else"}), True),
        (group_name(LONG), tags(LONG, {"sc:url": "s3://else/.sc/job"}), True),
        (NAME, {"sc:job": "job"}, True),
        ("web-production", {"sc:job": "job"}, False),
        ("web-production", tags(URL, {}), False),
        ("", tags(URL, {}), False),
        (NAME, {}, False),
        (NAME, {"Name": "sc job"}, False),
        ("sc-web-production", {"sc:job": "job"}, False),
        ("sc-job-12345678-blue", {"sc:job": "job"}, False),
        ("sc-job-1234567g", {"sc:job": "job"}, False),
        ("sc-jobs-12345678", {"sc:job": "job"}, False),
        ("sc-j.b-12345678", {"sc:job": "job"}, False),
        ("sc-job-12345678", tags(URL, {}), False),
        (NAME, tags("s3://b/elsewhere/.sc/job", {}), False),
        (NAME, {"sc:job": "iris", "sc:url": URL}, False),
        (NAME, {"sc:job": ".*", "sc:url": ""}, False),
    ],
)
def test_is_ours_asks_for_the_name_that_the_own_tags_give(
    name: str, given: dict[str, str], expected: bool
) -> None:
    assert is_ours(name, given) is expected


def stranger(identity: str, group: str = "", **tagged: str) -> dict[str, Any]:
    """An instance whose group is somebody else's, or that has no tags of ours."""
    given = {**tagged, **({"aws:autoscaling:groupName": group} if group else {})}
    return {
        **instance(identity),
        "Tags": [{"Key": key.replace("_", ":"), "Value": value} for key, value in given.items()],
    }


def test_strangers_with_our_tag_are_told_and_are_no_job() -> None:
    world = World(instances=1)
    web = {"AutoScalingGroupName": "web-production", "DesiredCapacity": 3, "Tags": TAGS}
    world.aws.answers["describe_auto_scaling_groups"] = lambda _: {
        "AutoScalingGroups": [*world._groups(), web]
    }
    others = [
        stranger("i-web", "web-production", sc_job="job"),
        stranger("i-copy", "web-production", sc_job="job", sc_url=URL),
        stranger("i-alone", sc_job="job", sc_url=URL),
        stranger("i-other", sc_job="other"),
        {**stranger("i-over", sc_job="job"), "State": {"Name": "terminated"}},
        {**stranger("i-ending", sc_job="job"), "State": {"Name": "shutting-down"}},
    ]
    world.aws.answers["describe_instances"] = lambda _: {
        "Reservations": [{"Instances": [*world._instances(), *others]}]
    }
    world.aws.answers["describe_launch_templates"] = lambda _: {
        "LaunchTemplates": [{"LaunchTemplateName": "web", "Tags": TAGS}, *world._templates()]
    }
    (found,) = find_everything(world.aws).jobs
    assert (found.name, found.alive) == (NAME, ["i-1"])

    def strays(job: Any) -> list[str]:
        return [one["InstanceId"] for one in find_everything(world.aws, job).strays]

    assert strays(None) == ["i-web", "i-copy", "i-alone", "i-other"]
    assert strays("job") == ["i-web", "i-copy", "i-alone"]
    assert strays(URL) == ["i-copy", "i-alone"]
    assert [job.name for job in find_everything(world.aws, URL).jobs] == [NAME]
    assert find_everything(world.aws, "nothing") == ([], [])


def with_stranger(world: World) -> World:
    """Somebody has put an instance of theirs into the job's group."""
    theirs = stranger("i-theirs", NAME)
    world.aws.answers["describe_instances"] = lambda _: {
        "Reservations": [{"Instances": [*world._instances(), theirs]}]
    }
    world.aws.answers["delete_auto_scaling_group"] = AssertionError
    return world


def test_from_outside_a_group_with_a_stranger_stays_and_ours_end() -> None:
    world = with_stranger(World())
    (sentence,) = removal(world).from_outside(find_by_name(world.aws, NAME))
    assert set(world.states.values()) == {"terminated"}
    assert (world.group, world.template) == (True, False)
    out = {"ShouldDecrementDesiredCapacity": True}
    ended = [c.parameters for c in world.aws.calls if c.operation.startswith("terminate")]
    assert ended == [{"InstanceId": "i-1", **out}, {"InstanceId": "i-2", **out}]
    assert "somebody has put i-theirs into it" in sentence
    assert (
        "aws --region eu-west-1 autoscaling detach-instances --should-decrement-desired-capacity "
        f"--instance-ids i-theirs --auto-scaling-group-name {NAME}"
    ) in sentence


def test_from_inside_a_group_with_a_stranger_stays_and_the_machine_leaves_it() -> None:
    world = with_stranger(World(instances=1))
    (sentence,) = removal(world).from_inside(find_by_name(world.aws, NAME), "i-1")
    assert "detach-instances" in sentence
    last = world.aws.calls[-1]
    assert last.operation == "terminate_instance_in_auto_scaling_group"
    assert last.parameters == {"InstanceId": "i-1", "ShouldDecrementDesiredCapacity": True}


def test_jobs_are_found_by_tag_by_name_and_by_url() -> None:
    world = World()
    (found,) = find_jobs(world.aws)
    assert (found.name, found.job, found.job_url) == (NAME, "job", "s3://b/.sc/job")
    assert found.alive == ["i-1", "i-2"]
    assert [machine.state for machine in found.machines()] == ["running", "running"]
    assert find_one(world.aws, "job").name == NAME
    assert find_jobs(world.aws, "other") == []
    assert find_one(world.aws, "s3://b/.sc/elsewhere").is_nothing


def test_a_name_that_means_two_jobs_is_not_guessed() -> None:
    world = World()
    other = {"AutoScalingGroupName": "sc-job-00000002", "DesiredCapacity": 1, "Tags": TAGS[:1]}
    world.aws.answers["describe_auto_scaling_groups"] = lambda _: {
        "AutoScalingGroups": [*world._groups(), other]
    }
    with pytest.raises(
        InputError, match=r"Several jobs are called 'job'.*sc-job-00000002, s3://b/\.sc/job"
    ):
        find_one(world.aws, "job")


def test_the_end_of_an_instance_is_read_out_of_its_reason() -> None:
    reason = "User initiated (2026-11-23 14:00:00 GMT)"
    assert ended_at({"StateTransitionReason": reason}) == 1795442400.0
    assert ended_at({"StateTransitionReason": ""}) is None
    assert ended_at({}) is None
