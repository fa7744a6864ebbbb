"""Whole jobs in the box: the real sc.pyz, real commands, machines that bring themselves up and go by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Union

import pytest

from tests.cloud.conftest import set_up
from tests.cloud.laptop import JOB
from tests.cloud.test_box import running

if TYPE_CHECKING:
    from tests.cloud.front import Hook
    from tests.cloud.laptop import Laptop

pytestmark = pytest.mark.bare

SQUARE = "n={n}; echo run $n; sleep 0.1; echo $((n * n)) >$SATURN_RUN_LOCAL_RESULTS_DIR/square"
CHANGES = (
    "CreateSecurityGroup",
    "CreateLaunchTemplate",
    "CreateAutoScalingGroup",
    "SuspendProcesses",
    "PutScheduledUpdateGroupAction",
    "SetDesiredCapacity",
)


@pytest.fixture
def laptop(new_laptop: Laptop) -> Laptop:
    """One whose machines may use no more of the bucket than their job's prefix."""
    return set_up(new_laptop, new_laptop.prefix)


@pytest.mark.parametrize("root", ["bullseye", "trixie"])
def test_two_hundred_runs_on_three_machines_and_nothing_is_left(laptop: Laptop, root: str) -> None:
    cloud = laptop.cloud
    cloud.root = root
    laptop.write([SQUARE.format(n=n) for n in range(200)])
    laptop.split()
    laptop.over(240)
    assert laptop.codes() == {str(n): 0 for n in range(200)}
    for n in range(200):
        assert laptop.read(f"{n}/stdout") == b"run %d\n" % n
        assert laptop.read(f"{n}/results/square") == b"%d\n" % (n * n)
    assert (cloud.most_alive, len(cloud.instances())) == (3, 3)
    assert sorted(record["remote_output_path"] for record in laptop.records()) == sorted(
        f"{laptop.output}/{n}" for n in range(200)
    )
    done = laptop.run("summarize-batch", "batch.json")
    assert (done.returncode, "200 completed" in done.stdout) == (0, True)


def test_the_runs_of_a_lost_machine_are_done_by_others(laptop: Laptop) -> None:
    cloud = laptop.cloud
    laptop.write([f"echo {n}; sleep 2" for n in range(30)], scale=2)
    cloud.front.before("SetDesiredCapacity", lambda call: laptop.change_recipe(lease_seconds=20))
    laptop.split()
    first, _ = running(cloud, 2)
    cloud.wait(lambda: laptop.ended() >= 4, 60, "the first runs")
    cloud.power_cut(first.instance_id)
    laptop.over(240)
    assert laptop.codes() == {str(n): 0 for n in range(30)}
    assert [laptop.read(f"{n}/stdout") for n in range(30)] == [b"%d\n" % n for n in range(30)]
    assert {record["cause"] for record in laptop.records()} == {"exit"}
    assert first.end == "power cut"
    assert cloud.most_alive == 2
    assert len(cloud.instances()) >= 3


def test_a_spot_machine_hands_its_runs_back_in_time(laptop: Laptop) -> None:
    """The lease is two minutes: what is done before its end was handed back. One that may be taken away ends what it
    runs, and makes room for another."""
    cloud = laptop.cloud
    laptop.write([f"echo {n}; sleep 3" for n in range(24)], scale=2, use_spot_instance=True)
    laptop.split()
    first, second = running(cloud, 2)
    assert first.spot
    assert second.spot
    cloud.wait(lambda: laptop.ended() >= 2, 60, "the first runs")
    cloud.spot_notice(first.instance_id, seconds=120)
    cloud.rebalance_notice(second.instance_id)
    laptop.over(110)
    assert laptop.codes() == {str(n): 0 for n in range(24)}
    assert {record["code"] for record in laptop.records() if record["cause"] == "exit"} == {0}
    assert {record["cause"] for record in laptop.records()} <= {"exit", "interrupted"}
    assert first.end in ("off", "terminated")
    assert second.end in ("off", "terminated")
    assert len(cloud.instances()) >= 4


def test_with_all_machines_lost_and_the_laptop_gone_the_job_ends(laptop: Laptop) -> None:
    cloud = laptop.cloud
    laptop.write([f"echo {n}; sleep 1" for n in range(24)])
    cloud.front.before("SetDesiredCapacity", lambda call: laptop.change_recipe(lease_seconds=20))
    laptop.split()
    first = running(cloud, 3)
    cloud.wait(lambda: laptop.ended() >= 3, 60, "the first runs")
    cloud.power_cut(*(boot.instance_id for boot in first))
    laptop.over(240)
    assert laptop.codes() == {str(n): 0 for n in range(24)}
    assert [boot.end for boot in first] == ["power cut"] * 3
    assert cloud.most_alive == 3


def test_quota_for_two_of_four_machines_does_the_job_with_two(laptop: Laptop) -> None:
    """And a second start, while the first one makes its group, changes nothing."""
    cloud, words = laptop.cloud, ("split", "recipe.yaml", "batch.json", "elsewhere", "--start")
    cloud.groups.quota = 2
    laptop.write([f"echo {n}; sleep 1" for n in range(12)], scale=4)
    second: list[subprocess.CompletedProcess[str]] = []
    cloud.front.before("CreateAutoScalingGroup", lambda call: second.append(laptop.run(*words)))
    # Somebody else of the account takes what the first one to leave frees: AWS would bring a third one to it.
    leaving = "TerminateInstanceInAutoScalingGroup"
    cloud.front.before(leaving, lambda call: setattr(cloud.groups, "quota", 0))
    done = laptop.run("split", "recipe.yaml", "batch.json", "--start", "--wait")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("vCPU limit") == 1
    assert [one.returncode for one in second] == [3]
    assert "another start of the job" in second[0].stdout
    assert [one for one in cloud.front.actions() if one in CHANGES] == list(CHANGES)
    laptop.over(60)
    assert laptop.codes() == {str(n): 0 for n in range(12)}
    assert (cloud.most_alive, len(cloud.instances())) == (2, 2)


def test_a_worker_without_its_storage_stops_and_goes(laptop: Laptop) -> None:
    cloud = laptop.cloud
    laptop.write([f"echo {n}; sleep 2" for n in range(20)], scale=2)
    cloud.front.before("SetDesiredCapacity", lambda call: laptop.change_recipe(lease_seconds=20))
    laptop.split()
    first, _ = running(cloud, 2)
    cloud.wait(lambda: laptop.ended() >= 2, 60, "the first runs")
    cloud.cut_network(first.instance_id, s3=True, aws=False)
    laptop.over(700)
    assert laptop.codes() == {str(n): 0 for n in range(20)}
    assert first.end in ("off", "terminated")


def test_a_launch_killed_between_any_two_calls_leaves_nothing_that_stays(laptop: Laptop) -> None:
    """Only asking comes before the first change, and nothing between the changes: so these are all places. What all
    jobs share is made by the first launch only, and stays."""
    cloud = laptop.cloud
    laptop.write(["sleep 3"] * 3)
    places: tuple[Union[int, str], ...] = (1, *CHANGES)
    for count, which in enumerate(places):
        cloud.front.forget()
        process = laptop.start("split", "recipe.yaml", "batch.json", "--start")
        kill: Hook = lambda call, pid=process.pid: os.kill(pid, signal.SIGKILL)  # type: ignore[misc]  # noqa: E731
        cloud.front.after(which, kill)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, said
        calls = cloud.front.actions()
        changes = CHANGES[:1] if count == 1 else CHANGES[1:count]
        first = len(calls) - len(changes)
        assert tuple(calls[first:]) == changes
        assert all(each.startswith(("Describe", "Get")) for each in calls[:first])
        if count > 1:
            assert JOB in laptop.run("ps").stdout
            done = laptop.run("stop", laptop.job_url)
            assert done.returncode == 0, done.stdout
        assert len(cloud.instances()) in ((0, 3) if count == len(CHANGES) else (0,))
        assert cloud.leftovers() == {}
    laptop.split()
    laptop.over(120)
    assert laptop.codes() == {"0": 0, "1": 0, "2": 0}


def test_what_a_killed_launch_left_ends_without_anybody(laptop: Laptop) -> None:
    cloud = laptop.cloud
    laptop.write(["sleep 1000"] * 3)
    process = laptop.start("split", "recipe.yaml", "batch.json", "--start")
    cloud.front.after("SetDesiredCapacity", lambda call: os.kill(process.pid, signal.SIGKILL))
    process.communicate(timeout=120)
    running(cloud, 3)
    cloud.advance(hours=6)
    cloud.wait(lambda: not cloud.alive(), 60, "the scheduled action")
    assert "instances" not in cloud.leftovers()
    assert laptop.run("stop", laptop.job_url).returncode == 0
    assert cloud.leftovers() == {}
