"""Archives: nothing is written outside of the destination, and nothing but files, folders and links inside of it."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from sc.archives import unpack
from sc.errors import InputError
from tests.fuzz.documents import written

_BLOCK = 512


@lru_cache(maxsize=1)
def _yard() -> tempfile.TemporaryDirectory[str]:
    """A folder in which something lies beside the destination, for archives to reach for."""
    shm = "/dev/shm"
    return tempfile.TemporaryDirectory(
        prefix="sc-yard-", dir=shm if os.access(shm, os.W_OK) else None
    )


def _fresh_yard() -> Path:
    yard = Path(_yard().name)
    for one in yard.iterdir():
        shutil.rmtree(one)
    (yard / "outside").mkdir()
    (yard / "outside/secret").write_text("secret")
    (yard / "in").mkdir()
    (yard / "in/b").mkdir()
    (yard / "in/old").write_text("old")
    return yard


def tar(data: bytes) -> None:
    """The bytes of a tar, which is compressed here, with checksums put right: they would stop every mutation."""
    blocks = [data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK)]
    _unpack(gzip.compress(b"".join(map(_with_checksum, blocks)), 0))


def _with_checksum(block: bytes) -> bytes:
    if len(block) < _BLOCK or block[257:262] != b"ustar":
        return block
    header = bytearray(block)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def tar_gz(data: bytes) -> None:
    """The bytes as they are."""
    _unpack(data)


def _unpack(data: bytes) -> None:
    yard = _fresh_yard()
    try:
        unpack(written("a.tar.gz", data), str(yard / "in"))
    except InputError as error:
        assert str(error)
    assert sorted(os.listdir(yard)) == ["in", "outside"]
    assert os.listdir(yard / "outside") == ["secret"]
    assert (yard / "outside/secret").read_text() == "secret"
    top = os.path.realpath(yard / "in")
    for path in _below(yard / "in"):
        mode = os.lstat(path).st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode), path
        assert not stat.S_IMODE(mode) & 0o7000, path
        if stat.S_ISLNK(mode):
            assert f"{os.path.realpath(path)}/".startswith(f"{top}/"), path


def _below(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        yield from (os.path.join(parent, name) for name in (*folders, *files))
