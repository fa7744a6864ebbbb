"""What every kind of storage promises: the same stories over a folder, `sfs://` and a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import pytest

from sc.errors import InputError, MissingError, StorageError
from sc.paths import BEHIND, join
from sc.storage import Storage, open_storage

ODD_NAMES = [
    "a b",
    "a'; echo foo",
    'say "hello"',
    "two\nlines",
    "carriage\rreturn",
    "tab\there",
    "100%",
    "a%20b",
    "a+b",
    "a&b=c?d#e",
    "<a>&amp;",
    "[1]*{2}~!$()@:,;",
    "back\\slash",
    "ünïcödé",
    "豈",
    "😀",
    "control\x01\x1f\x7f",
    "trailing ",
    " leading",
    ".hidden",
    "x" * 200,
]


@pytest.fixture(params=["folder", "sfs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of each kind."""
    if request.param == "folder":
        return str(tmp_path / "out put")
    if request.param == "sfs":
        return "sfs://owner/some where"
    request.getfixturevalue("s3_environment")
    return f"s3://{request.getfixturevalue('bucket')}/some where"


@pytest.fixture
def storage(place: str, tmp_path: Path) -> Storage:
    return open_storage({**os.environ, "SC_SFS_ROOT": str(tmp_path / "shared")})


def names(storage: Storage, place: str, start_after: str = "", end_before: str = "") -> list[str]:
    """The listing, relative to the place."""
    entries = list(storage.list(place, start_after, end_before))
    assert all(entry.place.startswith(place + "/") for entry in entries)
    return [entry.place[len(place) + 1 :] for entry in entries]


def test_what_was_put_is_there(storage: Storage, place: str) -> None:
    one = join(place, "a", "b")
    tag = storage.put(one, b"content")
    assert storage.get(one) == b"content"
    entry = storage.stat(one)
    assert entry is not None
    assert (entry.place, entry.size, entry.tag) == (one, 7, tag)
    assert 0 <= entry.age_seconds < 600
    (listed,) = storage.list(place)
    assert listed[:3] == entry[:3]
    assert 0 <= listed.age_seconds < 600


def test_a_put_replaces_and_its_tag_tells(storage: Storage, place: str) -> None:
    one = join(place, "a")
    tags = [storage.put(one, data) for data in (b"1", b"2", b"")]
    assert len(set(tags)) == 3
    assert storage.get(one) == b""
    entry = storage.stat(one)
    assert entry is not None
    assert (entry.size, entry.tag) == (0, tags[-1])


def test_what_is_missing_is_told_as_missing(storage: Storage, place: str, tmp_path: Path) -> None:
    one, copy = join(place, "no", "where"), tmp_path / "copy"
    assert storage.stat(one) is None
    assert list(storage.list(one)) == []
    assert list(storage.list_folders(one)) == []
    with pytest.raises(MissingError, match=r"nothing at .*/no/where"):
        storage.get(one)
    with pytest.raises(MissingError, match=r"nothing at .*/no/where"):
        storage.get_file(one, str(copy))
    assert not copy.exists()
    storage.delete([one])
    assert storage.replace(one, b"", "no tag") is None
    assert storage.stat(one) is None


def test_a_folder_of_objects_is_no_object(storage: Storage, place: str) -> None:
    storage.put(join(place, "a", "b"), b"")
    assert storage.stat(join(place, "a")) is None
    with pytest.raises(MissingError):
        storage.get(join(place, "a"))


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0, b"0123456789"),
        (3, b"3456789"),
        (10, b""),
        (99, b""),
        (-3, b"789"),
        (-99, b"0123456789"),
    ],
)
def test_a_part_of_an_object(storage: Storage, place: str, start: int, expected: bytes) -> None:
    storage.put(join(place, "a"), b"0123456789")
    assert storage.get(join(place, "a"), start) == expected


@pytest.mark.parametrize("start", [0, 5, -5])
def test_a_part_of_an_empty_object(storage: Storage, place: str, start: int) -> None:
    storage.put(join(place, "a"), b"")
    assert storage.get(join(place, "a"), start) == b""


@pytest.mark.parametrize("is_size_known", [True, False])
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o644, 0o600, 0o400])
def test_a_file_comes_back_as_executable_as_it_was(
    storage: Storage, place: str, tmp_path: Path, mode: int, is_size_known: bool
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copies" / "copy"
    source.write_bytes(b"#!/bin/sh\n")
    source.chmod(mode)
    storage.put_file(join(place, "tool"), str(source))
    for _ in range(2):  # the second one replaces the first
        storage.get_file(
            join(place, "tool"), str(copy), source.stat().st_size if is_size_known else None
        )
    got = copy.stat().st_mode & 0o777
    assert (got & 0o100, copy.read_bytes()) == (mode & 0o100, b"#!/bin/sh\n")
    if storage.local_path(place) is not None:
        assert (got, copy.stat().st_mtime_ns) == (mode, source.stat().st_mtime_ns)
    elif not mode & 0o111:
        untouched = tmp_path / "untouched"
        untouched.touch()
        assert got == untouched.stat().st_mode & 0o777


def test_odd_names_survive(storage: Storage, place: str, tmp_path: Path) -> None:
    odd = sorted(ODD_NAMES, key=str.encode)
    for name in odd:
        storage.put(join(place, "odd", name), name.encode())
        storage.put(join(place, "under", name, "file"), b"")
    assert names(storage, join(place, "odd")) == odd
    for name in odd:
        one = join(place, "odd", name)
        assert storage.get(one) == name.encode(), name
        assert storage.stat(one) is not None, name
    assert list(storage.list_folders(join(place, "under"))) == odd
    storage.delete(entry.place for entry in list(storage.list(place)))
    assert names(storage, place) == []


def test_a_name_that_is_no_utf8_is_kept(storage: Storage, place: str) -> None:
    one = join(place, os.fsdecode(b"caf\xe9"))
    storage.put(one, b"x")
    assert storage.get(one) == b"x"
    (entry,) = storage.list(place)
    assert storage.get(entry.place) == b"x"
    storage.delete([one])
    assert names(storage, place) == []


def order(place: str) -> Callable[[str], object]:
    """How keys are sorted: SeaweedFS goes folder by folder, S3 and our folders byte by byte."""
    return (lambda key: key.split("/")) if place.startswith("s3:") else str.encode


def test_a_listing_is_in_order_and_in_bounds(storage: Storage, place: str) -> None:
    keys = ["a!", "a.b", "a/b", "a/c.d", "a/c/d", "a/c0", "a0", "B", "é", "😀", "z/z/z", "豈"]
    for key in keys:
        storage.put(join(place, key), b"")
    by: Any = order(place)
    expected = sorted(keys, key=by)
    assert names(storage, place) == expected
    bounds = [*keys, "a", "a/", "a/c", "a/c/", "!", "z", "z/z", "z/z/", "😀😀", f"a{BEHIND}"]
    for bound in bounds:
        before = [key for key in expected if by(key) < by(bound)]
        after = [key for key in expected if by(key) > by(bound)]
        assert names(storage, place, end_before=bound) == before, bound
        assert names(storage, place, start_after=bound) == after, bound
        for other in bounds:
            between = [key for key in after if by(key) < by(other)]
            assert names(storage, place, bound, other) == between, (bound, other)


def test_a_listing_is_of_a_folder_not_of_a_prefix(storage: Storage, place: str) -> None:
    for key in ("1/a", "10/a", "1.b"):
        storage.put(join(place, key), b"")
    assert names(storage, join(place, "1")) == ["a"]
    assert list(storage.list_folders(place)) == ["1", "10"]
    assert list(storage.list_folders(join(place, "1"))) == []


def test_more_objects_than_a_page(storage: Storage, place: str) -> None:
    expected = [f"{n:05}/x" for n in range(2500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: storage.put(join(place, key), b"1"), expected))
    assert names(storage, place) == expected
    assert list(storage.list_folders(place)) == [key[:5] for key in expected]
    assert names(storage, place, "00999/x", "02001/x") == expected[1000:2001]
    storage.delete(join(place, key) for key in expected[:2499])
    assert names(storage, place) == expected[2499:]


@pytest.mark.parametrize("size", [0, 1, 5 << 20, (40 << 20) + 17])
def test_files_of_any_size(storage: Storage, place: str, tmp_path: Path, size: int) -> None:
    source, copy = tmp_path / "source", tmp_path / "new folder" / "copy"
    source.write_bytes(os.urandom(size))
    storage.put_file(join(place, "a", "b"), str(source))
    entry = storage.stat(join(place, "a", "b"))
    assert entry is not None
    assert entry.size == size
    storage.get_file(join(place, "a", "b"), str(copy))
    assert copy.read_bytes() == source.read_bytes()
    assert os.listdir(copy.parent) == ["copy"]
    assert names(storage, place) == ["a/b"]


MEASURED = """
import resource, sys
from sc.storage import open_storage
place, path = sys.argv[1:]
storage = open_storage()
storage.check(place)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
storage.put_file(place + "/large", path)
storage.get_file(place + "/large", path + ".copy")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_a_file(place: str, tmp_path: Path, checkout: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(300 << 20)
        file.write(b"begin")
        file.seek(299 << 20)
        file.write(b"end")
    command = [sys.executable, "-W", "ignore", "-c", MEASURED, place, str(source)]
    environment = {**os.environ, "SC_SFS_ROOT": str(tmp_path / "shared")}
    run = subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE)
    assert int(run.stdout) < 100, "MiB above what it needs without a file"
    subprocess.run(["cmp", str(source), f"{source}.copy"], check=True)


def test_a_file_that_grows_meanwhile(storage: Storage, place: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"begin\n")
    stop = threading.Event()

    def grow() -> None:
        with source.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"more\n" * 1000)
                stop.wait(0.0005)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for n in range(5):
            storage.put_file(join(place, str(n)), str(source))
    finally:
        stop.set()
        writer.join()
    whole = source.read_bytes()
    sizes = []
    for n in range(5):
        data = storage.get(join(place, str(n)))
        assert whole.startswith(data)
        sizes.append(len(data))
    assert sizes == sorted(sizes)
    assert sizes[0] >= len(b"begin\n")


def test_a_file_that_is_not_there_is_named(storage: Storage, place: str, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        storage.put_file(join(place, "a"), str(tmp_path / "no such file"))
    assert names(storage, place) == []


def test_what_is_no_file_is_not_put(storage: Storage, place: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(StorageError, match=f"{name} cannot be read, it is no regular file"):
            storage.put_file(join(place, "a"), str(tmp_path / name))
    assert names(storage, place) == []


def test_only_the_first_creates(storage: Storage, place: str) -> None:
    one = join(place, "claims", "1")
    tag = storage.create(one, b"first")
    assert tag is not None
    assert storage.create(one, b"second") is None
    assert storage.get(one) == b"first"
    entry = storage.stat(one)
    assert entry is not None
    assert entry.tag == tag
    storage.delete([one])
    assert storage.create(one, b"third") is not None


def test_only_the_current_tag_replaces(storage: Storage, place: str) -> None:
    one = join(place, "claims", "1")
    first = storage.create(one, b"1")
    assert first is not None
    second = storage.replace(one, b"2", first)
    assert second not in (None, first)
    assert storage.replace(one, b"3", first) is None
    assert storage.get(one) == b"2"
    third = storage.replace(one, b"4", str(second))
    entry = storage.stat(one)
    assert entry is not None
    assert entry.tag == third
    storage.delete([one])
    assert storage.replace(one, b"5", str(third)) is None
    assert storage.stat(one) is None


def test_one_of_many_threads_creates(storage: Storage, place: str) -> None:
    # SeaweedFS lets those who wait for one key look again only each second
    turns, threads = (3, 4) if place.startswith("s3:") else (30, 16)
    for turn in range(turns):
        one = join(place, "claims", str(turn))

        def create(mine: int, one: str = one) -> bool:
            return storage.create(one, b"%d" % mine) is not None

        with ThreadPoolExecutor(threads) as pool:
            won = list(pool.map(create, range(threads)))
        assert won.count(True) == 1
        assert storage.get(one) == b"%d" % won.index(True)


INCREMENT = """
import sys
from sc.storage import open_storage
place, times = sys.argv[1], int(sys.argv[2])
storage = open_storage()
storage.create(place, b"0")
for _ in range(times):
    while True:
        entry = storage.stat(place)
        number = int(storage.get(place))
        if storage.replace(place, b"%d" % (number + 1), entry.tag) is not None:
            break
"""


def test_many_processes_count_together(
    storage: Storage, place: str, tmp_path: Path, checkout: Path
) -> None:
    """No increment is lost: each replaces exactly the version that it read."""
    environment = {**os.environ, "SC_SFS_ROOT": str(tmp_path / "shared")}
    count = 10 if place.startswith("s3:") else 50
    with running(6, [join(place, "counter"), str(count)], environment, checkout) as processes:
        assert [process.wait(120) for process in processes] == [0] * 6
    assert storage.get(join(place, "counter")) == b"%d" % (6 * count)
    assert names(storage, place) == ["counter"]


class running:  # noqa: N801 - reads as a verb
    """Several processes that increment, none of which outlives the block."""

    def __init__(
        self, number: int, arguments: list[str], environment: dict[str, str], folder: Path
    ) -> None:
        command = [sys.executable, "-W", "ignore", "-c", INCREMENT, *arguments]
        self._processes = [
            subprocess.Popen(command, env=environment, cwd=folder) for _ in range(number)
        ]

    def __enter__(self) -> list[subprocess.Popen[bytes]]:
        return self._processes

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def test_nobody_sees_half_an_object(storage: Storage, place: str) -> None:
    one = join(place, "a")
    contents = [bytes([65 + n]) * 300_000 for n in range(4)]
    storage.put(one, contents[0])
    stop = threading.Event()

    def read() -> Iterator[bytes]:
        while not stop.is_set():
            yield storage.get(one)

    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(lambda: {bytes(data) for data in read()})
        for n in range(40):
            storage.put(one, contents[n % 4])
        stop.set()
        assert reader.result() <= set(contents)


def test_a_usable_place_passes_the_check_and_stays_empty(storage: Storage, place: str) -> None:
    storage.check(place)
    assert names(storage, place) == []


def test_no_object_has_no_name(storage: Storage, place: str) -> None:
    root = "s3://bucket/" if place.startswith("s3:") else "/"
    with pytest.raises(InputError, match="name something below it"):
        storage.put(root, b"")
    with pytest.raises(InputError, match="NUL"):
        storage.get(place + "/a\0b")


def test_a_name_that_is_too_long_is_told(storage: Storage, place: str) -> None:
    with pytest.raises(StorageError, match=r"cannot be written.*shorter"):
        storage.put(join(place, "x" * 1100), b"")


def test_a_storage_goes_on_in_a_forked_child(storage: Storage, place: str) -> None:
    """Its connections stay the parent's; they are not shared, which would mix up the answers."""
    storage.put(join(place, "parent"), b"1")
    children = []
    for n in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for turn in range(5):
                    storage.put(join(place, "child", str(n), str(turn)), b"%d" % n)
                code = 0 if storage.get(join(place, "parent")) == b"1" else 2
            finally:
                os._exit(code)
        children.append(child)
    assert [storage.get(join(place, "parent")) for _ in range(5)] == [b"1"] * 5
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    for n in range(3):
        entries = list(storage.list(join(place, "child", str(n))))
        assert [storage.get(entry.place) for entry in entries] == [b"%d" % n] * 5


@pytest.mark.usefixtures("s3_environment")
def test_a_missing_bucket_is_told_whatever_is_asked(tmp_path: Path) -> None:
    place, storage = "s3://nobody-made-this-one/a", open_storage()
    (tmp_path / "file").write_bytes(b"x" * (17 << 20))
    questions: list[Callable[[], object]] = [
        lambda: storage.check(place),
        lambda: storage.stat(place),
        lambda: storage.get(place),
        lambda: storage.get_file(place, str(tmp_path / "copy")),
        lambda: storage.put(place, b""),
        lambda: storage.put_file(place, str(tmp_path / "file")),
        lambda: storage.create(place, b""),
        lambda: list(storage.list(place)),
        lambda: list(storage.list_folders(place)),
    ]
    for question in questions:
        with pytest.raises(StorageError, match="there is no bucket nobody-made-this-one: make it"):
            question()
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("AWS_ACCESS_KEY_ID", "the access key is not known there"),
        ("AWS_SECRET_ACCESS_KEY", "the secret key does not fit"),
    ],
)
@pytest.mark.usefixtures("s3_environment")
def test_wrong_credentials_are_told(
    bucket: str, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.setenv(name, "wrong")
    for act in (open_storage().check, open_storage().stat):
        with pytest.raises(StorageError, match=sentence):
            act(f"s3://{bucket}/a")
