"""What becomes of files that runs make: owners, modes, links and mounts, with the real sc.pyz."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.program import Program
from tests.e2e.test_first_steps import write_batch
from tests.machines import Machine, machine
from tests.servers import S3Server

INTO = "cd $SATURN_RUN_LOCAL_RESULTS_DIR; "
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
LIMIT_SECONDS = 60


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_executable_files_come_back_executable_from_s3(
    program: Program, seaweed: S3Server, bucket: str, tmp_path: Path
) -> None:
    make = (
        f"{INTO} umask 022; echo run >tool; chmod 755 tool; head -c 20000000 /dev/zero >large; "
        "chmod 700 large; echo plain >plain; touch empty; chmod +x empty; mkdir d; ln -s ../tool d/link; ln -s d latest"
    )
    write_batch(tmp_path, [make], f"s3://{bucket}/out")
    environment = seaweed.environment()
    ran = program.run("batch", "batch.json", cwd=tmp_path, environment=environment)
    assert ran.returncode == 0, ran.stderr
    s3 = seaweed.client()
    kept = {
        name: s3.head_object(Bucket=bucket, Key=f"out/0/results/{name}")["Metadata"]
        for name in ("tool", "large", "plain", "d/link", "latest/link")
    }
    assert kept == {
        **{name: {"sc-mode": "755"} for name in ("tool", "d/link", "latest/link")},
        "large": {"sc-mode": "700"},
        "plain": {},
    }
    pulled = program.run("pull", "batch.json", "dest", cwd=tmp_path, environment=environment)
    assert pulled.returncode == 0, pulled.stderr
    results = tmp_path / "dest/0/results"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in results.iterdir()}
    plain = 0o666 & ~umask()
    assert (modes["tool"] & 0o111, modes["empty"] & 0o111) == (0o111 & ~umask(),) * 2
    assert (modes["large"], modes["plain"]) == (0o700, plain)
    assert (results / "large").stat().st_size == 20_000_000


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_pull_from_a_folder_keeps_modes_times_and_holes(program: Program, tmp_path: Path) -> None:
    make = (
        f"{INTO} echo run >tool; chmod 755 tool; echo s >secret; chmod 600 secret; "
        "truncate -s 300M hole; touch -d @981173106 tool"
    )
    write_batch(tmp_path, [make])
    for words in (("batch", "batch.json"), ("pull", "batch.json", "dest")):
        ran = program.run(*words, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    for folder in ("out", "dest"):
        results = tmp_path / folder / "0/results"
        assert stat.S_IMODE((results / "tool").stat().st_mode) == 0o755
        assert stat.S_IMODE((results / "secret").stat().st_mode) == 0o600
        assert (results / "tool").stat().st_mtime == 981173106
        assert (results / "hole").stat().st_blocks == 0
    again = program.run("pull", "batch.json", "dest", cwd=tmp_path)
    assert "sc: 0 objects fetched" in again.stderr


@pytest.mark.bare
def test_readable_results_of_another_owner_are_stored_by_a_plain_user(pyz: Path) -> None:
    """As a container leaves them that runs as root."""
    with machine("bookworm") as bare:
        bare.copy(pyz, "/opt/sc.pyz")
        bare.run("mkdir -m 777 /work /work/tmp; echo before >/work/data; chmod 600 /work/data")
        wait = "echo $SATURN_RUN_LOCAL_RESULTS_DIR >/work/half; mv /work/half /work/where; "
        batch = f"{wait} until test -e /work/go; do sleep 0.05; done; {INTO} echo mine >mine; chmod 0 mine\n"
        bare.path("/work/batch.txt").write_text(batch)
        words = ["python3", "/opt/sc.pyz", "batch", "batch.txt", "--remote-output-path", "out"]
        sc = bare.start(
            ["sh", "-c", 'cd /work && exec "$@" 2>told', "sh", *NOBODY, *words],
            {"HOME": "/work", "TMPDIR": "/work/tmp"},
        )
        wait_for(bare.path("/work/where"), sc)
        left = (
            "cd $(cat /work/where); mkdir -p sub/deep hidden; echo 1 >sub/deep/x; echo 2 >sub/y; "
            "echo 3 >top; echo 4 >secret; chmod 600 secret; echo 5 >hidden/z; chmod 700 hidden; touch /work/go"
        )
        assert bare.run(left).returncode == 0
        assert sc.wait(LIMIT_SECONDS) == 0
        results = bare.path("/work/out/0/results")
        found = {
            str(p.relative_to(results)): p.read_text() for p in results.rglob("*") if p.is_file()
        }
        assert found == {"sub/deep/x": "1\n", "sub/y": "2\n", "top": "3\n", "mine": "mine\n"}
        assert {path.stat().st_uid for path in results.rglob("*")} == {65534}
        (record,) = records(bare.run("cat /work/out/.sc/batch/records/*").stdout)
        assert record["unstored_files"] == 2
        reason = str(record["reason"])
        assert "'hidden' (Operation not permitted)" in reason
        assert "could not be removed: '" in reason
        assert_left(bare, "could not be removed", ["deep", "hidden", "sub"])


def assert_left(bare: Machine, told: str, folders: list[str]) -> None:
    """What cannot be removed stays alone, is told once, and does not disturb the next one."""
    left = bare.run("find /work/tmp/sc-run-*/*/ -mindepth 1 -type d -printf '%f\\n'").stdout.split()
    assert sorted(left) == folders
    assert told in bare.path("/work/told").read_text()
    again = "cd /work; echo true >b.txt; " + " ".join(NOBODY) + " python3 /opt/sc.pyz batch b.txt "
    ran = bare.run(again + "--remote-output-path other", {"HOME": "/work", "TMPDIR": "/work/tmp"})
    assert (ran.returncode, told in ran.stderr) == (0, False)
    as_root = "cd /work; python3 /opt/sc.pyz batch b.txt --remote-output-path other"
    assert bare.run(as_root, {"TMPDIR": "/work/tmp"}).returncode == 0
    assert bare.run("ls /work/tmp").stdout == ""


def wait_for(path: Path, sc: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while not path.exists():
        assert sc.poll() is None
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


@pytest.mark.bare
def test_a_mount_left_in_results_is_not_emptied_and_is_told(pyz: Path) -> None:
    with machine("bookworm") as bare:
        bare.copy(pyz, "/opt/sc.pyz")
        bare.run("mkdir -p /data /work; echo data >/data/precious")
        mount = f"{INTO} echo made >made; mkdir m; mount --bind /data m\n"
        bare.path("/work/batch.txt").write_text(mount)
        words = "cd /work; python3 /opt/sc.pyz batch batch.txt --remote-output-path out"
        for count in (1, 2):
            ran = bare.run(words, {"TMPDIR": "/work"})
            assert ran.returncode == 0
            assert "could not be removed: '/work/sc-run-" in ran.stderr
            assert bare.run("cat /data/precious").stdout == "data\n"
            assert bare.run("ls -R /work/out/0/results").stdout == "/work/out/0/results:\nmade\n"
            mounted = bare.run("grep /sc-run- /proc/self/mountinfo").stdout.splitlines()
            assert len(mounted) == count
