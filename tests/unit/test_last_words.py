"""Which line of an output tells why a run failed, and that progress bars do not tell failures apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sc.grouping import fold, kind_of
from sc.last_words import BAR, is_progress, last_line, visible
from sc.model import Outcome

BARS = {
    "tqdm": [
        "  0%|          | 0/10 [00:00<?, ?it/s]",
        " 70%|███████   | 7/10 [00:01<00:00,  9.87it/s]",
        "100%|██████████| 10/10 [01:02:03<00:00,  1.02s/it, loss=0.31]",
        " 45%|####5     | 45/100 [00:01<00:01, 40.0it/s]",
        "100%|█▏| 12.3M/12.3M [00:01<00:00, 8.91MB/s]",
    ],
    "tqdm without an end": [
        "0it [00:00, ?it/s]",
        "123it [00:01, 98.7it/s]",
        "5.2kB [00:01, 4.1kB/s]",
    ],
    "pip": [
        "━━━━━━━━━━━━━━━╸━━━━━━━━ 1.2/3.4 MB 5.6 MB/s eta 0:00:01",
        "━━━━━━━━━━━━━━━━━━━━━━━━ 3.4/3.4 MB 900.1 kB/s eta 0:00:00",
    ],
    "keras": [
        "10/100 [==>...........................] - ETA: 5s",
        "100/100 [==============================] - 12s 3ms/step",
    ],
    "wget": ["45% [========>          ] 1,234,567   1.20MB/s  eta 3s", "[>                  ] 0"],
    "curl": ["##                 3.1%", "######################## 100.0%"],
    "blocks": ["▕██████▏ 60%", "[■■■■□□□□] 40%", "▓▓▓▓░░░░░░ 4/10"],
    "braille": ["⣿⣿⣿⣀⣀⣀ 30%", "⠋", "⠙"],
    "colours": ["\x1b[32m 50%\x1b[0m|█████     | 5/10 [00:01<00:01,  4.9it/s]\x1b[K"],
    "carriage returns": ["  0%|   | 0/9 [00:00<?, ?it/s]\r 50%|█  | 4/9 [00:01<00:01, 3.9it/s]\r"],
}
FLAT = [bar for bars in BARS.values() for bar in bars]


@pytest.mark.parametrize("name", BARS)
def test_fold_of_lines_that_differ_in_a_bar_is_the_same(name: str) -> None:
    plain = BARS[name]
    assert len({fold(f"Epoch 3: {visible(bar)}") for bar in plain}) == 1
    assert len({fold(f"ValueError: bad row at {visible(bar)}") for bar in plain}) == 1


@pytest.mark.parametrize("bar", FLAT)
def test_last_line_before_a_bar_is_the_error(bar: str) -> None:
    printed = f"Traceback (most recent call last):\nKeyError: 'x'\n{bar}\n"
    assert last_line(printed.encode()) == "KeyError: 'x'"
    assert last_line(f"KeyError: 'x'\r\n{bar}\r\n\n".encode()) == "KeyError: 'x'"


@pytest.mark.parametrize("bar", FLAT)
def test_last_line_of_bars_alone_is_the_last_and_its_kind_how_the_run_ended(bar: str) -> None:
    line = last_line(f"{bar}\n".encode())
    assert line
    assert "\r" not in line
    assert "\x1b" not in line
    ended = Outcome("/out/1", "0" * 16, 3, "exit", 1, "m", 0, 1.0, 2.0, "", line)
    assert kind_of(ended) in ("exit code 3", BAR) or not any(map(str.isalnum, line))


@pytest.mark.parametrize(
    "line",
    [
        "KeyError: 'user-17'",
        "Error at 50%|█████     | 5/10: no such row",
        "disk 100% full",
        "[1/2] compiling a.c",
        "│ Missing argument 'FILE'. │",
        "- item",
        "FAILED (failures=1)",
        "assert 1 == 2",
        "expected a|b|c, found 3",
        "usage: x [-h] [--flag]",
        "loss is nan after 3 steps",
        "step 4 of 9: assertion on x",
        "====== 1 failed in 0.12s ======",
        "Killed",
    ],
)
def test_line_that_tells_more_than_progress_is_kept(line: str) -> None:
    assert not is_progress(line)
    assert last_line(f"before\n{line}\n".encode()) == line


@pytest.mark.parametrize(
    "line",
    [
        "100%",
        " 45 % (450/1000)",
        "10/100",
        "Progress: 45%",
        "Downloading: 12.5%",
        "remote: Counting objects: 100% (5/5), done.",
        "Receiving objects:  45% (450/1000), 1.2 MiB | 300 KiB/s",
        "\\",
        "|",
        "=====================",
        "╰────────────────╯",
        "          ^^^^^^^^^^^",
    ],
)
def test_line_that_tells_of_progress_is_passed_over(line: str) -> None:
    assert last_line(f"OSError: no\n{line}\n".encode()) == "OSError: no"


def test_visible_is_what_a_terminal_shows() -> None:
    assert visible("one\rtwo\rthree\r\n") == "three"
    assert visible("bar\r     \r") == ""
    assert visible("\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x1b[K") == "red text"
    assert visible("|\b/\b-\b\\\bdone") == "done"
    assert visible("a\b\b\bb") == "b"


def test_fold_takes_no_notice_of_units_and_widths() -> None:
    assert fold("took 3.2s") == fold("took 480ms") == fold("took 12 s")
    assert fold("read 3.2 MB") == fold("read 480 kB")
    assert fold("==== 1 failed in 0.1s ====") == fold("======= 2 failed in 3.0s =======")


@given(st.text(max_size=400))
def test_fold_is_the_same_a_second_time_and_short(text: str) -> None:
    assert last_line(text.encode("utf-8", "surrogatepass")) is not None
    once = fold(text)
    assert "\x1b" not in once
    assert fold(once) == once or len(once) > 250 or not once.isascii()


@given(
    st.integers(0, 100),
    st.integers(0, 10**9),
    st.floats(0, 1e6),
    st.sampled_from(["it/s", "s/it", "B/s"]),
)
def test_fold_of_tqdm_is_one_kind_whatever_its_numbers(
    percent: int, count: int, rate: float, unit: str
) -> None:
    blocks = "█" * (percent // 10) + "▍" * (0 < percent < 100)
    bar = f"{percent:3}%|{blocks:10}| {count}/{10**9} [00:{percent % 60:02}<1:02:03, {rate:5.2f}{unit}]"
    assert fold(f"train: {bar}") == f"train: {BAR}"
    assert is_progress(bar)


def test_hostile_lines_are_quick() -> None:
    for piece in ("|", "[=", "1/", "█ ", "9:", "# ", "%|", "1 of ", "\b", "\x1b[", "0it ["):
        assert last_line((piece * 20_000).encode()) is not None
        fold(piece * 20_000)
