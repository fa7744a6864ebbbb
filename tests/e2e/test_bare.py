"""sc.pyz does all its work on a machine that has python3 and nothing else: no HOME, no pip, no PyYAML, no boto3."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

import pytest

from tests.machines import ARM64, SUITES, Machine, machine
from tests.processes.conftest import wait_until
from tests.servers import S3Server

pytestmark = pytest.mark.bare

COMMANDS = ["echo one", "echo two >&2", "pwd > $SATURN_RUN_LOCAL_RESULTS_DIR/where", "exit 3"]
CODES = ["0", "0", "0", "3"]
RECIPE = {"type": "job", "spec": {"name": "bare", "instance_type": "local", "scale": 2}}


@pytest.fixture(params=SUITES)
def bare(request: pytest.FixtureRequest, pyz: Path) -> Iterator[Machine]:
    with machine(request.param) as made:
        prepared(made, pyz, "/root/out")
        yield made


def prepared(made: Machine, pyz: Path, output: str) -> None:
    made.copy(pyz, "/root/sc.pyz")
    lines = ["nprocs: 2", f"remote_output_path: {output}", "runs:"]
    lines += [f"- cmd: {command}" for command in COMMANDS]
    made.path("/root/batch.yaml").write_text("\n".join(lines) + "\n")
    made.path("/root/recipe.json").write_text(json.dumps(RECIPE))


def sc(
    made: Machine, *words: str, env: Optional[Mapping[str, str]] = None
) -> subprocess.CompletedProcess[str]:
    return made.run(["python3", "/root/sc.pyz", *words], env, timeout=240)


def check_outputs(made: Machine) -> None:
    out = made.path("/root/out")
    assert [(out / str(n) / "status_code").read_text() for n in range(4)] == CODES
    assert (out / "0" / "stdout").read_text() == "one\n"
    assert (out / "1" / "stderr").read_text() == "two\n"
    assert (out / "2" / "results" / "where").read_text() != ""


LISTING = """
import glob, os
for path in glob.glob("/proc/[0-9]*/cmdline"):
    words = open(path).read().split("\\0")[:-1]
    if words[:1] and words[1:2] != ["1000000"] and path.split("/")[2] not in ("1", str(os.getpid())):
        print(words)
"""
"""Tells what runs there, but for the machine's own PID 1 and its sleep."""


def commands_left(made: Machine) -> str:
    return made.run(["python3", "-c", LISTING]).stdout


def test_a_batch_there(bare: Machine) -> None:
    done = sc(bare, "batch", "/root/batch.yaml")
    assert done.returncode == 1, done.stderr
    check_outputs(bare)
    table = sc(bare, "summarize-batch", "/root/batch.yaml")
    assert [line.split()[:2] for line in table.stdout.splitlines()[2:]] == [
        ["failed", "3"],
        ["completed", "0"],
        ["completed", "0"],
        ["completed", "0"],
    ]
    assert commands_left(bare) == ""


def test_a_split_there_with_two_workers(bare: Machine) -> None:
    words = [
        "split",
        "/root/recipe.json",
        "/root/batch.yaml",
        "/root/commands",
        "--batch-size",
        "1",
    ]
    done = sc(bare, *words, "--start", "--wait")
    assert done.returncode == 1, done.stderr
    check_outputs(bare)
    job = bare.path("/root/out/.sc/bare")
    lines = [line for file in (job / "records").iterdir() for line in file.read_text().splitlines()]
    assert sorted(json.loads(line)["remote_output_path"] for line in lines) == [
        f"/root/out/{number}" for number in range(4)
    ]
    assert len(list((job / "workers").iterdir())) == 2
    assert commands_left(bare) == ""


def test_bare_arm64_under_emulation_keeps_all_outputs(pyz: Path) -> None:
    """Its posix_spawn is a fork: every run was lost, as somebody else's."""
    with machine(ARM64) as made:
        prepared(made, pyz, "/root/out")
        with made.path("/root/batch.yaml").open("a") as batch:
            batch.write("- {cmd: 'echo begun; sleep 1000', timeout: 1}\n")
        assert made.run(["uname", "-m"]).stdout == "aarch64\n"
        done = sc(made, "batch", "/root/batch.yaml")
        assert done.returncode == 1, done.stderr
        check_outputs(made)
        assert made.path("/root/out/4/status_code").read_text() == "124"
        assert made.path("/root/out/4/stdout").read_text() == "begun\n"
        assert "'1000'" not in commands_left(made)


@pytest.mark.parametrize("suite", SUITES)
def test_the_same_over_s3(suite: str, pyz: Path, seaweed: S3Server, bucket: str) -> None:
    env = seaweed.environment()
    with machine(suite, network="host") as made:
        prepared(made, pyz, f"s3://{bucket}/out")
        done = sc(made, "batch", "/root/batch.yaml", env=env)
        assert done.returncode == 1, done.stderr
        words = [
            "split",
            "/root/recipe.json",
            "/root/batch.yaml",
            "/root/commands",
            "--start",
            "--wait",
        ]
        done = sc(made, *words, "--name", "over-s3", env=env)
        assert done.returncode == 1, done.stderr
        wait_until(lambda: commands_left(made) == "", "the workers have left")
    client = seaweed.client()
    bodies = [
        client.get_object(Bucket=bucket, Key=f"out/{number}/status_code")["Body"].read().decode()
        for number in range(4)
    ]
    assert bodies == CODES


WITHOUT = {
    "umount -l /proc": "sc: /proc is not mounted, and without it what a run leaves behind",
    "umount -l /proc; mount -t tmpfs tmpfs /proc": "sc: /proc is not mounted, and without it",
    "umount -l /dev/null; rm -f /dev/null": "sc: /dev/null: No such file or directory; runs need it",
}


@pytest.mark.parametrize("damage", WITHOUT)
def test_bare_machine_without_what_runs_need_says_so_before_any_effect(
    pyz: Path, damage: str
) -> None:
    with machine("bookworm") as made:
        prepared(made, pyz, "/root/out")
        split = ["split", "/root/recipe.json", "/root/batch.yaml", "/root/commands"]
        assert sc(made, *split).returncode == 0
        assert made.run(damage).returncode == 0
        for words in (
            ["batch", "/root/batch.yaml"],
            ["apply", "/root/commands/recipe.yaml", "--start"],
            ["rerun", "/root/batch.yaml", "0", "--save"],
            ["work", "/root/out/.sc/bare", "--yes"],
        ):
            done = sc(made, *words)
            assert done.returncode == 3, done.stderr
            assert WITHOUT[damage] in done.stderr
            assert "Traceback" not in done.stderr
        assert not made.path("/root/out/0").exists()
        told = sc(made, "summarize-batch", "/root/batch.yaml")
        assert told.returncode == 0, told.stderr


def test_bare_machine_with_the_proc_of_another_namespace_is_refused(pyz: Path) -> None:
    """There the number of a process is that of another one, which would be killed in its place."""
    with machine("bookworm") as made:
        prepared(made, pyz, "/root/out")
        words = ["unshare", "--pid", "--fork", "python3", "/root/sc.pyz", "batch"]
        done = made.run([*words, "/root/batch.yaml"])
        assert done.returncode == 3, done.stderr
        assert "/proc is that of another PID namespace" in done.stderr
        assert not made.path("/root/out").exists()


ODD = [
    "mount -o remount,hidepid=2 /proc",
    "umount -l /proc; mount -t proc -o subset=pid proc /proc",
    "umount /dev/shm /tmp; rmdir /dev/shm /tmp",
]


@pytest.mark.parametrize("oddity", ODD)
def test_bare_machine_with_less_than_usual_runs_a_batch_of_a_plain_user(
    pyz: Path, oddity: str
) -> None:
    with machine("bookworm") as made:
        prepared(made, pyz, "/home/out")
        assert made.run(f"{oddity}; chown -R 65534 /home; chmod -R a+rX /root").returncode == 0
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command = "setsid sleep 1000 & cd /home && exec python3 /root/sc.pyz batch /root/batch.yaml"
        done = made.run([*words, "sh", "-c", command], {"HOME": "/home"})
        assert done.returncode == 1, done.stderr
        codes = [made.path(f"/home/out/{n}/status_code").read_text() for n in range(4)]
        assert codes == CODES
