"""Records grow in few files, and none is lost."""

from __future__ import annotations

from sc.model import Outcome
from sc.records import LINES, PAUSE_SECONDS, Records


def outcome(number: int) -> Outcome:
    return Outcome(f"/out/{number}", "0" * 16, 0, "exit", 1, "here", 0, 1.0, 2.0)


def read(data: bytes) -> list[str]:
    return [Outcome.from_line(line).remote_output_path for line in data.decode().splitlines()]


def test_a_file_grows_until_it_is_full() -> None:
    records = Records("/out/.sc/job", "w1")
    assert records.due(0) is None
    records.add(outcome(0))
    first = records.due(0)
    assert first is not None
    assert first[0] == "/out/.sc/job/records/w1-0.jsonl"
    records.add(outcome(1))
    assert records.due(PAUSE_SECONDS - 1) is None
    second = records.due(PAUSE_SECONDS)
    assert second is not None
    assert (second[0], read(second[1])) == (first[0], ["/out/0", "/out/1"])
    assert records.due(2 * PAUSE_SECONDS) is None


def test_a_large_file_is_stored_less_often() -> None:
    records = Records("/out/.sc/job", "w1")
    for number in range(LINES // 2):
        records.add(outcome(number))
    assert records.due(0) is not None
    records.add(outcome(-1))
    assert records.due(PAUSE_SECONDS) is None
    assert records.due(PAUSE_SECONDS * LINES / 2 / 2000) is not None


def test_many_at_once_are_cut_into_full_files() -> None:
    records = Records("/out/.sc/job", "w1")
    stored: dict[str, bytes] = {}
    for number in range(2 * LINES + 5):
        records.add(outcome(number))
        if number % 700 == 0:
            while (due := records.due(0)) is not None:
                stored.update([due])
    while (due := records.due(0, at_once=True)) is not None:
        stored.update([due])
    assert sorted(stored) == [f"/out/.sc/job/records/w1-{n}.jsonl" for n in range(3)]
    told = [path for _, data in sorted(stored.items()) for path in read(data)]
    assert told == [f"/out/{n}" for n in range(2 * LINES + 5)]


def test_a_record_is_read_as_it_was_written() -> None:
    ended = Outcome("s3://b/x", "0" * 16, 3, "exit", 1, "m", 0, 1.5, 2.5, "r", "e")
    never = ended._replace(code=126, cause="not-started", rank=-1)
    for one in (ended, never, ended._replace(code=None, cause="lost")):
        assert Outcome.from_line(one.to_line()) == one
