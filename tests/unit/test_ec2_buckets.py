"""What `sc setup` says of buckets that keep what sc replaces, and the lifecycle rules that it prints."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from sc.errors import InputError
from sc.executor.growth import Growth
from sc.fleets.ec2_buckets import Advice, advise, as_text
from tests.fakes.aws import FakeAws, refused

ON = {"Status": "Enabled"}
NONE = refused("NoSuchLifecycleConfiguration")
NO_LOCK = refused("ObjectLockConfigurationNotFoundError")
UPLOADS = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}
VERSIONS = {
    "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
    "Expiration": {"ExpiredObjectDeleteMarker": True},
}


def advised(
    *words: str, versioning: Any = ON, lifecycle: Any = NONE, lock: Any = NO_LOCK
) -> Advice:
    aws = FakeAws(
        get_bucket_versioning=versioning,
        get_bucket_lifecycle_configuration=lifecycle,
        get_object_lock_configuration=lock,
    )
    (one,) = advise(aws, words or ("data",))
    assert aws.changes == []
    return one


def rules(one: Advice) -> list[dict[str, Any]]:
    assert one.document is not None
    return list(json.loads(as_text(one.document))["Rules"])


def present(**rule: Any) -> dict[str, Any]:
    return {"Rules": [{"ID": "theirs", "Status": "Enabled", **rule}]}


def test_versioned_bucket_gets_a_warning_and_the_whole_rule() -> None:
    one = advised()
    (rule,) = rules(one)
    assert rule.pop("ID").startswith("sc: old versions")
    assert rule == {"Status": "Enabled", "Filter": {"Prefix": ""}, **VERSIONS, **UPLOADS}
    assert "keeps old versions" in one.sentences[0]
    assert "130" in one.sentences[0]
    assert "replaces all rules" in one.sentences[-1]
    assert one.command == (
        "aws s3api put-bucket-lifecycle-configuration --bucket data --lifecycle-configuration file://lifecycle.json"
    )


@pytest.mark.parametrize("versioning", [{}, {"Status": "Suspended"}])
def test_bucket_without_versions_gets_the_rule_for_uploads_alone(versioning: Any) -> None:
    one = advised(versioning=versioning)
    (rule,) = rules(one)
    assert rule == {
        "ID": "sc: unfinished uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        **UPLOADS,
    }
    assert len(one.sentences) == 1


@pytest.mark.parametrize("word", ["data/jobs", "s3://data/jobs", "s3://data/jobs/"])
def test_rule_is_for_the_prefix_alone(word: str) -> None:
    (rule,) = rules(advised(word))
    assert rule["Filter"] == {"Prefix": "jobs/"}
    assert "jobs/" in rule["ID"]


def test_prefixes_of_one_bucket_are_one_document() -> None:
    found = rules(advised("data/b", "data/a", "data/a/below"))
    assert [rule["Filter"]["Prefix"] for rule in found] == ["a/", "b/"]
    assert len({rule["ID"] for rule in found}) == 2


@pytest.mark.parametrize(
    ("lifecycle", "missing"),
    [
        (present(Filter={"Prefix": ""}, **UPLOADS), {"NoncurrentVersionExpiration", "Expiration"}),
        (
            present(Filter={}, NoncurrentVersionExpiration={"NoncurrentDays": 90}),
            {"AbortIncompleteMultipartUpload"},
        ),
        (
            present(Prefix="", NoncurrentVersionExpiration={"NoncurrentDays": 90}),
            {"AbortIncompleteMultipartUpload"},
        ),
        (
            present(Filter={"Prefix": ""}, Expiration={"Days": 30}),
            {"NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"},
        ),
        (present(Filter={"Prefix": "other/"}, **VERSIONS, **UPLOADS), {*VERSIONS, *UPLOADS}),
        (
            present(Filter={"Tag": {"Key": "a", "Value": "b"}}, **VERSIONS),
            {*VERSIONS, *UPLOADS},
        ),
        (
            present(Filter={"And": {"Prefix": "", "ObjectSizeLessThan": 9}}, **VERSIONS),
            {*VERSIONS, *UPLOADS},
        ),
    ],
)
def test_document_has_the_present_rules_and_what_they_lack(
    lifecycle: Any, missing: set[str]
) -> None:
    theirs, ours = rules(advised(lifecycle=lifecycle))
    assert theirs["ID"] == "theirs"
    assert "Prefix" not in theirs  # S3 takes no document with rules of both forms
    assert "Filter" in theirs
    assert ours.keys() - {"ID", "Status", "Filter"} == missing


@pytest.mark.parametrize("prefix", ["", "jobs/"])
def test_bucket_with_fitting_rules_gets_none(prefix: str) -> None:
    lifecycle = present(Filter={"Prefix": prefix}, **VERSIONS, **UPLOADS)
    one = advised("data/jobs", lifecycle=lifecycle)
    assert one.document is None
    assert one.command == ""


def test_disabled_rule_of_ours_is_replaced_and_dates_are_written_as_the_cli_takes_them() -> None:
    when = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
    (mine,) = rules(advised())
    lifecycle = {
        "Rules": [
            {**mine, "Status": "Disabled"},
            {
                "ID": "a",
                "Status": "Enabled",
                "Filter": {"Prefix": "x"},
                "Expiration": {"Date": when},
            },
        ],
        "TransitionDefaultMinimumObjectSize": "varies_by_storage_class",
        "ResponseMetadata": {"HTTPStatusCode": 200},
    }
    one = advised(lifecycle=lifecycle)
    other, again = rules(one)
    assert other["Expiration"] == {"Date": "2030-01-01T00:00:00Z"}
    assert again == mine
    assert one.command.endswith(" --transition-default-minimum-object-size varies_by_storage_class")


def test_rule_waits_for_object_lock() -> None:
    retention = {"Mode": "COMPLIANCE", "Years": 1}
    lock = {"ObjectLockConfiguration": {"Rule": {"DefaultRetention": retention}}}
    one = advised(lock=lock)
    (rule,) = rules(one)
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 365}
    assert any("for 365 days" in sentence for sentence in one.sentences)


def test_bucket_with_mfa_delete_takes_no_rules() -> None:
    one = advised(versioning={"Status": "Enabled", "MFADelete": "Enabled"})
    assert one.document is None
    assert any("MFA Delete" in sentence for sentence in one.sentences)


def test_what_may_not_be_looked_at_is_said_and_is_no_error() -> None:
    denied = refused("AccessDenied")
    blind = advised(versioning=denied, lifecycle=denied)
    assert blind.document is None
    assert [name in text for name, text in zip(("Versioning", "Lifecycle"), blind.sentences)]
    half = advised(lifecycle=denied)
    assert len(rules(half)) == 1
    assert "add those that it has now" in half.sentences[-1]
    assert "s3:GetLifecycleConfiguration" in half.sentences[0]


def test_bucket_that_is_not_there_is_one_sentence() -> None:
    one = advised(versioning=refused("NoSuchBucket"))
    assert list(one.sentences) == ["There is no bucket data yet: make it."]


def test_what_is_no_bucket_is_refused() -> None:
    with pytest.raises(InputError, match="a directory bucket"):
        list(advise(FakeAws(), ["b--use1-az4--x-s3"]))


def test_output_of_ten_hours_is_stored_as_often_as_is_said() -> None:
    growth, stored = Growth(0.0), 0
    for second in range(0, 36_000, 5):
        again = growth.grown(second, second + 1)
        stored += again is not growth
        growth = again
    assert 110 <= stored <= 150
