"""AWS keys that have to be fetched: from STS with a code of an MFA device, or from a program."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.faults import wait_until
from tests.e2e.left_workers import end_workers
from tests.e2e.program import LIMIT_SECONDS, Program
from tests.e2e.seat import Seat
from tests.fakes.sts import FakeSts, fake_sts
from tests.servers import KEYS, S3Server

SERIAL = "arn:aws:iam::123456789012:mfa/me"
RIGHT, WRONG = "123456\n", "000000\n"
LOOKS = "env; ls -l /proc/self/fd; cat /proc/net/unix"


class Desk:
    """A batch, and a profile by which its bucket is reached."""

    def __init__(self, program: Program, folder: Path, server: S3Server, bucket: str) -> None:
        self.program, self.folder, self.server = program, folder, server
        self.place = f"s3://{bucket}/out"
        self.environment: dict[str, str] = {}
        self.seats: list[Seat] = []

    def configure(self, sts: FakeSts, config: str, keys: str = "") -> None:
        (self.folder / "config").write_text(config)
        (self.folder / "credentials").write_text(keys)
        plain = dict(self.server.environment())
        del plain["AWS_ACCESS_KEY_ID"], plain["AWS_SECRET_ACCESS_KEY"]
        self.environment = {
            **plain,
            "HOME": str(self.folder),
            "AWS_PROFILE": "work",
            "AWS_CONFIG_FILE": str(self.folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "credentials"),
            "AWS_ENDPOINT_URL_STS": sts.url,
        }

    def write(self, runs: Sequence[str], **spec: Any) -> None:
        batch = {"remote_output_path": self.place, "nprocs": 2, "runs": [{"cmd": c} for c in runs]}
        (self.folder / "batch.json").write_text(json.dumps(batch))
        recipe = {"type": "job", "spec": {"name": "job", "instance_type": "local", **spec}}
        (self.folder / "recipe.yaml").write_text(json.dumps(recipe))

    def sit(self, *words: str, answers: Sequence[str] = (RIGHT,)) -> Seat:
        seat = Seat(self.program, words, self.folder, self.environment, answers=answers)
        self.seats.append(seat)
        return seat

    def call(self, *words: str) -> Any:
        """Without a terminal."""
        return self.program.run(*words, cwd=self.folder, environment=self.environment)

    def stored(self) -> list[str]:
        bucket, _, prefix = self.place[5:].partition("/")
        found = self.server.client().list_objects_v2(Bucket=bucket, Prefix=prefix)
        return sorted(one["Key"][len(prefix) + 1 :] for one in found.get("Contents", []))

    def text(self, name: str) -> str:
        bucket, _, prefix = self.place[5:].partition("/")
        answer = self.server.client().get_object(Bucket=bucket, Key=f"{prefix}/{name}")
        return str(answer["Body"].read().decode())


ROLE = f"""[profile work]
role_arn = arn:aws:iam::123456789012:role/work
source_profile = me
mfa_serial = {SERIAL}
region = us-east-1
"""
MINE = "[me]\naws_access_key_id = AKIAME\naws_secret_access_key = secret\n"


@pytest.fixture
def sts() -> Iterator[FakeSts]:
    with fake_sts(KEYS) as fake:
        yield fake


@pytest.fixture
def desk(
    program: Program, tmp_path: Path, seaweed: S3Server, bucket: str, sts: FakeSts
) -> Iterator[Desk]:
    one = Desk(program, tmp_path, seaweed, bucket)
    one.configure(sts, ROLE, MINE)
    yield one
    for seat in one.seats:
        seat.close()
    end_workers(one.place)


def test_each_command_asks_for_a_code_once(desk: Desk, sts: FakeSts) -> None:
    desk.write([LOOKS, "exit 3"])
    for code, words in [
        (1, ["batch", "batch.json"]),
        (1, ["split", "recipe.yaml", "batch.json", "cut", "--start", "--wait"]),
        (0, ["summarize-batch", "batch.json"]),
        (0, ["logs", "batch.json", "0"]),
        (0, ["pull", "batch.json", "pulled"]),
        (0, ["rerun", "batch.json", "0", "--save"]),
        (0, ["split", "recipe.yaml", "batch.json", "cut", "--start"]),
    ]:
        asked = len(sts.codes)
        seat = desk.sit(*words)
        assert (seat.end(), seat.questions) == (code, 1), seat.text
        assert sts.codes[asked:] == ["123456"]
    assert "the AWS keys of this job's workers end at" in desk.seats[-1].text
    is_done = re.compile(r"\.sc/job/(done|ended)/").match
    wait_until(lambda: any(map(is_done, desk.stored())), "the workers that outlive it store")
    assert desk.text("1/status_code") == "3"
    seen = desk.text("0/stdout")
    assert "secret" not in seen
    assert "AWS_ACCESS_KEY_ID" not in seen
    descriptors = [line.split()[-3] for line in seen.splitlines() if " -> " in line]
    assert sorted(descriptors)[:3] == ["0", "1", "2"]
    assert len(descriptors) == 4


def test_without_a_right_code_nothing_is_changed(desk: Desk) -> None:
    desk.write(["echo new"])
    earlier = ["stdout", "status_code"]
    for name in earlier:
        desk.server.client().put_object(Bucket=desk.place[5:-4], Key=f"out/0/{name}", Body=b"0")
    batch, work = ["batch", "batch.json"], ["work", f"{desk.place}/.sc/job", "--yes"]
    split = ["split", "recipe.yaml", "batch.json", "cut", "--start"]
    for words, answer, code, told in [
        (batch, WRONG, 3, "no keys were given for that code"),
        (split, WRONG, 3, "no keys were given for that code"),
        (work, WRONG, 3, "no keys were given for that code"),
        (batch, "12\n", 3, "try again with the next code"),
        (batch, "\n", 3, "no code was typed"),
        (batch, "\x04", 3, "no code was typed"),
        (batch, "\x03", 130, "interrupted"),
        (split, "\x03", 130, "interrupted"),
        (work, "\x03", 130, "interrupted"),
    ]:
        seat = desk.sit(*words, answers=[answer])
        assert (seat.end(), seat.questions) == (code, 1), seat.text
        assert told in seat.text
        assert "Traceback" not in seat.text
        assert desk.stored() == sorted(f"0/{name}" for name in earlier)


def test_a_terminal_that_only_stdin_is_will_do(desk: Desk, sts: FakeSts) -> None:
    desk.write(["echo new"])
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [*desk.program.words, "batch", "batch.json"],
        cwd=desk.folder,
        env=desk.program.surroundings(desk.environment),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, RIGHT.encode())
    _, said = running.communicate(timeout=LIMIT_SECONDS)
    os.close(ours)
    assert (running.returncode, said.count(b"Enter MFA code for")) == (0, 1), said
    assert sts.codes == ["123456"]


def test_without_a_terminal_one_sentence_says_what_to_do(desk: Desk, sts: FakeSts) -> None:
    desk.write(["echo new"])
    for words in (["batch", "batch.json"], ["pull", "batch.json", "p"], ["setup"], ["options"]):
        done = desk.call(*words)
        assert done.returncode == 3, done.stderr
        (line,) = done.stderr.splitlines()
        assert SERIAL in line
        assert "aws sts get-caller-identity --profile work" in line
    assert (sts.codes, desk.stored()) == ([], [])


def _call_the_aws_cli(folder: Path, keys: tuple[str, str]) -> Path:
    """What `aws sts get-caller-identity` leaves when it was given a code; returns the folder."""
    from botocore.credentials import AssumeRoleCredentialFetcher

    fetcher: Any = AssumeRoleCredentialFetcher
    role = "arn:aws:iam::123456789012:role/work"
    key = fetcher(None, None, role, {"SerialNumber": SERIAL})._cache_key
    cache = folder / ".aws/cli/cache"
    cache.mkdir(parents=True)
    given = {"AccessKeyId": keys[0], "SecretAccessKey": keys[1], "SessionToken": ""}
    document = {"Credentials": {**given, "Expiration": "2099-01-01T00:00:00Z"}}
    (cache / f"{key}.json").write_text(json.dumps(document))
    return cache


def test_what_the_aws_cli_has_got_for_a_code_is_used_and_nothing_written(
    desk: Desk, sts: FakeSts, tmp_path: Path
) -> None:
    cache = _call_the_aws_cli(tmp_path, KEYS[0])
    desk.write(["echo new"])
    done = desk.call("batch", "batch.json")
    assert (done.returncode, sts.codes) == (0, []), done.stderr
    assert len(list(cache.iterdir())) == 1


def test_workers_that_outlive_their_keys_take_those_that_the_aws_cli_gets(
    desk: Desk, sts: FakeSts, tmp_path: Path
) -> None:
    sts.seconds = [5]
    desk.write(["until test -e go; do sleep 0.1; done; sleep 1"])
    seat = desk.sit("split", "recipe.yaml", "batch.json", "cut", "--start")
    assert seat.end() == 0, seat.text
    ends = time.monotonic() + 5
    wait_until(lambda: time.monotonic() > ends, "the keys have ended")
    (tmp_path / "go").touch()
    _call_the_aws_cli(tmp_path, KEYS[1])
    is_done = re.compile(r"\.sc/job/(done|ended)/").match
    wait_until(lambda: any(map(is_done, desk.stored())), "the worker stores what it has")
    assert (sts.codes, desk.text("0/status_code")) == (["123456"], "0")


PROCESS = "[profile work]\nregion = us-east-1\ncredential_process = {} {}\n"
PROGRAM = """import json, sys, time
with open({log!r}, "a") as log: log.write("x")
ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + {seconds}))
print(json.dumps({{"Version": 1, "AccessKeyId": {access!r}, "SecretAccessKey": {secret!r}, "Expiration": ends}}))
"""


def _configure_process(desk: Desk, sts: FakeSts, seconds: float) -> Path:
    """Returns the file that grows with each call."""
    log, program = desk.folder / "calls", desk.folder / "keys.py"
    access, secret = KEYS[0]
    program.write_text(PROGRAM.format(log=str(log), seconds=seconds, access=access, secret=secret))
    desk.configure(sts, PROCESS.format(sys.executable, program))
    return log


def test_a_program_that_gives_keys_is_called_once(desk: Desk, sts: FakeSts) -> None:
    log = _configure_process(desk, sts, 3600)
    desk.write([LOOKS] * 4)
    for calls, words in enumerate(
        [
            ["batch", "batch.json"],
            ["split", "recipe.yaml", "batch.json", "cut", "--start", "--wait"],
            ["pull", "batch.json", "pulled"],
        ],
        1,
    ):
        done = desk.call(*words)
        assert (done.returncode, len(log.read_text())) == (0, calls), done.stderr


PORTAL = "https://me.awsapps.com/start"
SSO = f"""[profile work]
sso_start_url = {PORTAL}
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = work
region = us-east-1
"""


def test_other_keys_that_are_fetched_are_fetched_once(desk: Desk, sts: FakeSts) -> None:
    (desk.folder / "token").write_text("token")
    cache = desk.folder / ".aws/sso/cache"
    cache.mkdir(parents=True)
    login = {"accessToken": "token", "expiresAt": "2099-01-01T00:00:00Z", "region": "us-east-1"}
    name = hashlib.sha1(PORTAL.encode()).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps({"startUrl": PORTAL, **login}))
    web = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(desk.folder / "token")}
    web["AWS_ROLE_ARN"] = "arn:aws:iam::123456789012:role/work"
    desk.write(["true"] * 4, scale=2)
    for config, more in [
        (SSO, {"AWS_ENDPOINT_URL_SSO": sts.url}),
        ("[profile work]\nregion = us-east-1\n", web),
        (ROLE.replace(f"mfa_serial = {SERIAL}\n", ""), {}),
    ]:
        desk.configure(sts, config, MINE)
        desk.environment.update(more)
        asked = len(sts.codes)
        done = desk.call("split", "recipe.yaml", "batch.json", "cut", "--start", "--wait")
        assert (done.returncode, sts.codes[asked:]) == (0, [None]), done.stderr


def test_keys_that_end_soon_are_renewed_in_one_place(desk: Desk, sts: FakeSts) -> None:
    log = _configure_process(desk, sts, 3)
    desk.write(["sleep 6; echo end"] * 3)
    done = desk.call("batch", "batch.json", "--nprocs", "3")
    assert done.returncode == 0, done.stderr
    assert 2 <= len(log.read_text()) <= 5


def test_a_new_code_is_asked_for_once_while_work_goes_on(desk: Desk, sts: FakeSts) -> None:
    sts.seconds = [4, 3600]
    desk.write(["sleep 7; echo end"] * 4)
    seat = desk.sit("batch", "batch.json", "--nprocs", "4", answers=[RIGHT])
    seat.read_until(lambda: seat.questions == 2, "a new code is asked for")
    for name in (WRONG, "654321\n"):
        asked = len(sts.codes)
        seat.type(name)
        seat.read_until(lambda count=asked: len(sts.codes) > count, "the code is used")  # type: ignore[misc]
    assert seat.end() == 0, seat.text
    assert sts.codes == ["123456", "000000", "654321"]
    assert seat.questions == 3
    assert desk.text("3/stdout") == "end\n"


def test_workers_of_this_machine_get_new_keys_from_who_waits_for_them(
    desk: Desk, sts: FakeSts
) -> None:
    sts.seconds = [4, 3600]
    desk.write(["sleep 7; echo end"] * 2, scale=2)
    words = ["split", "recipe.yaml", "batch.json", "--batch-size", "1", "--start", "--wait"]
    seat = desk.sit(*words, answers=[RIGHT, RIGHT])
    assert seat.end() == 0, seat.text
    assert sts.codes == ["123456", "123456"]
    assert desk.text("1/stdout") == "end\n"
