"""What is shown of names and texts: on a terminal, in a page, to a shell."""

from __future__ import annotations

import html
import itertools
import json
import re
import shlex
import subprocess
import unicodedata

from sc.commands.output import Tame
from sc.fleets.bootstrap import JobFacts, user_data
from sc.grouping import fold
from sc.last_words import last_line
from sc.model import command_text
from sc.pages import markup
from sc.reports import Table, printable, table
from sc.screen import begin, columns, fit
from tests.fuzz.documents import refused, text_of

STEERING = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])
_SHELL_EVERY = 500
_MOST_SAMPLED = 2000
_calls = itertools.count()


def terminal(data: bytes) -> None:
    """Nothing that could steer a terminal, and no more columns than there are."""
    text = text_of(data)
    shown = printable(text)
    assert not [one for one in shown if unicodedata.category(one) in STEERING]
    shown.encode()
    for width in (1, 2, 7, 20):
        assert columns(fit(text, width)) <= width
        assert columns(begin(text, width)) <= width
    for line in table(["a", text], [[text, text]]) if Table("a") else ():
        line.encode("utf-8", "backslashreplace")
    folded = fold(last_line(data))
    assert "\n" not in folded
    assert fold(folded) == folded or len(folded) < 300


def output(data: bytes) -> None:
    """However it is cut, a terminal gets the same, and of what steers it only colours, lines and tabs."""
    cut = data[0] % 8 + 1 if data else 1
    whole, pieces = Tame(), Tame()
    shown = whole.text(data) + whole.end()
    parts = [pieces.text(data[at : at + cut]) for at in range(0, len(data), cut)]
    assert "".join([*parts, pieces.end()]) == shown
    rest = re.sub(r"\x1b\[[0-9;:]*m|[\n\t]", "", shown)
    assert not [one for one in rest if unicodedata.category(one) in STEERING]


def page(data: bytes) -> None:
    """Text stays text: no tag, no end of an attribute, no scheme of a link."""
    text = text_of(data)
    escaped = markup.text(text)
    assert not set(escaped) & set("<>\"'")
    assert html.unescape(escaped) == printable(text)
    assert re.fullmatch(r"[A-Za-z0-9_.~%/-]*", markup.href(text))
    block = markup.data_block("x", {"text": text})
    inside = block[block.index(">") + 1 : block.rindex("</script>")]
    assert not set(inside) & set("<>&")
    assert json.loads(inside) == {"text": text}


def shell(data: bytes) -> None:
    """Words that are quoted for a shell are read by it as they were; now and then it is asked."""
    words = tuple(text_of(data).replace("\0", "").split("\x01"))
    quoted = command_text(words)
    assert shlex.split(quoted) == list(words) or not all(words)
    if next(_calls) % _SHELL_EVERY == 0 and len(quoted) < _MOST_SAMPLED:
        script = f"printf '%s\\0' {quoted}".encode("utf-8", "surrogateescape")
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
        assert done.stdout == b"".join(
            word.encode("utf-8", "surrogateescape") + b"\0" for word in words
        )


def bootstrap(data: bytes) -> None:
    """Whatever a job is called, only one line of the script is about it, and that is JSON in a quoted document."""
    text = text_of(data)[:500]
    facts = JobFacts(text, text, text, text, text, text, text, text, {text: text})
    if refused(lambda: user_data(facts)):
        return  # it is too long for AWS
    script = user_data(facts).split("\n")
    plain = user_data(JobFacts("", "", "", "", "", "", "", "")).split("\n")
    changed = [one for one, other in zip(script, plain) if one != other]
    assert len(script) == len(plain)
    assert len(changed) <= 1
    for line in changed:
        assert line.isascii()
        assert json.loads(line)["job_url"] == text
