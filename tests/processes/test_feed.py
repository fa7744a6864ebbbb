"""A batch fed to the executor: old codes are forgotten before a run is handed out, and ends are counted."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Optional

import pytest

from sc.errands import Answer, Errands
from sc.errors import StorageError
from sc.executor import Ending, Gauge, Task
from sc.feed import CHUNK, FIRST_CHUNK, BatchFeed, Tally
from sc.halting import Limit
from sc.model import Outcome, Run
from sc.previous_outputs import Previous, find_previous
from sc.records import Records
from sc.storage import Storage
from sc.storage.router import AnyStorage
from sc.widths import OPEN, Width
from tests.processes.conftest import wait_until

LIMIT_SECONDS = 30
NOW = Gauge((), 0, 0, "")


class Far(AnyStorage):
    """A folder that is reached as if it were S3."""

    def moved(self) -> int:
        return 0

    def local_path(self, place: str) -> Optional[str]:
        return None


class Broken(Far):
    """It takes nothing away."""

    def delete(self, places: object) -> None:
        raise StorageError("deleting is not allowed; ask for s3:DeleteObject")


class Moody(Far):
    """It takes no records while there is a file `down`, and never answers while there is a file `stuck`."""

    def put(self, place: str, data: bytes, width: Width = OPEN) -> str:
        folder = Path(place.partition("/.sc/")[0])
        while (folder / "stuck").exists():
            time.sleep(0.05)
        if (folder / "down").exists():
            raise StorageError("the storage gave no answer")
        return super().put(place, data)


def moody() -> Storage:
    return Moody({})


def far() -> Storage:
    return Far({})


def broken() -> Storage:
    return Broken({})


def near() -> Storage:
    return AnyStorage({})


@contextmanager
def feeding(
    folder: Path, count: int, opening: Callable[[], Storage], fresh_below: str = ""
) -> Iterator[tuple[BatchFeed, Tally]]:
    runs = (Run("true", str(folder / str(number))) for number in range(count))
    tally = Tally(total=count)
    records = Records(str(folder / ".sc/batch"), "w")
    errands = Errands(opening)
    try:
        feed = BatchFeed(runs, tally, opening(), errands, records, lambda *_: 1.0, fresh_below)
        yield feed, tally
    finally:
        errands.close()


def take(feed: BatchFeed, wanted: int = 1) -> Optional[Task]:
    """The next run, as soon as it is there."""
    limit = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < limit:
        task = feed.take(wanted)
        if task is not None or feed.is_over() or feed.is_stopping():
            return task
        feed.read_news()
    raise TimeoutError


def outcome(path: str, code: Optional[int] = 0, cause: str = "exit") -> Outcome:
    return Outcome(path, "0" * 16, code, cause, 1, "here", 0, 1.0, 2.0)


def test_an_errand_answers_with_what_its_function_returned(tmp_path: Path) -> None:
    for name in ("results/x", "status_code"):
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0")
    place = str(tmp_path / "a")
    errands = Errands(far)
    try:
        numbers = [errands.ask(find_previous, [one]) for one in (place, "")]
        answers: list[Answer] = []
        while len(answers) < 2:
            answers += errands.answers(LIMIT_SECONDS)
    finally:
        errands.close()
    assert answers[0] == Answer(numbers[0], "", {place: Previous(True, ("results/x",))})
    assert (answers[1].number, answers[1].result) == (numbers[1], None)
    assert answers[1].error


@pytest.mark.parametrize("opening", [near, far])
@pytest.mark.parametrize("wanted", [1, 7, 2 * CHUNK])
@pytest.mark.parametrize("count", [1, FIRST_CHUNK, FIRST_CHUNK + CHUNK + 7])
def test_every_run_is_handed_out_once_in_order(
    tmp_path: Path, opening: Callable[[], Storage], count: int, wanted: int
) -> None:
    with feeding(tmp_path, count, opening) as (feed, _):
        taken = []
        while (task := take(feed, wanted)) is not None:
            taken.append(Path(task.run.remote_output_path).name)
        assert taken == [str(number) for number in range(count)]
        assert feed.is_over()


def test_old_outputs_are_gone_before_their_run_is_handed_out(tmp_path: Path) -> None:
    for number in range(3):
        for name in ("status_code", "stdout", "results/a", "attempts/1/stdout", "notes"):
            path = tmp_path / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("0")
    with feeding(tmp_path, 3, far) as (feed, _):
        while (task := take(feed)) is not None:
            output = Path(task.run.remote_output_path)
            assert [path for path in output.rglob("*") if path.is_file()] == [output / "notes"]


@pytest.mark.parametrize("wanted", [1, 3])
def test_only_runs_for_which_there_is_a_slot_lose_their_old_codes(
    tmp_path: Path, wanted: int
) -> None:
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "status_code").write_text("0")
    with feeding(tmp_path, 10, far) as (feed, _):
        for started in range(1, wanted + 1):
            assert take(feed, wanted + 1 - started) is not None
            left = [path.parent.name for path in sorted(tmp_path.glob("*/status_code"))]
            assert left == [str(number) for number in range(wanted, 10)]


def test_a_run_whose_old_code_cannot_be_removed_is_not_started_nor_any_after_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/status_code").write_text("0")
    with feeding(tmp_path, 3, broken) as (feed, _):
        assert take(feed) is not None
        assert take(feed) is None
        assert feed.is_stopping()
        assert "s3:DeleteObject" in feed.trouble


def test_where_nothing_lies_yet_nothing_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0/status_code").write_text("0")
    with feeding(tmp_path, 3, broken, str(tmp_path)) as (feed, _):
        assert take(feed) is not None
        assert feed.trouble == ""
    with feeding(tmp_path, 3, broken, str(tmp_path / "elsewhere")) as (feed, _):
        assert take(feed) is None


def test_records_of_all_runs_are_stored_at_the_end(tmp_path: Path) -> None:
    with feeding(tmp_path, 3, far) as (feed, _):
        while (task := take(feed)) is not None:
            feed.ended(task, outcome(task.run.remote_output_path))
            feed.tick(NOW)
        feed.finish()
        (file,) = (tmp_path / ".sc/batch/records").iterdir()
        told = [
            Outcome.from_line(line).remote_output_path for line in file.read_text().splitlines()
        ]
        assert told == [str(tmp_path / str(number)) for number in range(3)]


def test_records_that_an_outage_kept_out_are_stored_after_it(tmp_path: Path) -> None:
    (tmp_path / "down").touch()
    with feeding(tmp_path, 2, moody) as (feed, _):
        for number in range(2):
            task = take(feed)
            assert task is not None
            feed.ended(task, outcome(task.run.remote_output_path))
            if number == 0:
                feed.tick(NOW)
        wait_until(partial(has_trouble, feed), "it is told")
        assert feed.records_trouble == "the storage gave no answer"
        (tmp_path / "down").unlink()
        feed.finish()
        assert feed.records_trouble == ""
        (file,) = (tmp_path / ".sc/batch/records").iterdir()
        assert len(file.read_text().splitlines()) == 2


def has_trouble(feed: BatchFeed) -> bool:
    feed.read_news()
    return bool(feed.records_trouble)


def test_records_are_not_waited_for_for_ever(tmp_path: Path) -> None:
    (tmp_path / "stuck").touch()
    with feeding(tmp_path, 1, moody) as (feed, _):
        task = take(feed)
        assert task is not None
        feed.ended(task, outcome(task.run.remote_output_path))
        feed.finish(0.1)
        assert feed.records_trouble == "there was no time to store them"
    assert multiprocessing.active_children() == []


def test_a_process_that_has_died_is_replaced_for_what_is_asked_next(tmp_path: Path) -> None:
    with feeding(tmp_path, 1, moody) as (feed, _):
        assert feed.take() is None
        wait_until(partial(has_news, feed), "the old code is gone")
        kill_the_other_process()
        feed.read_news()
        assert not has_news(feed), "a loop would turn without a pause"
        task = feed.take()
        assert task is not None
        feed.ended(task, outcome(task.run.remote_output_path))
        (tmp_path / "stuck").touch()
        feed.tick(NOW)
        kill_the_other_process()
        wait_until(partial(has_trouble, feed), "it is told that this was lost")
        assert "has died (-9)" in feed.records_trouble
        assert not has_news(feed)
        (tmp_path / "stuck").unlink()
        feed.finish()
        assert feed.records_trouble == ""
        assert list((tmp_path / ".sc/batch/records").iterdir())


def has_news(feed: BatchFeed) -> bool:
    return bool(select.select([feed.fileno()], [], [], 0)[0])


def kill_the_other_process() -> None:
    (process,) = multiprocessing.active_children()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_with_too_many_failures_nothing_more_is_started(tmp_path: Path) -> None:
    with feeding(tmp_path, 100, near) as (feed, tally):
        tally.limit = Limit(3)
        for _ in range(10):
            task = take(feed)
            assert task is not None
            feed.ended(task, outcome(task.run.remote_output_path, code=0))
        for _ in range(3):
            task = take(feed)
            assert task is not None
            feed.ended(task, outcome(task.run.remote_output_path, code=9))
        assert feed.take() is None
        assert feed.is_over()
        assert not feed.is_stopping(), "what goes on may end"
        assert (tally.failed, tally.not_run) == (3, 87)
        assert tally.exit_code(Ending(False, None, 0, "")) == 1
