"""Who may read what is derived from a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Optional

import pytest

from sc.storage import job_folders
from sc.storage.local import LocalStorage
from sc.storage.places import Folder
from sc.widths import OPEN, Width, width_of

ALL_MODES = [0o600, 0o640, 0o644, 0o660, 0o664, 0o666, 0o604, 0o400, 0o755, 0o000]


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("other", ALL_MODES)
def test_width_of_two_files_is_no_wider_than_either(mode: int, other: int) -> None:
    for groups in [(1, 1), (1, 2), (None, 1), (1, None), (None, None)]:
        both = Width(mode, groups[0]).and_(Width(other, groups[1]))
        for group in (1, 2, 3):
            alone = [Width(mode, groups[0]), Width(other, groups[1])]
            most = alone[0].mode_for(group) & alone[1].mode_for(group)
            assert both.mode_for(group) & ~most == 0


@pytest.mark.parametrize("mode", ALL_MODES)
def test_width_for_another_group_grants_it_what_everybody_has(mode: int) -> None:
    width = Width(mode, 1)
    assert width.mode_for(1) & 0o077 == mode & 0o066
    assert width.mode_for(2) & 0o070 == (mode & 0o006) << 3 & mode
    assert width.surely & ~width.mode_for(1) == width.surely & ~width.mode_for(2) == 0


def test_width_of_an_open_file_has_its_group(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    (tmp_path / "f").chmod(0o750)
    with open(tmp_path / "f") as file:
        assert width_of(file.fileno()) == Width(0o640, os.fstat(file.fileno()).st_gid)


def _storage() -> LocalStorage:
    return LocalStorage(Folder)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("outputs", "folder", "file"),
    [
        (None, 0o700, 0o600),  # made by sc, whatever the umask is
        (0o755, 0o700, 0o600),
        (0o700, 0o700, 0o600),
        (0o2755, 0o750, 0o640),
        (0o775, 0o770, 0o660),
        (0o2775, 0o770, 0o660),
        (0o770, 0o770, 0o660),
        (0o777, 0o777, 0o666),
        (0o1777, 0o777, 0o666),
    ],
)
def test_job_folder_is_private_unless_the_outputs_are_shared(
    tmp_path: Path, outputs: Optional[int], folder: int, file: int
) -> None:
    out = tmp_path / "out"
    if outputs is not None:
        out.mkdir()
        out.chmod(outputs)
    before = os.umask(0o002)
    try:
        storage = _storage()
        storage.put(f"{out}/.sc/job/logs/w", b"a")
        assert storage.create(f"{out}/.sc/job/claims/0", b"a")
        storage.put(f"{out}/.sc/job/parts/0.json", b"a", Width(0o600, os.getgid()))
        storage.put(f"{out}/0/stdout", b"a")
    finally:
        os.umask(before)
    for name in ("", "logs", "claims", "parts"):
        assert _mode(out / ".sc/job" / name) & 0o777 == folder & ~0o002
    for name in ("logs/w", "claims/0"):
        assert _mode(out / ".sc/job" / name) == file & ~0o002
    assert _mode(out / ".sc/job/parts/0.json") == 0o600
    assert _mode(out / "0/stdout") & 0o044 == 0o044  # outputs are as the umask has them


def test_job_folder_of_an_earlier_version_is_narrowed(tmp_path: Path) -> None:
    job = tmp_path / "out/.sc/job"
    job.mkdir(parents=True)
    for outputs, before, after in [(0o755, 0o755, 0o700), (0o775, 0o700, 0o700)]:
        (tmp_path / "out").chmod(outputs)
        job.chmod(before)
        job_folders.narrow(str(job))
        assert _mode(job) == after
    job_folders.narrow(str(tmp_path / "out/.sc/none"))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_stored_file_is_no_wider_than_its_source(tmp_path: Path, mode: int) -> None:
    (tmp_path / "source").write_text("secret")
    (tmp_path / "source").chmod(mode)
    storage = _storage()
    storage.put_file(f"{tmp_path}/out/copy", f"{tmp_path}/source")
    storage.get_file(f"{tmp_path}/out/copy", f"{tmp_path}/again")
    assert _mode(tmp_path / "out/copy") == _mode(tmp_path / "again") == mode


def test_file_without_a_width_is_as_the_umask_has_it(tmp_path: Path) -> None:
    _storage().put(f"{tmp_path}/f", b"", OPEN)
    (tmp_path / "plain").write_text("")
    assert _mode(tmp_path / "f") == _mode(tmp_path / "plain")
