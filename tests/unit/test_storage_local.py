"""What only a folder can do to us: disks, links, clocks, and processes that die half-way."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Callable, Optional

import pytest

from sc.errors import StorageError
from sc.storage.atomic_files import HIDDEN, Draft, draft, write_all
from sc.storage.local import LocalStorage
from sc.storage.local_errors import told
from sc.storage.places import resolve
from sc.storage.tickets import ABSENT, Tickets, tag_of, ticket_name


def storage(
    wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> LocalStorage:
    return LocalStorage(lambda place: resolve(place, {}), monotonic, wall)


def listed(folder: Path) -> list[str]:
    return [entry.place[len(str(folder)) + 1 :] for entry in storage().list(str(folder))]


def test_links_are_followed_to_files_within_and_not_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for path in (root / "a" / "file", outside / "secret"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    (root / "inner").symlink_to("a/file")
    (root / "outer").symlink_to(outside / "secret")
    (root / "outer folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to("nowhere")
    assert listed(root) == ["a/file", "inner"]
    assert list(storage().list_folders(str(root))) == ["a"]
    (tmp_path / "alias").symlink_to(root)
    assert listed(tmp_path / "alias") == ["a/file", "inner"]


def test_what_is_no_file_is_no_object(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    assert listed(tmp_path) == []
    assert list(storage().list_folders(str(tmp_path))) == []
    assert storage().stat(str(tmp_path / "pipe")) is None
    with pytest.raises(StorageError):
        storage().get(str(tmp_path / "pipe"))


def test_a_draft_is_never_listed_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with draft(str(target)) as new:
        write_all(new.fd, b"half")
        assert listed(tmp_path) == []
    assert os.listdir(tmp_path) == []
    with pytest.raises(ZeroDivisionError), draft(str(target)) as new:
        write_all(new.fd, b"%d" % (1 // 0))
    assert os.listdir(tmp_path) == []


class NamedDraft(Draft):
    """A draft where the kernel has no O_TMPFILE, as on NFS."""

    TMPFILE = 0


class LinklessDraft(NamedDraft):
    """... and no hard links either, as on some file systems in user space."""

    def link(self, source: str, path: str, folder: Optional[int]) -> None:
        raise OSError(errno.EPERM, "no links here")


@pytest.mark.parametrize("kind", [Draft, NamedDraft, LinklessDraft])
def test_a_draft_replaces_at_once_on_every_file_system(tmp_path: Path, kind: type[Draft]) -> None:
    target = tmp_path / "a"
    for content in (b"first", b"second"):
        new = kind(str(tmp_path))
        write_all(new.fd, content)
        new.publish(str(target))
        new.discard()
        assert target.read_bytes() == content
        assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", [Draft, NamedDraft])
def test_a_draft_is_made_only_where_nothing_is(tmp_path: Path, kind: type[Draft]) -> None:
    for expected in (True, False):
        new = kind(str(tmp_path))
        write_all(new.fd, b"%d" % expected)
        assert new.publish_new(str(tmp_path / "a")) is expected
        new.discard()
    assert (tmp_path / "a").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["a"]


class Clock:
    """Time that moves only when somebody waits, or when told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.during_pause: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.during_pause()

    def tickets(self, ages: Optional[Callable[[str], float]] = None) -> Tickets:
        """Tickets whose age is told by `ages`; by default all are new."""
        return Tickets(ages or (lambda path: 0.0), self.monotonic, self.pause)


def swapped(tickets: Tickets, path: Path, content: bytes, tag: str) -> Optional[str]:
    with draft(str(path)) as new:
        write_all(new.fd, content)
        return tickets.swap(str(path), new, tag)


def test_who_waits_for_a_living_holder_learns_that_it_won(tmp_path: Path) -> None:
    path, clock = tmp_path / "a", Clock()
    path.write_bytes(b"old")
    tag = tag_of(path.stat())
    ticket = Path(ticket_name(str(path), tag, 0))
    ticket.touch()

    def win() -> None:
        with draft(str(path)) as new:
            write_all(new.fd, b"theirs")
            new.publish(str(path))

    clock.during_pause = win
    assert swapped(clock.tickets(), path, b"mine", tag) is None
    assert path.read_bytes() == b"theirs"
    assert ticket.exists()


def test_who_waits_for_a_holder_that_gave_up_goes_on(tmp_path: Path) -> None:
    path, clock = tmp_path / "a", Clock()
    path.write_bytes(b"old")
    tag = tag_of(path.stat())
    ticket = Path(ticket_name(str(path), tag, 0))
    ticket.touch()
    clock.during_pause = ticket.unlink
    assert swapped(clock.tickets(), path, b"mine", tag) == tag_of(path.stat())
    assert path.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["a"]


def test_the_ticket_of_a_dead_holder_is_passed_by_and_removed_at_the_end(tmp_path: Path) -> None:
    path, clock = tmp_path / "a", Clock()
    path.write_bytes(b"old")
    tag = tag_of(path.stat())
    for number in (0, 1):
        Path(ticket_name(str(path), tag, number)).touch()
    assert swapped(clock.tickets(lambda path: 31.0), path, b"mine", tag) is not None
    assert os.listdir(tmp_path) == ["a"]


def test_a_failure_removes_only_the_own_ticket(tmp_path: Path) -> None:
    """Were the dead one's removed too, two others could hold numbers 0 and 1 at the same time."""
    path, clock = tmp_path / "a", Clock()
    path.write_bytes(b"old")
    tag = tag_of(path.stat())
    dead = Path(ticket_name(str(path), tag, 0))
    dead.touch()

    class FullDisk(Draft):
        def publish(self, path: str) -> None:
            raise OSError(errno.ENOSPC, "full")

    new = FullDisk(str(tmp_path))
    with pytest.raises(OSError, match="full"):
        clock.tickets(lambda path: 31.0).swap(str(path), new, tag)
    new.discard()
    assert sorted(os.listdir(tmp_path)) == sorted([dead.name, "a"])
    assert path.read_bytes() == b"old"


def test_a_holder_that_was_held_up_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    tag = tag_of(path.stat())
    times = iter([0.0] + [11.0] * 9)
    tickets = Tickets(lambda path: 0.0, lambda: next(times), lambda seconds: None)
    assert swapped(tickets, path, b"mine", tag) is None
    assert path.read_bytes() == b"old"
    assert os.path.exists(ticket_name(str(path), tag, 0)), "somebody may have passed by it"


def test_a_tag_never_comes_back(tmp_path: Path) -> None:
    path, store = str(tmp_path / "a"), storage()
    tags = [store.create(path, b"0")]
    for turn in range(200):
        tags.append(store.replace(path, b"%d" % (turn % 2), str(tags[-1])))
    assert None not in tags
    assert len(set(tags)) == len(tags)
    times = [int(str(tag).split("-")[0], 16) for tag in tags]
    assert times == sorted(set(times))


def test_creating_without_links_is_a_swap_from_nothing(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "a"
    assert swapped(clock.tickets(), path, b"first", ABSENT) is not None
    assert swapped(clock.tickets(), path, b"second", ABSENT) is None
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_leftovers_of_the_killed_go_after_a_day(tmp_path: Path) -> None:
    for name, age in (("old", 90_000), ("new", 80_000)):
        path = tmp_path / (HIDDEN + name)
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    assert listed(tmp_path) == []
    assert os.listdir(tmp_path) == [HIDDEN + "new"]


def test_ages_are_by_the_clock_of_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    os.utime(path, (time.time() - 50,) * 2)
    wrong = storage(wall=lambda: 0.0, monotonic=lambda: 5.0)
    entry = wrong.stat(str(path))
    assert entry is not None
    assert 49 < entry.age_seconds < 300


REFUSALS = [
    (errno.EACCES, "may not be written: give this user the permission"),
    (errno.EPERM, "may not be written: give this user the permission"),
    (errno.EROFS, "its file system is read-only"),
    (errno.ENOSPC, "the disk is full"),
    (errno.EDQUOT, "quota is used up"),
    (errno.ENOTDIR, "a part of that path is a file"),
    (errno.EEXIST, "a part of that path is a file"),
    (errno.EISDIR, "there is a folder of that name"),
    (errno.ENAMETOOLONG, "choose a shorter one"),
    (errno.EMFILE, "raise `ulimit -n`"),
    (errno.EIO, r"\(Input/output error\): check the disk or the mount"),
    (errno.ESTALE, r"\(Stale file handle\): check the disk or the mount"),
]


@pytest.mark.parametrize(("code", "sentence"), REFUSALS, ids=str)
def test_refusals_are_sentences(code: int, sentence: str) -> None:
    with pytest.raises(StorageError, match=sentence) as caught, told("/{a}/b", "written"):
        raise OSError(code, os.strerror(code))
    assert str(caught.value).startswith("/{a}/b ")


def test_a_file_where_a_folder_has_to_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a part of that path is a file"):
        storage().check(str(tmp_path / "file" / "a"))
    with pytest.raises(StorageError, match="a part of that path is a file"):
        storage().put(str(tmp_path / "file" / "a"), b"")
    assert storage().stat(str(tmp_path / "file" / "a")) is None
    storage().delete([str(tmp_path / "file" / "a")])


def test_a_folder_where_a_file_has_to_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for act in (storage().put, storage().create):
        with pytest.raises(StorageError, match="there is a folder of that name"):
            act(str(tmp_path / "a"), b"")
    assert os.listdir(tmp_path) == ["a"]


def test_a_check_makes_nothing(tmp_path: Path) -> None:
    storage().check(str(tmp_path / "a" / "b" / "c"))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="needs /proc")
def test_a_folder_that_cannot_be_written_to_is_told() -> None:
    with pytest.raises(StorageError, match="choose another place"):
        storage().check("/proc/1/outputs")


@pytest.mark.parametrize(
    ("code", "is_final"),
    [
        *(
            (code, True)
            for code in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EOPNOTSUPP)
        ),
        *((code, True) for code in (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR)),
        *((code, False) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)),
        *((code, False) for code in (errno.ESTALE, errno.EMFILE, errno.ENOENT, errno.ETIMEDOUT)),
    ],
    ids=lambda value: errno.errorcode[value] if value > 1 else str(value),
)
def test_refusals_of_a_file_system_tell_whether_they_may_pass(code: int, is_final: bool) -> None:
    with pytest.raises(StorageError) as caught, told("/place", "written"):
        raise OSError(code, os.strerror(code))
    assert caught.value.is_final == is_final
