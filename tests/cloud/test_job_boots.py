"""The real sc.pyz and machines that cannot begin; what a machine is given before its first run; and who may look."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.cloud.laptop import JOB

if TYPE_CHECKING:
    from tests.cloud.laptop import Laptop

pytestmark = pytest.mark.bare

SCALE = 3


def talk(laptop: Laptop, *words: str) -> str:
    """What a command answers, without what it says meanwhile."""
    done = subprocess.run(
        [sys.executable, str(laptop.pyz), *words],
        cwd=laptop.folder,
        env=laptop.cloud.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0
    return done.stdout


def without_python(laptop: Laptop) -> Mapping[str, Any]:
    return {"image": laptop.cloud.image("bare")}


def another_program(laptop: Laptop) -> Mapping[str, Any]:
    key = laptop.job_url.split("/", 3)[3] + "/sc.pyz"
    client = laptop.cloud.s3.client()
    laptop.cloud.front.before(
        "CreateLaunchTemplate",
        lambda call: client.put_object(Bucket=laptop.bucket, Key=key, Body=b"not it"),
    )
    return {}


def closed_bucket(laptop: Laptop) -> Mapping[str, Any]:
    iam = laptop.cloud.client("iam")
    iam.delete_role_policy(RoleName="sc-machine", PolicyName=f"sc-bucket-{laptop.bucket}")
    return {}


def failing_script(laptop: Laptop) -> Mapping[str, Any]:
    return {"start_script": "echo preparing; echo 'no such package: numpyy' >&2; exit 1"}


def missing_parameter(laptop: Laptop) -> Mapping[str, Any]:
    return {"environment_variables": {"KEY": "ssm:/sc/nowhere"}}


FAILURES = {
    without_python: "no Python 3.9 or newer, and no package manager brought one",
    another_program: "was expected",
    closed_bucket: "HTTP 403",
    failing_script: "no such package: numpyy",
    missing_parameter: "/sc/nowhere",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_boot_that_fails_is_on_the_screen_within_a_minute(laptop: Laptop, failure: Any) -> None:
    laptop.write(["echo never"] * 20, scale=SCALE, **failure(laptop))
    start = time.time()
    done = laptop.run("split", "recipe.yaml", "batch.json", "--start")
    booted = [boot.began_at for boot in laptop.cloud.instances() if boot.began_at]
    assert done.returncode == 3, done.stdout
    assert FAILURES[failure] in done.stdout
    assert time.time() - min(booted, default=start) < 60
    assert len(laptop.cloud.instances()) <= SCALE + 2
    assert laptop.cloud.leftovers() == {}
    assert laptop.codes() == {}


def test_machines_that_stop_instead_of_ending_are_ended(laptop: Laptop) -> None:
    laptop.cloud.groups.forgets_shutdown_behavior = True
    laptop.write(["echo never"] * 20, scale=SCALE, image=laptop.cloud.image("bare"))
    done = laptop.run("split", "recipe.yaml", "batch.json", "--start")
    assert done.returncode == 3, done.stdout
    assert FAILURES[without_python] in done.stdout
    assert "has stopped instead of ending, and its disk costs: ending it" in done.stdout
    assert laptop.cloud.leftovers() == {}


def test_a_machine_gets_its_folders_secrets_and_script_before_the_first_run(laptop: Laptop) -> None:
    hostile = 'a\'; touch /tmp/broken "$(touch /tmp/broken)" `id` ü\n$HOME'
    ssm = laptop.cloud.client("ssm")
    for value in ("first", hostile + "!"):
        ssm.put_parameter(Name="/sc/key", Value=value, Type="SecureString", Overwrite=True)
    project = laptop.folder / "it's a project"
    project.mkdir()
    (project / "data.txt").write_text("synced\n")
    laptop.write(
        [
            "cat data.txt made-by-script",
            'printf %s "$HOSTILE"',
            'printf %s "$SECRET"',
            "ls /tmp/broken; pwd; echo $FIRST $SHARED",
        ],
        scale=1,
        environment_variables={
            "HOSTILE": hostile,
            "SECRET": "ssm:/sc/key",
            "FIRST": "ssm:/sc/key:1",
            "SHARED": "ssm:arn:aws:ssm:us-east-1:123456789012:parameter/sc/key:1",
        },
        working_directory="/opt/it's a project",
        start_script="cat data.txt >made-by-script; printf 'export MORE=1'",
        s3_encryption="AES256",
    )
    words = [
        "split",
        "recipe.yaml",
        "batch.json",
        "--start",
        "--sync",
        f"{project}:/opt/{project.name}",
    ]
    done = laptop.run(*words)
    assert done.returncode == 0, done.stdout
    laptop.over(180)
    assert laptop.read("0/stdout") == b"synced\nsynced\n"
    assert laptop.read("1/stdout").decode() == hostile
    assert laptop.read("2/stdout").decode() == hostile + "!"
    assert laptop.read("3/stdout") == b"/opt/it's a project\nfirst first\n"
    stored = laptop.cloud.s3.client().list_objects_v2(Bucket=laptop.bucket)["Contents"]
    for entry in stored:
        found = laptop.cloud.s3.client().get_object(Bucket=laptop.bucket, Key=entry["Key"])
        assert found.get("ServerSideEncryption") == "AES256", entry["Key"]
        if not entry["Key"].endswith("2/stdout"):
            assert (hostile + "!").encode() not in found["Body"].read(), entry["Key"]


SERVER = "setsid sh -c 'trap \"\" TERM HUP; while :; do date +%s%N >/opt/alive; sleep 0.1; done' &"


def test_a_machine_has_a_synced_folder_as_at_home_a_server_and_no_open_secret(
    laptop: Laptop,
) -> None:
    """What the start script leaves is there for runs, and no hindrance when the machine is to end."""
    secret = "hunter2-of-the-recipe"
    project = laptop.folder / "project"
    (project / "lib").mkdir(parents=True)
    (project / "lib/new\nline").write_text("odd\n")
    (project / "inside").symlink_to(project / "lib")
    (project / ".scignore").write_text("*.log\n!keep.log\n")
    for name in ("left.log", "keep.log"):
        (project / name).write_text(name)
    with (project / "sparse").open("wb") as file:
        file.truncate(64 << 20)
    laptop.write(
        [
            "cd /opt/code && cat inside/new* && ls && readlink inside",
            "test $(du -k /opt/code/sparse | cut -f1) -lt 1000",
            "rm -f /opt/alive; until test -s /opt/alive; do sleep 0.1; done",
            'test "$PASSWORD" = ' + secret,
        ],
        scale=1,
        environment_variables={"PASSWORD": secret},
        start_script=SERVER,
    )
    (laptop.folder / "recipe.yaml").chmod(0o600)
    done = laptop.run(
        *("split", "recipe.yaml", "batch.json", "cut", "--start", "--sync", f"{project}:/opt/code")
    )
    assert done.returncode == 0, done.stdout
    laptop.over(180)
    assert laptop.codes() == {str(n): 0 for n in range(4)}
    assert laptop.read("0/stdout") == b"odd\ninside\nkeep.log\nlib\nsparse\nlib\n"
    assert (laptop.folder / "cut/recipe.yaml").stat().st_mode & 0o777 == 0o600
    for words in (("watch", "cut"), ("logs", "batch.json", "3"), ("report", "batch.json")):
        assert secret not in laptop.run(*words).stdout


ANN = "arn:aws:sts::123456789012:assumed-role/Admin/ann"


def start_by_another(laptop: Laptop) -> None:
    """Tag the job's things as if somebody else had started it."""
    tag = {"Key": "sc:owner", "Value": ANN}
    of_group = {"ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    scaling, ec2 = laptop.cloud.client("autoscaling"), laptop.cloud.client("ec2")
    (group,) = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    name = group["AutoScalingGroupName"]
    scaling.create_or_update_tags(Tags=[{**tag, **of_group, "ResourceId": name}])
    ec2.create_tags(Resources=[one.instance_id for one in laptop.cloud.alive()], Tags=[tag])


def answered(laptop: Laptop, answer: str, *words: str) -> tuple[int, str]:
    """Call `sc.pyz` at a terminal, and answer what it asks: its exit code and what is to be seen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(laptop.pyz), *words],
        cwd=laptop.folder,
        env=laptop.cloud.environment(),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    seen = b""
    with suppress(OSError):  # the terminal's other end is closed
        while piece := os.read(ours, 4096):
            seen += piece
    os.close(ours)
    return process.wait(timeout=120), seen.decode()


def test_a_job_is_seen_and_stopped_by_its_name_from_any_laptop(laptop: Laptop) -> None:
    laptop.write(["echo before; sleep 1000"] * 2, nprocs=1, scale=2)
    laptop.split()
    told = json.loads(talk(laptop, "ps", JOB, "--json"))
    assert [(one["job"], one["job_url"], one["kind"], one["state"]) for one in told] == [
        (JOB, laptop.job_url, "r6a.large", "running")
    ] * 2
    assert all(one["dollars"] is None or one["dollars"] > 0 for one in told)
    again = laptop.run("split", "recipe.yaml", "batch.json", "--start")
    assert again.returncode == 2, again.stdout
    laptop.cloud.wait(lambda: "0/stdout" in set(laptop.keys()), 60, "what the first run prints")
    assert {one["owner"] for one in told} == {
        laptop.cloud.client("sts").get_caller_identity()["Arn"]
    }
    assert "owner" not in talk(laptop, "ps", JOB)
    start_by_another(laptop)
    for word in (JOB, laptop.job_url):
        refused = laptop.run("stop", word)
        assert refused.returncode == 2, refused.stdout
        assert f"was started by {ANN}" in refused.stdout
        assert "--yes" in refused.stdout
    assert "assumed-role/Admin/ann" in talk(laptop, "ps", JOB)
    assert answered(laptop, "n", "stop", JOB)[0] == 2
    assert len(laptop.cloud.alive()) == 2
    laptop.cloud.front.fail("GetCallerIdentity", "AccessDenied")
    code, said = answered(laptop, "y", "stop", JOB)
    assert code == 0, said
    assert f"was started by {ANN}; end it? [y/N]" in said
    assert laptop.cloud.leftovers() == {}
    assert json.loads(talk(laptop, "ps", JOB, "--json")) == []
    assert [boot.end for boot in laptop.cloud.instances()] != []
    assert laptop.codes() == {}
    assert laptop.read("0/stdout") == b"before\n"
    assert laptop.run("stop", laptop.job_url).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_start_that_is_interrupted_takes_away_what_it_made(laptop: Laptop, number: int) -> None:
    laptop.write(["true"] * 20)
    front = laptop.cloud.front
    front.forget()
    process = laptop.start("split", "recipe.yaml", "batch.json", "--start")
    front.after("PutScheduledUpdateGroupAction", lambda call: os.kill(process.pid, number))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert laptop.cloud.instances() == []
    assert laptop.cloud.leftovers() == {}


def test_setup_says_what_is_missing_and_changes_nothing_when_dry(laptop: Laptop) -> None:
    front = laptop.cloud.front
    front.forget()
    told = json.loads(talk(laptop, "setup", "--bucket", "another", "--dry-run", "--json"))
    assert told["missing"] == ["give the role sc-machine the policy sc-bucket-another"]
    assert told["buckets"] == sorted(["another", laptop.bucket])
    assert all(name.startswith(("Get", "List")) for name in front.actions())
    assert json.loads(talk(laptop, "setup", "--json"))["missing"] == []


def test_without_setup_the_first_start_says_so(laptop: Laptop) -> None:
    laptop.write(["true"], instance_profile="sc-other")
    done = laptop.run("split", "recipe.yaml", "batch.json", "--start")
    assert done.returncode == 2
    assert "sc setup --profile-name sc-other" in done.stdout
    assert laptop.cloud.leftovers() == {}
    assert laptop.keys() == []
