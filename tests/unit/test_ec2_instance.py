"""The worker's side of an instance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, Optional

import pytest

from sc.errors import CloudError
from sc.fleets.ec2_instance import InstanceSide, Notice
from sc.fleets.ec2_names import group_name, tag_list, tags
from tests.fakes.aws import FakeAws, instance, refused

URL = "s3://bucket/.sc/job"
NAME = group_name(URL)
IDENTITY = {"instanceId": "i-2", "instanceType": "r6a.xlarge", "region": "eu-west-1"}
FACTS = {"dynamic/instance-identity/document": json.dumps(IDENTITY)}


class Facts(dict[str, str]):
    """A metadata service as a dictionary; where `is_away`, nobody answers."""

    is_away = False

    def get(self, path: str, default: Optional[str] = None) -> Optional[str]:  # type: ignore[override]
        if self.is_away:
            raise OSError("no route to host")
        return super().get(path)


def here(
    facts: Mapping[str, str], aws: FakeAws, tmp_path: Path, pauses: Optional[list[float]] = None
) -> InstanceSide:
    return InstanceSide(
        URL,
        facts if isinstance(facts, Facts) else Facts({**FACTS, **facts}),
        aws=lambda region: aws,
        ready_file=str(tmp_path / "ready"),
        left_file=str(tmp_path / "left"),
        now=lambda: 1_800_000_000.0,
        sleep=(lambda seconds: None) if pauses is None else pauses.append,
        life_file=str(tmp_path / "run/life"),
        random=Random(1),
    )


def test_it_knows_who_it_is(tmp_path: Path) -> None:
    side = here({}, FakeAws(), tmp_path)
    assert (side.id, side.kind, side.region, side.group) == ("i-2", "r6a.xlarge", "eu-west-1", NAME)


def test_elsewhere_there_is_a_sentence() -> None:
    with pytest.raises(CloudError, match="This is no EC2 instance"):
        InstanceSide(URL, Facts())


@pytest.mark.parametrize(
    ("facts", "notice"),
    [
        ({}, None),
        (
            {
                "meta-data/spot/instance-action": '{"action": "terminate", "time": "2027-01-15T08:02:00Z"}'
            },
            Notice("interruption", 120.0),
        ),
        ({"meta-data/spot/instance-action": "nonsense"}, None),
        ({"meta-data/events/recommendations/rebalance": "{}"}, Notice("rebalance", None)),
        ({"meta-data/autoscaling/target-lifecycle-state": "InService"}, None),
        ({"meta-data/autoscaling/target-lifecycle-state": "Terminated"}, Notice("ending", None)),
    ],
)
def test_notices(facts: Mapping[str, str], notice: Optional[Notice], tmp_path: Path) -> None:
    assert here(facts, FakeAws(), tmp_path).notice() == notice


def test_a_metadata_service_that_is_away_gives_no_notice(tmp_path: Path) -> None:
    facts = Facts(FACTS)
    side = here(facts, FakeAws(), tmp_path)
    facts.is_away = True
    assert side.notice() is None


def test_the_first_that_works_lets_aws_replace_what_is_lost(tmp_path: Path) -> None:
    aws = FakeAws()
    side = here({}, aws, tmp_path)
    side.proved()
    (call,) = aws.calls
    assert call.operation == "resume_processes"
    assert call.parameters == {
        "AutoScalingGroupName": NAME,
        "ScalingProcesses": ["ReplaceUnhealthy"],
    }
    assert (tmp_path / "ready").exists()
    assert side.refused is None


def test_a_refusal_is_kept_and_stops_nobody(tmp_path: Path) -> None:
    side = here({}, FakeAws(resume_processes=refused("AccessDenied", "you may not")), tmp_path)
    side.proved()
    assert side.refused == "you may not (AccessDenied)"


def left(aws: FakeAws, tmp_path: Path, job_over: bool) -> list[tuple[str, Any]]:
    here({}, aws, tmp_path).leave(job_over, lambda line: None)
    return [
        (call.operation, call.parameters) for call in aws.calls if call.operation in aws.changes
    ]


MYSELF = (
    "terminate_instance_in_auto_scaling_group",
    {"InstanceId": "i-2", "ShouldDecrementDesiredCapacity": True},
)


def test_while_others_work_a_machine_takes_its_place_with_it(tmp_path: Path) -> None:
    assert left(FakeAws(), tmp_path, job_over=False) == [MYSELF]
    assert (tmp_path / "left").exists()


GONE = refused("InvalidLaunchTemplateName.NotFoundException")
TAGS = tag_list(tags(URL, {}))
GROUP = {"AutoScalingGroupName": NAME, "Instances": [], "DesiredCapacity": 1, "Tags": TAGS}
THERE: dict[str, Any] = {
    "describe_auto_scaling_groups": {"AutoScalingGroups": [GROUP]},
    "describe_instances": {"Reservations": [{"Instances": [instance("i-2", group=NAME)]}]},
}


def test_at_the_end_the_one_that_could_delete_the_template_removes_the_rest(tmp_path: Path) -> None:
    assert [name for name, _ in left(FakeAws(**THERE), tmp_path, job_over=True)] == [
        "delete_launch_template",
        "suspend_processes",
        "delete_auto_scaling_group",
    ]


def test_at_the_end_all_others_just_leave(tmp_path: Path) -> None:
    aws = FakeAws(**THERE, delete_launch_template=GONE)
    assert left(aws, tmp_path, job_over=True)[1:] == [MYSELF]


def test_one_that_finds_nothing_to_take_leaves_the_removal_to_those_who_work(
    tmp_path: Path,
) -> None:
    aws = FakeAws(**THERE)
    assert left(aws, tmp_path, job_over=False) == [MYSELF]


@pytest.mark.parametrize("denied", ["delete_launch_template", "delete_auto_scaling_group"])
def test_one_that_may_not_remove_ends_itself_all_the_same(denied: str, tmp_path: Path) -> None:
    aws = FakeAws(**THERE)
    aws.answers[denied] = refused("AccessDenied")
    assert left(aws, tmp_path, job_over=True)[-1] == MYSELF


def test_what_is_given_back_is_replaced(tmp_path: Path) -> None:
    aws = FakeAws()
    here({}, aws, tmp_path).give_back(lambda line: None)
    assert aws.calls[0].parameters["ShouldDecrementDesiredCapacity"] is False


def test_signs_of_life_are_of_one_width_and_overwrite_one_another(tmp_path: Path) -> None:
    side, life = here({}, FakeAws(), tmp_path), tmp_path / "run/life"
    side.alive()
    number, inode = life.stat().st_size, life.stat().st_ino
    side.alive()
    assert (life.stat().st_size, life.stat().st_ino) == (number, inode)
    now = float(Path("/proc/uptime").read_text().split()[0])
    assert 0 <= now - int(life.read_text()) < 60


def test_the_first_part_is_a_sign_of_life(tmp_path: Path) -> None:
    here({}, FakeAws(), tmp_path).proved()
    assert (tmp_path / "run/life").exists()


def test_a_sign_that_cannot_be_given_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    here({}, FakeAws(), tmp_path).alive()


@pytest.mark.parametrize(("workers", "longest"), [(1, 0.0), (10, 0.0), (100, 10.0), (9999, 60.0)])
def test_last_calls_of_many_are_spread(workers: int, longest: float, tmp_path: Path) -> None:
    pauses: list[float] = []
    side = here({}, FakeAws(), tmp_path, pauses)
    for _ in range(50):
        side.leave(False, lambda line: None, workers)
        side.give_back(lambda line: None, workers)
    assert len(pauses) == (100 if longest else 0)
    assert all(0 <= pause <= longest for pause in pauses)
    if longest:
        assert max(pauses) - min(pauses) > longest / 2


def throttled(times: int) -> Any:
    left = [times]

    def answer(asked: Mapping[str, Any]) -> Any:
        left[0] -= 1
        return refused("Throttling", "Rate exceeded") if left[0] >= 0 else {}

    return answer


@pytest.mark.parametrize("job_over", [True, False])
def test_a_machine_that_leaves_asks_again_when_it_is_throttled(
    job_over: bool, tmp_path: Path
) -> None:
    said: list[str] = []
    aws = FakeAws(
        delete_launch_template=GONE, terminate_instance_in_auto_scaling_group=throttled(9)
    )
    here({}, aws, tmp_path).leave(job_over, said.append)
    assert aws.changes.count("terminate_instance_in_auto_scaling_group") == 10
    assert said == []
    aws = FakeAws(terminate_instance_in_auto_scaling_group=throttled(9))
    here({}, aws, tmp_path).give_back(said.append)
    assert aws.changes.count("terminate_instance_in_auto_scaling_group") == 10
    assert said == []


def test_a_proof_that_is_throttled_keeps_nobody_from_renewing_claims(tmp_path: Path) -> None:
    pauses: list[float] = []
    side = here({}, FakeAws(resume_processes=throttled(9)), tmp_path, pauses)
    side.proved()
    assert pauses == []
    assert side.refused is not None


def group_of(*instances: tuple[str, str], name: str = NAME) -> dict[str, Any]:
    found = [{"InstanceId": one, "LifecycleState": state} for one, state in instances]
    group = {"AutoScalingGroupName": name, "Instances": found}
    return {"describe_auto_scaling_groups": {"AutoScalingGroups": [group]}}


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_machine_of_the_same_group_that_hangs_is_ended(is_replaced: bool, tmp_path: Path) -> None:
    aws, said = FakeAws(**group_of(("i-9", "InService"))), list[str]()
    here({}, aws, tmp_path).end_other("i-9", is_replaced, said.append)
    (call,) = [call for call in aws.calls if call.operation == MYSELF[0]]
    assert call.parameters == {
        "InstanceId": "i-9",
        "ShouldDecrementDesiredCapacity": not is_replaced,
    }
    assert said == ["i-9 has said nothing for 15 minutes, and was ended"]


def test_a_machine_that_hangs_is_ended_though_its_group_is_busy(tmp_path: Path) -> None:
    """Which botocore does not ask again by itself."""
    busy, tries = refused("ScalingActivityInProgress"), list[Mapping[str, Any]]()

    def end(asked: Mapping[str, Any]) -> Any:
        tries.append(asked)
        if len(tries) < 4:
            raise busy
        return {}

    said: list[str] = []
    aws = FakeAws(**group_of(("i-9", "InService")), terminate_instance_in_auto_scaling_group=end)
    here({}, aws, tmp_path).end_other("i-9", True, said.append)
    assert (len(tries), said) == (4, ["i-9 has said nothing for 15 minutes, and was ended"])


@pytest.mark.parametrize(
    "group",
    [
        group_of(("i-8", "InService")),
        group_of(("i-9", "InService"), name="web-production"),
        group_of(("i-9", "Terminating")),
        group_of(("i-9", "Terminating:Wait")),
        group_of(("i-9", "Terminated")),
        group_of(),
        {"describe_auto_scaling_groups": {"AutoScalingGroups": []}},
    ],
)
def test_any_other_machine_is_left_alone(group: dict[str, Any], tmp_path: Path) -> None:
    aws, said = FakeAws(**group), list[str]()
    here({}, aws, tmp_path).end_other("i-9", True, said.append)
    assert aws.changes == []
    assert said == []


def test_an_end_that_aws_refuses_is_told_and_stops_nobody(tmp_path: Path) -> None:
    gone = refused("ValidationError", "Instance Id not found - No managed instance found")
    aws = FakeAws(**group_of(("i-9", "InService")), terminate_instance_in_auto_scaling_group=gone)
    said: list[str] = []
    here({}, aws, tmp_path).end_other("i-9", True, said.append)
    assert "i-9 says nothing any more, and could not be ended: Instance Id not found" in said[0]
