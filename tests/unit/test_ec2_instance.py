"""The worker's side of an instance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
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


def here(facts: Mapping[str, str], aws: FakeAws, tmp_path: Path) -> InstanceSide:
    return InstanceSide(
        URL,
        facts if isinstance(facts, Facts) else Facts({**FACTS, **facts}),
        aws=lambda region: aws,
        ready_file=str(tmp_path / "ready"),
        left_file=str(tmp_path / "left"),
        now=lambda: 1_800_000_000.0,
        sleep=lambda seconds: None,
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
