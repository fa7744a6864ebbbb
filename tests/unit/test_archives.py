"""Folders are packed the same each time, and no archive writes where it should not."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest

from sc.archives import pack, unpack
from sc.archives.ignoring import Ignored
from sc.archives.unpacking import _make_links, _Refused
from sc.errors import InputError, ScError


def fill(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Every file with its text, every link with its target, every folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = path.read_text() if path.is_file() else "/"
    return found


class TestPacking:
    def test_there_and_back(self, tmp_path: Path) -> None:
        source = fill(
            tmp_path / "src",
            {
                "a.py": "a",
                "b/run.sh": "b",
                "b/c/ü '; echo.txt": "c",
                "x" * 150 + "/" + "y" * 120: "d",
            },
        )
        (source / "empty").mkdir(mode=0o750)
        (source / "b/run.sh").chmod(0o4755)
        (source / "link").symlink_to("b/c")
        (source / "b/up").symlink_to("../a.py")
        packed = pack(str(source), str(tmp_path / "a.tar.gz"))
        assert unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "there/new")) == packed.files == 4
        assert tree(tmp_path / "there/new") == tree(source)
        assert stat.S_IMODE((tmp_path / "there/new/b/run.sh").stat().st_mode) == 0o755
        assert stat.S_IMODE((tmp_path / "there/new/empty").stat().st_mode) == 0o750

    def test_the_same_content_is_the_same_archive(self, tmp_path: Path) -> None:
        files = {"b": "1", "a/x": "2", "a.txt": "3"}
        first = pack(str(fill(tmp_path / "1", files)), str(tmp_path / "1.tar.gz"))
        other = fill(tmp_path / "2", dict(reversed(list(files.items()))))
        os.utime(other / "b", (1, 1))
        assert pack(str(other), str(tmp_path / "2.tar.gz")) == first
        data = (tmp_path / "1.tar.gz").read_bytes()
        assert (first.sha256, first.size) == (hashlib.sha256(data).hexdigest(), len(data))
        (other / "b").chmod(0o755)
        assert pack(str(other), str(tmp_path / "3.tar.gz")).sha256 != first.sha256

    def test_unpacking_again_replaces_and_files_are_new(self, tmp_path: Path) -> None:
        source = fill(tmp_path / "src", {"a": "old", "b": "same"})
        pack(str(source), str(tmp_path / "1.tar.gz"))
        (source / "a").write_text("new")
        pack(str(source), str(tmp_path / "2.tar.gz"))
        unpack(str(tmp_path / "1.tar.gz"), str(tmp_path / "out"))
        fill(tmp_path / "out", {"mine": "stays"})
        unpack(str(tmp_path / "2.tar.gz"), str(tmp_path / "out"))
        assert tree(tmp_path / "out") == {"a": "new", "b": "same", "mine": "stays"}
        assert (tmp_path / "out/a").stat().st_mtime >= (source / "a").stat().st_mtime - 1

    def test_caches_and_what_scignore_names_stay_here(self, tmp_path: Path) -> None:
        source = fill(
            tmp_path / "src",
            {
                ".git/config": "",
                "pkg/__pycache__/a.pyc": "",
                "pkg/node_modules/x": "",
                "data/big.csv": "",
                "data/keep.csv": "k",
                "pkg/data/kept": "k",
                ".scignore": "# mine\n\n*.csv\n!keep.csv\r\n/data/raw/\n",
                "data/raw/x": "",
            },
        )
        pack(str(source), str(tmp_path / "a.tar.gz"))
        unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"))
        files = [name for name, text in tree(tmp_path / "out").items() if text == "k"]
        assert files == ["data/keep.csv", "pkg/data/kept"]
        assert len(tree(tmp_path / "out")) == 6  # and .scignore, data, pkg, pkg/data

    def test_links_that_lead_out_are_told_before_anything_is_packed(self, tmp_path: Path) -> None:
        source = fill(tmp_path / "src", {"a": ""})
        (source / "abroad").symlink_to("/etc/passwd")
        (source / "up").symlink_to("../other")
        with pytest.raises(InputError, match=r"abroad, .*up: such links lead out of the folder"):
            pack(str(source), str(tmp_path / "a.tar.gz"))
        assert not (tmp_path / "a.tar.gz").exists()
        fill(source, {".scignore": "abroad\n/up"})
        assert pack(str(source), str(tmp_path / "a.tar.gz")).files == 2

    def test_pipes_and_sockets_are_left_out(self, tmp_path: Path) -> None:
        source = fill(tmp_path / "src", {"a": "a"})
        os.mkfifo(source / "pipe")
        assert pack(str(source), str(tmp_path / "a.tar.gz")).files == 1

    def test_what_is_no_file_is_named(self, tmp_path: Path) -> None:
        source = fill(tmp_path / "src", {"a": "a"})
        os.mkfifo(source / "pipe")
        packed = pack(str(source), str(tmp_path / "a.tar.gz"))
        assert packed.skipped == (f"{source}/pipe",)

    def test_links_that_lead_inside_by_another_way_are_made_relative(self, tmp_path: Path) -> None:
        source = fill(tmp_path / "real/src", {"d/a": "a"})
        (tmp_path / "alias").symlink_to("real")
        alias = tmp_path / "alias/src"
        (source / "absolute").symlink_to(alias / "d/a")
        (source / "d/real").symlink_to(source / "d")
        (source / "d/round").symlink_to("../../src/d/a")
        (source / "missing").symlink_to(source / "none")
        (source / "top").symlink_to(source)
        for given in (source, alias):
            pack(str(given), str(tmp_path / "a.tar.gz"))
            out = tmp_path / f"out-{given.parent.name}/other"
            unpack(str(tmp_path / "a.tar.gz"), str(out))
            links = ("absolute", "d/real", "d/round", "missing", "top")
            assert [os.readlink(out / one) for one in links] == ["d/a", ".", "a", "none", "."]

    def test_a_full_folder_for_temporary_files_is_named(self, tmp_path: Path) -> None:
        source = fill(tmp_path / "src", {"a": "a" * 100_000})
        (tmp_path / "tmp").mkdir()
        (tmp_path / "tmp/0.tar.gz").symlink_to("/dev/full")
        with pytest.raises(ScError, match=rf"written to {tmp_path}/tmp, .*No space left.*TMPDIR"):
            pack(str(source), str(tmp_path / "tmp/0.tar.gz"))

    def test_the_mode_of_the_folder_itself_is_kept(self, tmp_path: Path) -> None:
        source = fill(tmp_path / "src", {"a": "a"})
        source.chmod(0o700)
        pack(str(source), str(tmp_path / "a.tar.gz"))
        unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"))
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700

    @pytest.mark.parametrize("at_end", [True, False])
    def test_holes_stay_holes(self, tmp_path: Path, at_end: bool) -> None:
        (tmp_path / "src").mkdir()
        with (tmp_path / "src/x").open("wb") as file:
            for place in (0, 1 << 20, 3 << 20):
                file.seek(place)
                file.write(b"abc" * 2000)
            file.truncate((8 << 20) if at_end else file.tell())
        pack(str(tmp_path / "src"), str(tmp_path / "a.tar.gz"))
        unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "out"))
        assert (tmp_path / "out/x").read_bytes() == (tmp_path / "src/x").read_bytes()
        assert (tmp_path / "out/x").stat().st_blocks <= (tmp_path / "src/x").stat().st_blocks + 8

    def test_only_folders_are_packed(self, tmp_path: Path) -> None:
        for path in (tmp_path / "missing", fill(tmp_path, {"file": ""}) / "file"):
            with pytest.raises(InputError, match="is not a folder"):
                pack(str(path), str(tmp_path / "a.tar.gz"))


@pytest.mark.parametrize(
    ("rule", "left_out", "kept"),
    [
        ("a", ["a", "x/a", "a/"], ["ab", "ba"]),
        ("a/", ["a/", "x/a/"], ["a", "x/a"]),
        ("/a", ["a", "a/"], ["x/a"]),
        ("x/a", ["x/a"], ["y/x/a", "a"]),
        ("*.csv", ["a.csv", "x/.csv"], ["a.csv.gz"]),
        ("x/*.csv", ["x/a.csv"], ["x/y/a.csv"]),
        ("x/**/a", ["x/a", "x/y/z/a"], ["xa", "y/x/a"]),
        ("**/a", ["a", "x/y/a"], ["ba"]),
        ("x/**", ["x/a", "x/y/"], ["x/"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("[a-c]1", ["b1"], ["d1"]),
        ("[!a-c]1", ["d1"], ["b1", "x/b1"]),
        ("[]x]", ["]", "x"], ["y"]),
        ("[z-a]", ["z"], ["[z-a]", "a"]),
        ("\\#a", ["#a"], ["a"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_rules(rule: str, left_out: list[str], kept: list[str]) -> None:
    ignored = Ignored([rule])
    answers = {
        path: ignored.leaves_out(path.rstrip("/"), path.endswith("/")) for path in left_out + kept
    }
    assert answers == {**dict.fromkeys(left_out, True), **dict.fromkeys(kept, False)}


def member(
    name: str,
    kind: bytes = tarfile.REGTYPE,
    target: str = "",
    more: Optional[dict[str, str]] = None,
) -> tarfile.TarInfo:
    """An empty one; `more` is what its pax headers say."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o6777
    info.pax_headers = more or {}
    return info


LINK = tarfile.SYMTYPE
HOSTILE = {
    "above": [member("../x")],
    "above in the middle": [member("a/../../x")],
    "absolute": [member("/tmp/x")],
    "absolute folder": [member("/tmp/x", tarfile.DIRTYPE)],
    "link out": [member("x", LINK, "../outside")],
    "absolute link": [member("x", LINK, "/etc/passwd")],
    "link that leads out through another": [
        member("a/b", LINK, ".."),
        member("c", LINK, "a/b/../outside"),
    ],
    "hard link": [member("x", tarfile.LNKTYPE, "../outside/secret")],
    "device": [member("x", tarfile.CHRTYPE)],
    "pipe": [member("x", tarfile.FIFOTYPE)],
    "contiguous": [member("x", b"9")],
    "no name": [member(".")],
    "link made through a link that leads out": [
        member("a", LINK, "../../../outside"),
        member("a/secret", LINK, "x"),
    ],
    "link made through a link": [member("a", LINK, "."), member("b/../a/x", LINK, "y")],
    "link below a link of the archive": [member("a", LINK, "b"), member("a/c/d", LINK, "e")],
    "one link twice, and one that leads out": [
        member("a", LINK, "b"),
        member("a", LINK, "b"),
        member("c", LINK, "../outside"),
    ],
    "hard link to what is above": [member("x", tarfile.LNKTYPE, "/etc/passwd")],
    "hard link to itself": [member("x", tarfile.LNKTYPE, "x")],
    "block device": [member("x", tarfile.BLKTYPE)],
    "sparse": [member("x", tarfile.GNUTYPE_SPARSE)],
    "sparse by its headers": [
        member("x", more={"GNU.sparse.major": "0", "GNU.sparse.map": "0,1"}),
    ],
    "holes that overlap": [member("x", more={"SC.sparse": "9 0 0 5 0 1 0"})],
    "holes of another length": [member("x", more={"SC.sparse": "9 0 3"})],
    "holes behind the end": [member("x", more={"SC.sparse": "9 12 0"})],
    "holes that are no numbers": [member("x", more={"SC.sparse": "9 -1 0"})],
    "holes of a file without end": [member("x", more={"SC.sparse": "9" * 30})],
    "holes of a folder": [member("x", tarfile.DIRTYPE, more={"SC.sparse": "9 0 0"})],
    "longer than the disk": [member("x", more={"size": str(2**60)})],
    "another name by its headers": [member("x", more={"path": "../x"})],
    "another target by its headers": [member("x", LINK, "y", more={"linkpath": "/etc/passwd"})],
    "NUL in the name": [member("x", more={"path": "x\0/../../y"})],
    "NUL in the target": [member("x", LINK, "y", more={"linkpath": "y\0"})],
    "after something good": [member("good"), member("../x")],
}


def archive_of(path: Path, members: list[tarfile.TarInfo]) -> str:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b""))
    return str(path)


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archives_write_nothing(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    fill(tmp_path / "outside", {"secret": "secret"})
    (tmp_path / "top").mkdir()
    before = tree(tmp_path)
    archive = archive_of(tmp_path / "top/a.tar.gz", members)
    with pytest.raises(InputError, match="is not unpacked: it "):
        unpack(archive, str(tmp_path / "top/in/there"))
    os.remove(archive)
    left = {name: text for name, text in tree(tmp_path).items() if text != "/"}
    assert left == {name: text for name, text in before.items() if text != "/"}


def test_files_do_not_go_through_a_link_of_the_same_archive(tmp_path: Path) -> None:
    fill(tmp_path / "in/b", {"keep": ""})
    archive = archive_of(tmp_path / "a.tar.gz", [member("a", LINK, "b"), member("a/x")])
    with pytest.raises(InputError, match="holds 'a/x' below 'a', which is a link"):
        unpack(archive, str(tmp_path / "in"))
    assert tree(tmp_path / "in") == {"b": "/", "b/keep": ""}


def test_no_link_is_made_through_another_whatever_the_names_are(tmp_path: Path) -> None:
    """As on a disk that takes `A` and `a` for one name, where the look at the names finds nothing."""
    fill(tmp_path, {"outside/secret": "secret", "in/mine": ""})
    top = str(tmp_path / "in")
    links = {f"{top}/b": "mine", f"{top}/a": "../outside", f"{top}/a/secret": "x", f"{top}/c": "d"}
    with pytest.raises(_Refused, match="lead out"):
        _make_links(top, links)
    assert tree(tmp_path) == {
        "in": "/",
        "in/mine": "",
        "outside": "/",
        "outside/secret": "secret",
    }


def test_a_link_takes_no_place_in_which_there_are_files(tmp_path: Path) -> None:
    fill(tmp_path, {"outside": "secret"})
    archive = archive_of(tmp_path / "a.tar.gz", [member("a/x"), member("a", LINK, "../outside")])
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(archive, str(tmp_path / "in"))
    assert tree(tmp_path / "in") == {"a": "/", "a/x": ""}


def test_names_that_mean_something_elsewhere_are_names(tmp_path: Path) -> None:
    names = [
        "C:\\x",
        "\\\\host\\x",
        "a\nb",
        "-rf",
        "$(touch x)",
        "ü\u202e",
        "A",
        "a",
        "x" * 255,
        "CON",
    ]
    unpack(archive_of(tmp_path / "a.tar.gz", list(map(member, names))), str(tmp_path / "in"))
    assert sorted(os.listdir(tmp_path / "in")) == sorted(names)


@pytest.mark.parametrize("name", ["x" * 256, "/".join(["y" * 200] * 25)], ids=["name", "path"])
def test_a_name_that_is_too_long_is_told_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", [member("first"), member(name)])
    with pytest.raises(InputError, match=r"cannot be unpacked: .*File name too long"):
        unpack(archive, str(tmp_path / "in"))
    assert tree(tmp_path / "in") == {}


def test_of_two_files_of_one_name_the_last_one_stays(tmp_path: Path) -> None:
    archive = archive_of(
        tmp_path / "a.tar.gz",
        [member("x", tarfile.DIRTYPE), member("x/y"), member("x/y"), member("x", tarfile.DIRTYPE)],
    )
    assert unpack(archive, str(tmp_path / "in")) == 2
    assert tree(tmp_path / "in") == {"x": "/", "x/y": ""}
    assert stat.S_IMODE((tmp_path / "in/x").stat().st_mode) == 0o777  # and no setgid bit


@pytest.mark.parametrize("info", [member("a/x"), member("a", tarfile.DIRTYPE)], ids=["file", "dir"])
def test_a_link_that_is_there_already_leads_nobody_out(
    tmp_path: Path, info: tarfile.TarInfo
) -> None:
    (tmp_path / "outside").mkdir(mode=0o700)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="is a link; remove that first"):
        unpack(archive_of(tmp_path / "a.tar.gz", [info]), str(tmp_path / "in"))
    assert os.listdir(tmp_path / "outside") == []
    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o700


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, {"outside": "secret", "in/y": ""})
    (tmp_path / "in/x").symlink_to("../outside")
    unpack(archive_of(tmp_path / "a.tar.gz", [member("x")]), str(tmp_path / "in"))
    assert tree(tmp_path / "in") == {"x": "", "y": ""}
    assert (tmp_path / "outside").read_text() == "secret"
    assert stat.S_IMODE((tmp_path / "in/x").stat().st_mode) == 0o777  # and no setuid bit


def negative_size(data: bytes) -> bytes:
    """A header whose size leads back: tarfile of Python 3.9 reads it for ever (CVE-2025-8194)."""
    header = bytearray(data[:512])
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


def endless_header(data: bytes) -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2**33
    return info.tobuf() + b"\0" * 8192


def header_upon_header(data: bytes) -> bytes:
    """tarfile calls itself for each of them."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 10
    return (info.tobuf() + b"10 a=bcde\n".ljust(512, b"\0")) * 900 + data


def megabytes_of_headers(data: bytes) -> bytes:
    """Each is small enough; a map of a sparse file may go on for ever."""
    info = tarfile.TarInfo("x")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    info.size = 2**21
    return info.tobuf(tarfile.PAX_FORMAT) + b"9999999\n" + b"0\n" * 2**20


def sparse_without_an_end(data: bytes) -> bytes:
    """Its header promises another one, and there the archive ends."""
    header = bytearray(member("x", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[482] = 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    "damage",
    [
        negative_size,
        endless_header,
        header_upon_header,
        megabytes_of_headers,
        sparse_without_an_end,
        lambda data: data[:700],
        lambda data: b"",
        lambda data: b"no archive " * 100,
    ],
    ids=[
        *("negative size", "endless header", "header upon header", "megabytes of headers"),
        *("sparse without an end", "cut off", "empty", "something else"),
    ],
)
def test_damaged_archives(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        info = tarfile.TarInfo("x")
        info.size = 1000
        tar.addfile(info, io.BytesIO(b"x" * 1000))
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(damage(plain.getvalue())))
    with pytest.raises(InputError, match=r"a\.tar\.gz"):
        unpack(str(path), str(tmp_path / "in"))
    assert tree(tmp_path / "in") == {}


@pytest.mark.parametrize("keep", [0, 20, -20])
def test_archives_whose_compression_is_damaged(tmp_path: Path, keep: Optional[int]) -> None:
    source = fill(tmp_path / "src", {"a": "x" * 1000})
    pack(str(source), str(tmp_path / "a.tar.gz"))
    data = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(data[:keep])
    with pytest.raises(InputError, match=r"a\.tar\.gz"):
        unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "in"))
    assert tree(tmp_path / "in") == {}
