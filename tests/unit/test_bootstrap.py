"""The text of user-data, and the courier in it. That they work is shown by tests/cloud/test_boots.py."""

from __future__ import annotations

import io
import json
import urllib.error
from email.message import Message
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sc.errors import InputError
from sc.fleets import courier
from sc.fleets.bootstrap import FAILED, LIMIT_BYTES, user_data
from tests.fakes.job_facts import HOSTILE, facts


def test_it_fits_into_user_data_and_begins_as_cloud_init_wants() -> None:
    text = user_data(facts())
    assert text.startswith("#!/bin/sh\n")
    assert len(text.encode()) < LIMIT_BYTES - 2000


def test_names_too_long_are_told() -> None:
    with pytest.raises(InputError, match="choose a shorter remote_output_path"):
        user_data(facts("x" * 6000))


def test_what_people_wrote_is_one_line_of_json_and_nothing_else() -> None:
    plain, hostile = user_data(facts()).splitlines(), user_data(facts(HOSTILE)).splitlines()
    differing = [(a, b) for a, b in zip(plain, hostile) if a != b]
    assert len(plain) == len(hostile)
    assert len(differing) == 1
    told = json.loads(differing[0][1])
    assert told["job_url"] == f"s3://bucket/{HOSTILE}/.sc/job"
    assert told["environment"] == {"AWS_DEFAULT_REGION": HOSTILE}
    assert differing[0][1].isascii()


def test_the_mark_of_a_failure_is_what_the_script_says() -> None:
    assert FAILED == "sc-bootstrap: failed:"
    text = user_data(facts())
    assert "printf 'sc-bootstrap: %s\\n'" in text
    assert 'say "failed: $why"' in text


def test_the_watchdog_has_its_times() -> None:
    text = user_data(facts(), start_seconds=7, proof_seconds=11)
    assert "late 7 started" in text
    assert "late 11 ready" in text


KEYS = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}


def test_requests_are_signed_as_botocore_signs_them() -> None:
    url = courier.object_url(
        {"s3_endpoint": "https://s3.eu-west-1.amazonaws.com", "bucket": "b", "key": "a b/ü'$"},
        "sc.pyz",
    )
    assert url == "https://s3.eu-west-1.amazonaws.com/b/a%20b/%C3%BC%27%24/sc.pyz"
    mine = courier.sign("GET", url, b"", "s3", "eu-west-1", {**KEYS, "Token": "t"}, 1_800_000_000)
    request = AWSRequest("GET", url, headers={"X-Amz-Date": mine["x-amz-date"]})
    signer = S3SigV4Auth(
        Credentials(KEYS["AccessKeyId"], KEYS["SecretAccessKey"], "t"), "s3", "eu-west-1"
    )
    request.context["timestamp"] = mine["x-amz-date"]
    for name in ("x-amz-content-sha256", "x-amz-security-token"):
        request.headers[name] = mine[name]
    text = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, text), request)
    assert mine["authorization"].endswith(f"Signature={signature}")


def test_a_key_at_the_top_of_a_bucket_has_no_empty_folder() -> None:
    job = {"s3_endpoint": "http://s3/", "bucket": "b", "key": ""}
    assert courier.object_url(job, "sc.pyz") == "http://s3/b/sc.pyz"
    access_point = {"s3_endpoint": "https://p-s3alias.s3", "bucket": "", "key": "k"}
    assert courier.object_url(access_point, "sc.pyz") == "https://p-s3alias.s3/k/sc.pyz"


def answers(*codes: tuple[int, bytes]) -> tuple[list[int], Any]:
    """What AWS says, one after the other, and then yes."""
    left, asked = list(codes), [0]

    def act() -> str:
        asked[0] += 1
        if left:
            code, body = left.pop(0)
            raise urllib.error.HTTPError("http://aws", code, "", Message(), io.BytesIO(body))
        return "yes"

    return asked, act


BUSY = b"<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code></Error></ErrorResponse>"


@pytest.mark.parametrize(
    "answer",
    [
        (400, BUSY % b"Throttling"),
        (400, BUSY % b"ThrottlingException"),
        (503, BUSY % b"RequestLimitExceeded"),
        (503, b"Slow Down"),
        (429, b""),
        (400, BUSY % b"ResourceContention"),
    ],
)
def test_courier_asks_again_where_aws_is_busy(answer: tuple[int, bytes]) -> None:
    asked, act = answers(answer)
    assert courier.patiently(0, 0, act) == "yes"
    assert asked == [2]


@pytest.mark.parametrize("answer", [(400, BUSY % b"ValidationError"), (403, b"AccessDenied")])
def test_courier_takes_a_refusal_for_one(answer: tuple[int, bytes]) -> None:
    _, act = answers(answer)
    with pytest.raises(SystemExit, match=f"HTTP {answer[0]}"):
        courier.patiently(10, 0, act)


def test_user_data_has_the_courier_without_what_explains_it() -> None:
    text = user_data(facts())
    program = text.split("<<'SC_COURIER'\n")[1].split("\nSC_COURIER")[0]
    names: dict[str, Any] = {"__name__": "courier"}
    exec(compile(program, "courier.py", "exec"), names)
    assert set(names["COMMANDS"]) == set(courier.COMMANDS)
    assert '"""' not in program


def test_guard_is_there_before_anything_else_can_fail() -> None:
    text = user_data(facts())
    for later in ("find_python", "add_python", "late()", "courier.py"):
        assert text.index('"$guard" begin') < text.index(later)
    assert text.index("timed ||") < text.index("find_python()")
