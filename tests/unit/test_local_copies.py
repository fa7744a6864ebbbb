"""Copies on this machine: their content, their holes, and that nobody sees a private file meanwhile."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sc.storage.atomic_files import Draft
from sc.storage.local_copies import copy
from sc.widths import PRIVATE

MIB = 1 << 20
SHAPES = {
    # pieces of data: (start, bytes), and the size
    "empty": ([], 0),
    "a hole": ([], 50 * MIB),
    "data": ([(0, 3 * MIB + 1)], 3 * MIB + 1),
    "a hole before": ([(20 * MIB, 5)], 20 * MIB + 5),
    "a hole behind": ([(0, 5)], 20 * MIB),
    "holes between": ([(0, 5), (8 * MIB, 9000), (30 * MIB - 1, 1)], 30 * MIB),
}


class WithoutName(Draft):
    """As it mostly is."""


class Named(Draft):
    """A draft where the kernel has no files without a name, as on NFS."""

    TMPFILE = 0


@pytest.mark.parametrize("kind", [WithoutName, Named])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_copy_has_the_same_content_mode_time_and_holes(
    tmp_path: Path, shape: str, kind: type[Draft]
) -> None:
    pieces, size = SHAPES[shape]
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for start, length in pieces:
            file.seek(start)
            file.write(os.urandom(length))
        file.truncate(size)
    source.chmod(0o4751)
    os.utime(source, ns=(1, 981173106_123456789))
    made = kind(str(tmp_path), PRIVATE)
    assert stat.S_IMODE(os.fstat(made.fd).st_mode) == 0o600
    with source.open("rb") as file:
        copy(file.fileno(), made)
    made.publish(str(target))
    made.discard()
    before, after = source.stat(), target.stat()
    assert target.read_bytes() == source.read_bytes()
    assert (stat.S_IMODE(after.st_mode), after.st_mtime_ns) == (0o751, 981173106_123456789)
    assert after.st_blocks <= before.st_blocks + 16


def test_a_file_that_tells_no_size_by_its_blocks_is_read_to_its_end(tmp_path: Path) -> None:
    """Files of /proc have no blocks, and no size: nothing of them is copied, and nothing waits."""
    made = Draft(str(tmp_path), PRIVATE)
    with open("/proc/self/status", "rb") as file:
        copy(file.fileno(), made)
    made.publish(str(tmp_path / "target"))
    made.discard()
    assert (tmp_path / "target").read_bytes() == b""
