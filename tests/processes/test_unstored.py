"""What of the results cannot be stored, and what is stored in another form: told alike of every storage."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.conftest import Execution, wait_until
from tests.processes.test_frozen import named

INTO = "cd $SATURN_RUN_LOCAL_RESULTS_DIR; "


@pytest.fixture
def other_disk(near: Execution) -> Iterator[Execution]:
    """What runs leave lies on another file system than their outputs."""
    if os.stat("/dev/shm").st_dev == os.stat(near.out).st_dev:
        pytest.skip("/dev/shm is no file system of its own")
    with tempfile.TemporaryDirectory(prefix="sc-test-", dir="/dev/shm") as folder:
        own, near.temp = near.temp, Path(folder)
        yield near
        near.assert_nothing_left()
        near.temp = own


def test_links_to_folders_inside_are_stored(execution: Execution) -> None:
    make = f"{INTO} mkdir -p ck-100/deep; echo 1 >ck-100/model; echo 2 >ck-100/deep/x; "
    (ended,) = execution.run({"cmd": make + "ln -s ck-100 latest; ln -s $PWD/ck-100/model best"})
    assert (ended.code, ended.reason, ended.unstored_files) == (0, "", 0)
    assert execution.read("0/results/latest/model") == execution.read("0/results/best") == "1\n"
    assert execution.read("0/results/latest/deep/x") == "2\n"
    results = execution.out / "0/results"
    if not execution.is_far:
        assert os.readlink(results / "latest") == "ck-100"
        assert os.readlink(results / "best") == "ck-100/model"


@pytest.mark.parametrize(
    ("make", "count"),
    [
        ("ln -s /etc/passwd a", 1),
        ("ln -s /etc a; ln -s /nowhere b", 2),
        ("mkdir d; ln -s .. d/up; ln -s . here", 2),
        ("ln -s b a; ln -s a b", 2),
        ("mkfifo a; touch f; ln -s a b", 2),
        ("ln -s ../stdout a", 1),
        ("ln -s /proc/self/fd a; ln -s /dev/null b", 2),
        ("rm -r $PWD; echo >$SATURN_RUN_LOCAL_RESULTS_DIR", 1),
        ("rm -r $PWD; ln -s /etc $SATURN_RUN_LOCAL_RESULTS_DIR", 1),
    ],
)
def test_what_is_not_stored_is_counted_and_named(
    execution: Execution, make: str, count: int
) -> None:
    (ended,) = execution.run({"cmd": INTO + make})
    assert (ended.code, ended.cause, ended.unstored_files) == (0, "exit", count)
    assert ended.reason.startswith("not stored: '")
    assert execution.read("0/status_code") == "0"


def test_the_reason_of_a_failure_stays_beside_it(execution: Execution) -> None:
    (ended,) = execution.run({"cmd": "mkfifo $SATURN_RUN_LOCAL_RESULTS_DIR/p; exit 3"})
    assert (ended.code, ended.unstored_files) == (3, 1)
    assert "not stored: 'p' (no plain file)" in ended.reason


def test_a_wanted_folder_that_is_a_link_is_used(execution: Execution) -> None:
    real, link = execution.folder / "real", execution.folder / "link"
    real.mkdir()
    link.symlink_to(real)
    (ended,) = execution.run({"cmd": f"{INTO} echo 1 >x", "local_results_dir": str(link)})
    assert (ended.reason, execution.read("0/results/x")) == ("", "1\n")
    assert os.listdir(real) == []
    assert link.is_symlink()


KEPT = (
    f"{INTO} umask 022; echo 1 >tool; chmod 755 tool; echo s >secret; chmod 600 secret; "
    "truncate -s 300M hole; echo end >>hole; touch -d @981173106 secret; mkdir -m 750 d empty; echo >d/x"
)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o7777 for path in sorted(folder.iterdir())}


def test_modes_times_and_holes_are_kept_in_a_folder(near: Execution) -> None:
    near.run({"cmd": KEPT})
    assert_kept(near.out / "0/results")


def assert_kept(results: Path) -> None:
    expected = {"d": 0o750, "empty": 0o750, "hole": 0o644, "secret": 0o600, "tool": 0o755}
    assert modes(results) == expected
    assert (results / "secret").stat().st_mtime == 981173106
    status = (results / "hole").stat()
    assert status.st_size == 300 * 2**20 + 4
    assert status.st_blocks * 512 < 2**20
    with (results / "hole").open("rb") as file:
        file.seek(-5, os.SEEK_END)
        assert file.read() == b"\0end\n"


def test_modes_times_and_holes_are_kept_on_another_file_system(other_disk: Execution) -> None:
    assert [one.reason for one in other_disk.run({"cmd": KEPT})] == [""]
    assert_kept(other_disk.out / "0/results")


def test_setuid_goes_with_the_file_and_not_with_a_copy(other_disk: Execution) -> None:
    make = "cp /bin/true x; chmod 4755 x"
    other_disk.run({"cmd": INTO + make})
    assert modes(other_disk.out / "0/results") == {"x": 0o755}


def test_a_saver_that_is_killed_again_and_again_loses_nothing(execution: Execution) -> None:
    make = f"{INTO} mkdir d; for i in $(seq 300); do echo $i >d/$i; done; ln -s d l; ln -s /etc out"
    execution.start(*[{"cmd": make}] * 6, savers=1)
    killed = 0

    def kill_one() -> bool:
        nonlocal killed
        try:
            os.kill(named(execution, b"sc saver"), signal.SIGKILL)
            killed += 1
        except (ValueError, OSError):
            pass  # there is none at this moment
        return killed == 3 or len(execution.outcomes()) == 6

    wait_until(kill_one, "it has died three times")
    ended = execution.finish()
    assert [one.code for one in ended] == [0] * 6
    # Who is killed after it has removed what is stored, and before it has answered, takes the count along.
    assert [one.unstored_files for one in ended].count(1) >= 6 - killed
    for run in range(6):
        for name in ("d", "l"):
            folder = execution.out / f"{run}/results/{name}"
            assert {
                p.name: p.read_text() for p in folder.iterdir() if not p.name.endswith(".half")
            } == {str(i): f"{i}\n" for i in range(1, 301)}


def test_a_name_too_long_to_be_opened_is_told(execution: Execution) -> None:
    script = (
        "import os; os.chdir(os.environ['SATURN_RUN_LOCAL_RESULTS_DIR']); open('good', 'w')\n"
        "for _ in range(30): os.mkdir('x' * 200); os.chdir('x' * 200); open('f', 'w')"
    )
    (ended,) = execution.run({"cmd": [sys.executable, "-c", script]})
    assert ended.code == 0
    assert ended.unstored_files >= 1
    assert "File name too long" in ended.reason
    assert execution.read("0/results/good") == ""
