"""Which runs count as ended: a code whose command has changed since does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest

from sc.codes import CHANGED, NONE
from sc.errors import StorageError
from sc.model import Batch, Given, Outcome, Run, command_hash, identities, identity
from sc.records import Records
from sc.splitting import Standing
from sc.standing import Commands, read_commands, read_standings
from sc.storage import open_storage


def batch(folder: Path, *commands: str) -> Batch:
    runs = [Run(command, str(folder / str(n))) for n, command in enumerate(commands)]
    return Batch(str(folder), runs)


def record(run: Run, code: Optional[int], ended: float) -> Outcome:
    cause = "exit" if code is not None else "lost"
    return Outcome(run.remote_output_path, command_hash(run), code, cause, 1, "here", 0, 1.0, ended)


def store(folder: Path, job: str, *outcomes: Outcome) -> None:
    records = Records(str(folder / ".sc" / job), "w")
    for outcome in outcomes:
        records.add(outcome)
    while (due := records.due(time.monotonic(), at_once=True)) is not None:
        open_storage({}).put(*due)


def end(run: Run, code: str) -> None:
    Path(run.remote_output_path).mkdir(parents=True)
    (Path(run.remote_output_path) / "status_code").write_text(code)


def standings_of(batch: Batch) -> Callable[[Run], Standing]:
    storage = open_storage({})
    return read_standings(storage, batch)[1]


def test_a_run_whose_command_changed_is_not_completed(tmp_path: Path) -> None:
    before = batch(tmp_path, "a", "b", "c")
    first, second, _ = before.runs
    end(first, "0")
    end(second, "3")
    store(tmp_path, "job", record(first, 0, 5.0), record(second, 3, 6.0))
    after = batch(tmp_path, "a", "changed", "c")
    standing = standings_of(after)
    assert [standing(run) for run in after.runs] == [
        Standing(0, False),
        Standing(3, True),
        Standing(None),
    ]


def test_of_several_jobs_the_last_record_counts(tmp_path: Path) -> None:
    old, new = batch(tmp_path, "old"), batch(tmp_path, "new")
    (old_run,), (new_run,) = old.runs, new.runs
    end(new_run, "0")
    store(tmp_path, "a", record(new_run, 0, 20.0))
    store(tmp_path, "b", record(old_run, 0, 10.0))
    assert standings_of(new)(new_run) == Standing(0, False)
    assert standings_of(old)(old_run) == Standing(0, True)


def test_a_code_that_no_record_tells_of_is_believed(tmp_path: Path) -> None:
    (run,) = batch(tmp_path, "now").runs
    (other,) = batch(tmp_path, "before").runs
    end(run, "0")
    store(tmp_path, "job", record(other, 7, 10.0), record(other, None, 11.0))
    assert standings_of(batch(tmp_path, "now"))(run) == Standing(0, False)


NO_RECORDS = [
    *("", "nonsense", "[]", "7", "{}", '{"code": 0}', '{"code": "0", "ended": 1}', "[" * 50_000),
    '{"code": 0, "ended": 1, "command_hash": "xyz", "remote_output_path": "/a"}',
    '{"code": 0, "ended": 1, "command_hash": "0", "remote_output_path": "/a"}',
    '{"code": 999, "ended": 1, "command_hash": "0", "remote_output_path": "/a"}',
]


@pytest.mark.parametrize("number", range(len(NO_RECORDS)))
def test_lines_that_are_no_records_are_passed_over(number: int) -> None:
    commands = Commands([Run("now", "/a")])
    commands.add(NO_RECORDS[number])
    assert commands.last("/a") is None


def test_a_run_is_expected_to_take_what_it_took_when_it_completed_last(tmp_path: Path) -> None:
    one = batch(tmp_path, "a", "b", "c", "d")
    first, second, third, fourth = one.runs
    store(tmp_path, "old", record(first, 0, 8.0), record(second, 0, 90.0))
    store(tmp_path, "new", record(first, 0, 21.0), record(second, 1, 92.0))
    commands = read_commands(open_storage({}), one)
    told = fourth._replace(expected_time=4.0)
    assert [commands.seconds(run) for run in (first, second, third, told)] == [20.0, None, None, 4]


def test_a_clock_that_was_set_back_is_no_time(tmp_path: Path) -> None:
    one = batch(tmp_path, "a")
    (run,) = one.runs
    store(tmp_path, "job", record(run, 0, -50.0))
    assert read_commands(open_storage({}), one).seconds(run) == 0.0


def test_only_runs_of_the_batch_are_kept() -> None:
    """The records of years of jobs are no heavier than the batch."""
    commands = Commands([Run("now", "/a")])
    for number in range(3):
        run = Run(f"command {number}", "/a" if number == 1 else f"/b/{number}")
        commands.add(record(run, 0, 5.0).to_line())
    assert commands.last("/b/0") is None
    assert commands.last("/a") is not None
    assert not commands.is_another(Run("command 1", "/a"))
    assert commands.is_another(Run("command 2", "/a"))


def test_who_finds_that_codes_cannot_be_read_waits_for_no_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for those that are on their way."""

    def fail(*given: object) -> None:
        raise StorageError("no")

    monkeypatch.setattr("sc.standing.read_codes", fail)
    asked: list[str] = []
    more = (f"{tmp_path}/{number}.jsonl" for number in range(10**9))
    monkeypatch.setattr("sc.standing._records", lambda *given: more)

    def get(storage: object, place: str) -> bytes:
        asked.append(place)
        return b""

    monkeypatch.setattr("sc.standing._get", get)
    with pytest.raises(StorageError):
        read_standings(open_storage({}), batch(tmp_path, "a"))
    assert len(asked) < 10**6


def test_judge_compares_with_what_the_recipe_gives_only_where_one_is_known() -> None:
    run, recipe = Run("now", "/a"), Given({"A": "1"}, "src")
    whole, own = identities(run, recipe)
    line = record(run, 0, 5.0)._replace(identity=whole, own_identity=own).to_line()
    for given, code in (
        (None, 0),
        (recipe, 0),
        (Given(), CHANGED),
        (Given({"A": "2"}, "src"), CHANGED),
    ):
        commands = Commands([run], given)
        commands.add(line)
        assert commands.judge(run, 0).code == code
        assert commands.judge(run, 1).code == 1
        assert commands.judge(run._replace(cmd="other"), 0).code == CHANGED
        assert commands.judge(run._replace(cmd="other"), None).code == NONE


def test_identity_goes_by_what_the_files_say() -> None:
    run = Run("now", "/a", env={"A": "1"})
    assert identity(run) == command_hash(run)
    assert identity(Run("now", "/b"), Given({"A": "1"})) == identity(run)
    assert identity(run, Given({"A": "2"}, "./")) == identity(run)
    below = run._replace(working_directory="b/")
    assert identity(below, Given({}, "./a")) == identity(run._replace(working_directory="a//b"))
    others = [run, below, run._replace(gpus=1.0), run._replace(cmd=("now",)), run._replace(env={})]
    assert len({identity(one) for one in others}) == len(others)
    late = run._replace(timeout=1.0, retries=3, expected_time=2.0, local_results_dir="x")
    assert identity(late) == identity(run)
