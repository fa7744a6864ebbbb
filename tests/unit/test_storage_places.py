"""Every text is a place, or an error that says why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sc.errors import InputError
from sc.storage import open_storage
from sc.storage.places import Bucket, Folder, Location, escaped_key, resolve, unescaped_key

HOME = {"SC_SFS_ROOT": "/shared"}
CLOUD = {"SC_SFS_ROOT": "s3://bucket/root/"}

GOOD: list[tuple[str, dict[str, str], Location]] = [
    ("s3://bucket/a/b", {}, Bucket("bucket", "a/b")),
    ("S3://bucket/a/b/", {}, Bucket("bucket", "a/b")),
    ("s3://bucket", {}, Bucket("bucket", "")),
    ("s3://bucket/", {}, Bucket("bucket", "")),
    ("s3://my.bucket-1/a%20b+c?d#e", {}, Bucket("my.bucket-1", "a%20b+c?d#e")),
    ("s3://bucket/a..b/...", {}, Bucket("bucket", "a..b/...")),
    ("/a/b", {}, Folder("/a/b")),
    ("a/b", {}, Folder("a/b")),
    ("../a", {}, Folder("../a")),
    ("./../a", {}, Folder("./../a")),
    (".", {}, Folder(".")),
    ("/with: colon/http:/x", {}, Folder("/with: colon/http:/x")),
    ("two\nlines", {}, Folder("two\nlines")),
    ("file:///a/b c%20d", {}, Folder("/a/b c%20d")),
    ("sfs://owner/path", HOME, Folder("/shared/owner/path")),
    ("sfs://owner/path", {"SC_SFS_ROOT": "file:///x/"}, Folder("/x/owner/path")),
    ("sfs://owner", CLOUD, Bucket("bucket", "root/owner")),
    ("sfs://owner/path/", CLOUD, Bucket("bucket", "root/owner/path")),
]


@pytest.mark.parametrize(("place", "environ", "location"), GOOD)
def test_a_place_is_found(place: str, environ: dict[str, str], location: Location) -> None:
    assert resolve(place, environ) == location


BAD = [
    ("", {}, "A place is empty"),
    ("gs://bucket/a", {}, "begins with gs://, which sc cannot write to: use s3://"),
    ("https://host/a", {}, "begins with https://"),
    ("hdfs+x://host/a", {}, r"begins with hdfs\+x://"),
    ("s3://", {}, "names no bucket: write s3://bucket/prefix"),
    ("s3:///key", {}, "names no bucket"),
    ("s3:bucket/key", {}, "lacks its slashes: write s3://"),
    ("s3://a/b", {}, "'a' in the place 's3://a/b' is no name of a bucket"),
    ("s3://bu cket/b", {}, "is no name of a bucket"),
    ("s3://user:pass@host/b", {}, "is no name of a bucket"),
    ("s3://bucket/../other", {}, r"contains '\.\.'"),
    ("/a/../b", {}, r"contains '\.\.'"),
    ("a/..", {}, r"contains '\.\.'"),
    ("../a/../../b", {}, r"contains '\.\.'"),
    ("file:///a/..", {}, r"contains '\.\.'"),
    ("file://a/b", {}, "write three slashes, file:///folder"),
    ("file:/a/b", {}, "lacks its slashes"),
    ("/a\0b", {}, "contains a NUL byte"),
    ("s3://bucket/a\0b", {}, "contains a NUL byte"),
    ("sfs://", HOME, "names no owner: write sfs://owner/path"),
    ("sfs:///", HOME, "names no owner"),
    ("sfs://owner/../../etc", HOME, r"contains '\.\.'"),
    ("sfs://owner/a", {}, "set SC_SFS_ROOT to the folder or the s3:// place"),
    ("sfs://owner/a", {"SC_SFS_ROOT": ""}, "set SC_SFS_ROOT"),
    ("sfs://owner/a", {"SC_SFS_ROOT": "sfs://x"}, "SC_SFS_ROOT is 'sfs://x'"),
    ("sfs://owner/a", {"SC_SFS_ROOT": "gs://x"}, "gs://"),
]


@pytest.mark.parametrize(("place", "environ", "sentence"), BAD)
def test_no_place_is_told(place: str, environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        resolve(place, environ)
    assert len(caught.value.problems) == 1


KEYS = [
    (b"caf\xe9/\xff", "caf%xE9/%xFF"),
    (b"x-%E9", "x-%E9"),
    (b"x-%xE9", "x-%xxE9"),
    (b"x-%xxE9", "x-%xxxE9"),
    (b"%\xe9", "%%xE9"),
    (b"%x\xe9", "%x%xE9"),
    (b"\xe99", "%xE99"),
    (b"back\\slash", "back%x5Cslash"),
    (b"50%.txt", "50%.txt"),
    (b"a%20b %C3%A9", "a%20b %C3%A9"),
    ("café".encode(), "café"),
    ("cafe\u0301".encode(), "cafe\u0301"),
]


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_key_of_a_name_is_the_name_where_it_can_be(name: bytes, key: str) -> None:
    assert escaped_key(os.fsdecode(name)) == key
    assert os.fsencode(unescaped_key(key)) == name


def test_key_of_half_a_surrogate_pair_is_utf8() -> None:
    assert escaped_key("\ud83d alone") == "%xED%xA0%xBD alone"


PIECES = st.lists(
    st.sampled_from(
        [*"%xXE9C5/a\\", "%x", "%xE9", "%xxE9", "%E9", "%x5C", "é", "\udce9", "\udcff", "\udc80"]
    ),
    max_size=8,
).map("".join)


@given(PIECES, PIECES)
def test_names_and_keys_map_one_to_one(name: str, other: str) -> None:
    key = escaped_key(name)
    assert key.encode().decode() == key
    assert unescaped_key(key) == name
    assert name == other or escaped_key(other) != key


@given(PIECES.filter(lambda text: text.isprintable()))
def test_key_of_others_has_a_name_that_leads_to_it(key: str) -> None:
    assert escaped_key(unescaped_key(key)) == key


def test_a_dot_in_a_path_means_what_it_means_in_a_folder() -> None:
    assert resolve("s3://bucket/./a/./b/.", {}) == Bucket("bucket", "a/b")


def test_one_storage_takes_places_of_different_kinds(tmp_path: Path) -> None:
    storage = open_storage({"SC_SFS_ROOT": str(tmp_path)})
    storage.put("sfs://owner/a", b"1")
    storage.put(f"file://{tmp_path}/owner/b", b"2")
    assert [entry.place for entry in storage.list("sfs://owner")] == [
        "sfs://owner/a",
        "sfs://owner/b",
    ]
    assert storage.local_path("sfs://owner/a") == f"{tmp_path}/owner/a"
    assert storage.local_path("s3://bucket/a") is None
    storage.delete(["sfs://owner/a", f"{tmp_path}/owner/b"])
    assert list(storage.list(str(tmp_path))) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("b--usw2-az1--x-s3", "a directory bucket"),
        ("B--USW2-AZ1--X-S3", "a directory bucket"),
        ("p--usw2-az1--xa-s3", "an access point of a directory bucket"),
        ("mfzwi23gnjvgw.mrap", "a Multi-Region Access Point"),
        ("p-0123--ol-s3", "an Object Lambda access point"),
        ("p-o0123--op-s3", "an access point on Outposts"),
        ("t--table-s3", "a table bucket"),
        ("arn:aws:s3:us-west-2:123456789012:accesspoint/test", "the alias of the access point"),
        ("arn:aws:s3:us-west-2:123456789012:accesspoint:test", "the alias of the access point"),
        ("arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap", "ARN"),
        ("arn:aws:s3:::bucket", "write the bucket's name"),
    ],
)
@pytest.mark.parametrize("below", ["", "/", "/a/b"])
def test_bucket_of_another_kind_is_refused_by_name(name: str, words: str, below: str) -> None:
    with pytest.raises(InputError) as refused:
        resolve(f"s3://{name}{below}", {})
    assert words in str(refused.value)
    with pytest.raises(InputError):
        resolve("sfs://me/x", {"SC_SFS_ROOT": f"s3://{name}"})


@pytest.mark.parametrize("name", ["x-s3", "b-x-s3", "p-123-s3alias", "mrap", "b--x-s3.more"])
def test_bucket_whose_name_looks_like_another_kind_is_one(name: str) -> None:
    assert resolve(f"s3://{name}/a", {}) == Bucket(name, "a")
