"""Whether the process that somebody tells of is still there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sc.holder import Holder, is_alive, this_process

NOBODY = 2**22 + 7
"""A process id that Linux never gives."""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with this process in it."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("0f-this-boot\n")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").touch()
    tell(tmp_path, os.getpid(), "S", 4242)
    return tmp_path


def tell(proc: Path, pid: int, state: str, started: int) -> None:
    (proc / str(pid)).mkdir(exist_ok=True)
    fields = [state, *["0"] * 18, str(started), "0"]
    (proc / f"{pid}/stat").write_text(f"{pid} (odd) S name) {' '.join(fields)}\n")


def test_the_calling_process_is_alive(proc: Path) -> None:
    me = this_process(1.5, str(proc))
    assert (me.pid, me.started, me.boot, me.since) == (os.getpid(), 4242, "0f-this-boot", 1.5)
    assert is_alive(me, str(proc)) is True
    assert is_alive(this_process(0.0)) is True


def test_one_that_has_ended_or_whose_number_is_anothers_now_is_dead(proc: Path) -> None:
    me = this_process(0.0, str(proc))
    assert is_alive(me._replace(pid=NOBODY), str(proc)) is False
    assert is_alive(me._replace(started=4241), str(proc)) is False
    tell(proc, me.pid, "Z", 4242)
    assert is_alive(me, str(proc)) is False


@pytest.mark.parametrize(
    "other",
    [
        {"host": "another"},
        {"boot": "another"},
        {"boot": ""},
        {"namespace": 1},
        {"started": -1},
        {"pid": 0},
        {"pid": -1},
    ],
)
def test_of_another_machine_boot_or_container_nothing_is_known(
    proc: Path, other: dict[str, object]
) -> None:
    me = this_process(0.0, str(proc))
    assert is_alive(me._replace(**other), str(proc)) is None  # type: ignore[arg-type]


def test_one_that_is_there_but_may_not_be_looked_at_is_not_taken_for_dead(proc: Path) -> None:
    me = this_process(0.0, str(proc))
    (proc / f"{me.pid}/stat").unlink()
    assert is_alive(me, str(proc)) is None


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    me = this_process(0.0, str(tmp_path))
    assert isinstance(me, Holder)
    assert is_alive(me, str(tmp_path)) is None
