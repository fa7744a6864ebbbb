"""What differs from server to server: listed keys that are encoded or not, conditions that are kept or not, and names
that a server makes something else of."""

from __future__ import annotations

import os

import pytest

from sc.errors import StorageError
from sc.paths import join
from sc.storage import Storage, open_storage
from sc.storage.places import resolve
from sc.storage.s3 import configured_client
from sc.storage.s3_account import ConfiguredAccount
from sc.storage.s3_errors import Purpose
from sc.storage.s3_listing import objects
from tests.contract.test_storage import ODD_NAMES, names
from tests.servers import S3Server

BELOW = "a b/k=1+x%41"
IN_BYTES = [b"x-\xe9", b"x-%E9", b"x-%xE9", b"x-%xxE9", "x-é".encode(), "x-e\u0301".encode()]
IN_BYTES += [b"x\\y", b"x%5Cy", b"50%.txt", b"%\xff\xc3\xa9"]
NAMES = sorted({*ODD_NAMES, *map(os.fsdecode, IN_BYTES)} - {"豈"})


@pytest.fixture(params=["seaweed", "s3rver"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def place(server: S3Server) -> str:
    return f"s3://{server.bucket()}/{BELOW}"


@pytest.fixture
def storage(server: S3Server) -> Storage:
    return open_storage()


def test_names_survive_on_every_server(storage: Storage, place: str) -> None:
    for name in NAMES:
        storage.put(join(place, "here", name), name.encode("utf-8", "surrogateescape"))
        storage.put(join(place, "under", name, "file"), b"")
    assert sorted(names(storage, join(place, "here"))) == NAMES
    assert sorted(storage.list_folders(join(place, "under"))) == NAMES
    for entry in storage.list(join(place, "here")):
        name = entry.place.rpartition("/")[2]
        assert storage.get(entry.place) == name.encode("utf-8", "surrogateescape")
        found = storage.stat(entry.place)
        assert found is not None
        assert found.tag == entry.tag
    storage.delete(entry.place for entry in list(storage.list(place)))
    assert names(storage, place) == []


def test_a_listing_in_pages_has_every_key_once(server: S3Server) -> None:
    bucket = server.bucket()
    keys = [f"{BELOW}/{name}/z" for name in ("+", "a b", "k=1", "x%41", "x&y", "é")]
    for key in keys:
        server.client().put_object(Bucket=bucket, Key=key, Body=b"")
    purpose = Purpose("s3://…", "listed", "s3:ListBucket")
    found = objects(configured_client(), purpose, bucket, BELOW + "/", page_size=2)
    assert sorted(one.key for _, one in found) == sorted(keys)


@pytest.mark.parametrize("cut", ["a b", "k=1+", "x%41", "é"])
def test_ranges_with_a_common_bound_have_every_key_once(
    storage: Storage, place: str, cut: str
) -> None:
    keys = {f"{name}/file" for name in ("+", "a b", "k=1", "k=2", "x%41", "x&y", "é", "z")}
    for key in keys:
        storage.put(join(place, key), b"")
    ranges = [*names(storage, place, "", cut), *names(storage, place, cut, "")]
    assert sorted(ranges) == sorted(keys)


def test_conditions_are_proved_where_they_are_kept_and_nothing_stays(
    seaweed: S3Server, s3_environment: S3Server, bucket: str
) -> None:
    storage = open_storage()
    storage.check_conditions(f"s3://{bucket}/{BELOW}")
    assert names(storage, f"s3://{bucket}") == []


def test_conditions_that_are_ignored_are_found_out_and_nothing_stays(
    s3rver: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3rver.environment().items():
        monkeypatch.setenv(name, value)
    storage, place = open_storage(), f"s3://{s3rver.bucket()}/{BELOW}"
    with pytest.raises(StorageError, match="does not keep the condition If-None-Match"):
        storage.check_conditions(place)
    assert names(storage, place) == []


@pytest.mark.parametrize("name", ["k" * 256, "/".join(["k" * 200] * 6)], ids=["name", "key"])
def test_a_name_that_is_too_long_is_refused_for_good(
    s3_environment: S3Server, bucket: str, name: str
) -> None:
    with pytest.raises(StorageError, match="longer than the 1024 bytes") as refused:
        open_storage().put(f"s3://{bucket}/{name}", b"")
    assert refused.value.is_final


def test_credentials_that_are_not_known_are_not_refused_for_good(
    s3_environment: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    with pytest.raises(StorageError, match="not known") as refused:
        open_storage().put(f"s3://{bucket}/a", b"")
    assert not refused.value.is_final


def test_alias_of_an_access_point_is_addressed_as_a_bucket_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alias = "my-access-point-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias"
    assert resolve(f"s3://{alias}/a/b", {}) == (alias, "a/b")
    for name, value in (("AWS_CONFIG_FILE", "/dev/null"), ("AWS_DEFAULT_REGION", "us-west-2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    found = ConfiguredAccount().endpoint(alias)
    assert (found.url, found.path) == (f"https://{alias}.s3.us-west-2.amazonaws.com", "")
    assert found.region == "us-west-2"
