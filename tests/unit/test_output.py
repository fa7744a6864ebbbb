"""What a run has printed reaches a terminal without steering it, however it comes in pieces."""

from __future__ import annotations

import pytest

from sc.commands.output import Tame


def tamed(*pieces: bytes) -> str:
    tame = Tame()
    return "".join([*map(tame.text, pieces), tame.end()])


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\tb\nc", "a\tb\nc"),
        ("é中😀".encode(), "é中😀"),
        (b"\x1b[1;31mred\x1b[0m\n", "\x1b[1;31mred\x1b[0m\n"),
        (b"\x1b[38:2::1:2:3mred\x1b[m", "\x1b[38:2::1:2:3mred\x1b[m"),
        (b"\x1b[31mred", "\x1b[31mred\x1b[0m"),
        (b"1 %\r2 %\r\n", "1 %\n2 %\n"),
        (b"hidden\rshown", "hidden\nshown"),
        (b"\r", "\n"),
        (b"\x1b[2J\x1b[H", "\\x1b[2J\\x1b[H"),
        (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        (b"\x1b]52;c;YQ==\x1b\\", "\\x1b]52;c;YQ==\\x1b\\"),
        (b"\x1b]8;;http://x\x1b\\", "\\x1b]8;;http://x\\x1b\\"),
        (b"\x1bP$q\x1b[6n\x1b[c", "\\x1bP$q\\x1b[6n\\x1b[c"),
        (b"\x1b[" + b"1;" * 30 + b"m", "\\x1b[" + "1;" * 30 + "m"),
        (b"\x1b", "\\x1b"),
        (b"\x1b[3", "\\x1b[3"),
        (b"ab\x08\x08\x7f\x00\x0b\x0c\x85", "ab\\x08\\x08\\x7f\\x00\\x0b\\x0c\ufffd"),
        ("\x9b31m\x85\u2028\u202e\u200b".encode(), "\\x9b31m\\x85\\u2028\\u202e\\u200b"),
        (b"\xff\xe4\xb8", "\ufffd\ufffd"),
    ],
)
def test_colours_pass_and_nothing_else(data: bytes, shown: str) -> None:
    assert tamed(data) == shown
    for cut in range(1, len(data)):
        assert tamed(data[:cut], data[cut:]) == shown
    assert tamed(*(data[at : at + 1] for at in range(len(data)))) == shown
