"""From a laptop's request to a bare machine that has begun to work, or has told why it cannot.

The program that the machines fetch here is a few lines of Python in sc.pyz's place: what is tested is the way to it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sc import paths
from sc.errors import CloudError, InputError
from sc.fleets import Launch
from sc.fleets.ec2 import Ec2Fleet
from sc.fleets.ec2_aws import Boto3
from sc.fleets.ec2_policies import PARAMETERS
from sc.fleets.ec2_setup import Wish, carry_out, look
from sc.model import Recipe
from sc.storage import Storage, open_storage

if TYPE_CHECKING:
    from tests.cloud.box import Cloud

pytestmark = pytest.mark.bare

LIMIT_SECONDS = 60.0
"""For what takes a few seconds where nothing else goes on."""
AT_WORK = """
import json, os, subprocess, sys
assert sys.argv[1] == "work" and sys.argv[3:] == ["--fleet", "ec2"], sys.argv
print("the worker is here:", json.dumps(sys.argv[2]), os.environ["HOME"], os.environ["TMPDIR"])
"""
REPORTS = (
    AT_WORK
    + """
import importlib.util, time
spec = importlib.util.spec_from_file_location("courier", "/var/lib/sc/courier.py")
courier = importlib.util.module_from_spec(spec)
spec.loader.exec_module(courier)
with open("/var/lib/sc/job.json") as file:
    job = json.load(file)
identity = courier.metadata("instance-id")
url = courier.object_url(job, "workers/" + identity + ".json")
beat = {"worker": identity, "machine": identity, "fleet": "ec2", "kind": "r6a.xlarge", "nprocs": 1}
beat = json.dumps({**beat, "state": "working", "started": 0}).encode()
courier.send("PUT", url, beat, "s3", job["s3_region"]).close()
print("reported", flush=True)
open("/var/lib/sc/ready", "w").close()
time.sleep(1000)
"""
)
FAILS = AT_WORK + "print('start_script: no such package: numpyy', flush=True)\nsys.exit(1)\n"


@dataclass
class Scene:
    """A laptop, a bucket and a job in the box."""

    cloud: Cloud
    bucket: str
    storage: Storage
    folder: Path
    said: list[str] = field(default_factory=list)
    name: str = "job"
    prefix: str = 'a\'; echo foo "$(id)" `id`/ä'

    @property
    def url(self) -> str:
        return paths.job(f"s3://{self.bucket}/{self.prefix}", self.name)

    def launch(self, program: str, machines: int = 3, sha256: str = "", **recipe: Any) -> Launch:
        """The launch of a program that is in its place already."""
        path = self.folder / "program.py"
        path.write_text(program)
        self.storage.put_file(paths.program(self.url), str(path))
        recipe.setdefault("max_hours", 10)
        return Launch(
            self.url,
            Recipe(self.name, ("r6a.xlarge",), machines, **recipe),
            machines,
            str(path),
            sha256 or hashlib.sha256(program.encode()).hexdigest(),
        )

    def fleet(self) -> Ec2Fleet:
        return Ec2Fleet(None, os.environ)

    def tell(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def scene(cloud: Cloud, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    aws = Boto3("us-east-1")
    carry_out(aws, look(aws, Wish("sc-machine", (bucket,), None), PARAMETERS).missing)
    cloud.front.forget()
    return Scene(cloud, bucket, open_storage(), tmp_path)


def clean(cloud: Cloud) -> None:
    """Nothing of the job is there any more."""
    assert cloud.leftovers() == {}


@pytest.mark.parametrize("image", ["bullseye", "trixie", "without-curl", "apt", "dnf"])
def test_a_bare_machine_comes_to_work_and_the_laptop_hears_of_it(scene: Scene, image: str) -> None:
    cloud, fleet = scene.cloud, scene.fleet()
    launch = scene.launch(REPORTS, machines=1, image=cloud.image(image))
    fleet.check(launch)
    fleet.launch(launch, scene.tell)
    fleet.follow(launch, scene.storage, scene.tell)
    (boot,) = cloud.alive()
    assert scene.said[-1] == f"The first worker is at work: {boot.instance_id}"
    assert [machine.state for machine in fleet.list(scene.url)] == ["running"]
    assert [machine.job_url for machine in fleet.list("job")] == [scene.url]
    assert fleet.stop("job", scene.tell) == []
    clean(cloud)
    assert fleet.stop("job", scene.tell) == []


def test_how_long_user_data_takes_to_a_worker_is_told(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    launch = scene.launch(REPORTS, machines=1)
    scene.fleet().launch(launch, scene.tell)
    heartbeat = paths.join(scene.url, "workers")
    scene.cloud.wait(lambda: list(scene.storage.list(heartbeat)), what="a heartbeat")
    began = scene.cloud.alive()[0].began_at
    assert began is not None
    record_property("seconds", round(time.time() - began, 1))
    assert time.time() - began < LIMIT_SECONDS
    scene.fleet().stop(scene.url, scene.tell)


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no Python and no package manager": (
        {"image": "bare"},
        "no Python 3.9 or newer, and no package manager brought one",
    ),
    "another SHA-256": ({"sha256": "0" * 64}, f"but {'0' * 64} was expected"),
    "a worker that fails": ({"program": FAILS}, "the worker ended with code 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_boots_that_fail_alike_are_told_and_taken_down(scene: Scene, case: str) -> None:
    changes, reason = CASES[case]
    changes = dict(changes)
    if "image" in changes:
        changes["image"] = scene.cloud.image(changes["image"])
    launch = scene.launch(changes.pop("program", AT_WORK), **changes)
    fleet, start = scene.fleet(), time.time()
    fleet.launch(launch, scene.tell)
    with pytest.raises(CloudError) as caught:
        fleet.follow(launch, scene.storage, scene.tell)
    assert reason in str(caught.value).splitlines()[0]
    assert time.time() - start < LIMIT_SECONDS
    if "program" in CASES[case][0]:
        assert "no such package: numpyy" in str(caught.value)
    assert len(scene.cloud.instances()) <= 3 + 2
    clean(scene.cloud)


def test_a_bucket_that_the_role_may_not_read_is_told_from_the_console(scene: Scene) -> None:
    iam = scene.cloud.client("iam")
    iam.delete_role_policy(RoleName="sc-machine", PolicyName=f"sc-bucket-{scene.bucket}")
    launch = scene.launch(REPORTS)
    fleet, start = scene.fleet(), time.time()
    fleet.launch(launch, scene.tell)
    with pytest.raises(CloudError, match=r"no usable sc\.pyz: HTTP 403"):
        fleet.follow(launch, scene.storage, scene.tell)
    assert time.time() - start < LIMIT_SECONDS
    assert len(scene.cloud.instances()) <= 3 + 2
    clean(scene.cloud)


@pytest.mark.parametrize("image", ["bare", "bullseye"])
def test_without_a_laptop_boots_that_fail_are_not_repeated(scene: Scene, image: str) -> None:
    """The breaker: nobody watches, and `bare` cannot even sign a request."""
    cloud = scene.cloud
    launch = scene.launch(FAILS, image=cloud.image(image))
    scene.fleet().launch(launch, scene.tell)
    cloud.wait(lambda: [boot.state for boot in cloud.instances()] == ["terminated"] * 3, 60)
    cloud.groups.tick()  # what the box does to keep a group at its size
    time.sleep(2)
    assert [boot.state for boot in cloud.instances()] == ["terminated"] * 3
    assert scene.fleet().stop(scene.url, scene.tell) == []
    clean(cloud)


def test_an_interrupt_takes_away_what_was_made(scene: Scene) -> None:
    launch = scene.launch(REPORTS)
    fleet = scene.fleet()
    fleet.check(launch)

    def interrupt(line: str) -> None:
        scene.tell(line)
        if line.startswith("Asking for"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleet.launch(launch, interrupt)
    clean(scene.cloud)
    assert scene.cloud.instances() == []


@pytest.mark.parametrize(
    "action",
    [
        "CreateSecurityGroup",
        "CreateLaunchTemplate",
        "CreateAutoScalingGroup",
        "SuspendProcesses",
        "PutScheduledUpdateGroupAction",
        "SetDesiredCapacity",
    ],
)
def test_a_refused_step_takes_away_what_was_made(scene: Scene, action: str) -> None:
    launch = scene.launch(REPORTS)
    scene.cloud.front.fail(action, "UnauthorizedOperation", "you may not")
    with pytest.raises(CloudError, match=f"You need the permission .*:{action}"):
        scene.fleet().launch(launch, scene.tell)
    clean(scene.cloud)
    assert scene.cloud.instances() == []


def test_the_end_is_set_before_the_group_may_start_machines(scene: Scene) -> None:
    scene.fleet().launch(scene.launch(REPORTS, machines=1), scene.tell)
    changes = [
        action
        for action in scene.cloud.front.actions()
        if not action.startswith(("Describe", "Get", "Head"))
    ]
    assert changes == [
        "CreateSecurityGroup",
        "CreateLaunchTemplate",
        "CreateAutoScalingGroup",
        "SuspendProcesses",
        "PutScheduledUpdateGroupAction",
        "SetDesiredCapacity",
    ]
    scene.cloud.wait(scene.cloud.alive, what="a machine")
    scene.cloud.advance(hours=11)
    scene.cloud.wait(lambda: not scene.cloud.alive(), what="AWS's end of it")
    scene.fleet().stop(scene.url, scene.tell)
    clean(scene.cloud)


def test_a_job_with_machines_is_not_started_twice_and_its_remains_are_cleared(scene: Scene) -> None:
    launch = scene.launch(REPORTS, machines=1)
    scene.fleet().launch(launch, scene.tell)
    with pytest.raises(InputError, match="has 1 machine already"):
        scene.fleet().check(launch)
    scene.cloud.wait(scene.cloud.alive, what="a machine")
    scene.cloud.advance(hours=11)
    scene.cloud.wait(lambda: not scene.cloud.alive(), what="AWS's end of it")
    assert len(scene.fleet().survey().remains) == 1
    again = replace(launch, recipe=replace(launch.recipe, max_hours=30))
    fleet = scene.fleet()
    fleet.launch(again, scene.tell)
    fleet.follow(again, scene.storage, scene.tell)
    assert len(scene.cloud.alive()) == 1
    scene.fleet().stop(scene.url, scene.tell)
    clean(scene.cloud)
