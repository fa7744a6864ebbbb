"""Names and texts meant for the shell, the terminal and the page: the real sc.pyz shows them, and obeys none of them.

What goes wrong here would leave a file `pwned` somewhere, or steer the terminal of whoever reads.
"""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import time
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.browser import PROGRAM, browser
from tests.e2e.program import LIMIT_SECONDS, Program

SHELL = "$(touch pwned)`touch pwned`';\"touch pwned;\\"
STEERING = "\x1b[2J\x1b]0;t\x07\x1b]52;c;YQ==\x07\x1b]8;;http://x\x07\x9b31m\r\n\b\x7f\u202e\u2028\u200b\x85"
SHOWN = (
    "\\x1b[2J\\x1b]0;t\\x07\\x1b]52;c;YQ==\\x07\\x1b]8;;http://x\\x07\\x9b31m"
    "\\r\\n\\x08\\x7f\\u202e\\u2028\\u200b\\x85"
)
MARKUP = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=2><!-- ]]> \"'"
FOLDER = f"a {SHELL}é中\u202e"
PRINTS = "printf 'out \\033[2J\\n'; printf 'err \\033[31mred\\033[0m \\033]52;c;YQ==\\007\\rhides\\n' >&2; exit 3"


class Said(NamedTuple):
    code: int
    out: bytes
    err: bytes


class House:
    """A folder with a job that has ended, in which somebody has written since."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.folder = program, folder
        runs = [
            {
                "cmd": f"{PRINTS} # {STEERING}",
                "remote_output_path": f"{SHELL.replace('/', '')}\u202e",
            },
            {"cmd": ["printf", "%s", f"{SHELL}{STEERING}"], "remote_output_path": "-rf"},
            {
                "cmd": f"echo '{MARKUP[:-1]}' >&2; exit 4",
                "remote_output_path": "javascript:alert(1)",
            },
            {
                "cmd": 'test "$X" = "$(cat x)"',
                "remote_output_path": f"m/{MARKUP}",
                "env": {"X": SHELL},
            },
        ]
        (folder / "x").write_text(SHELL)
        batch = {"remote_output_path": "out", "nprocs": 1, "runs": runs}
        (folder / "batch.json").write_text(json.dumps(batch))
        (folder / "recipe.yaml").write_text(
            "type: job\nspec: {name: trial, instance_type: local, scale: 1}\n"
        )
        self.job = folder / "out/.sc/trial"

    def say(self, *words: str) -> Said:
        done = subprocess.run(
            [*self.program.words, *words],
            cwd=self.folder,
            env=self.program.surroundings(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_SECONDS,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def at_a_terminal(self, *words: str) -> str:
        """All that is written to it, with its own ends of lines."""
        ours, theirs = pty.openpty()
        running = subprocess.Popen(
            [*self.program.words, *words],
            cwd=self.folder,
            env=self.program.surroundings({"TERM": "xterm", "COLUMNS": "200"}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        seen = b""
        limit = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < limit:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:  # the other side is closed
                    break
        os.close(ours)
        running.wait(LIMIT_SECONDS)
        return seen.decode().replace("\r\r\n", "\n").replace("\r\n", "\n")

    def write_as_a_stranger(self) -> None:
        """A worker that never was, with all that a worker may tell of itself."""
        name = f"evil{SHELL}{STEERING}".replace("/", "")
        text = f"{SHELL}{STEERING}{MARKUP}"
        (path,) = (self.job / "workers").iterdir()
        beat = json.loads(path.read_text())
        group = {"count": 9, "text": text, "example": text}
        texts = dict.fromkeys(("machine", "kind", "error", "version", "python"), text)
        beat.update(texts, worker=name, state="left", errors=[group])
        (self.job / "workers" / f"{name}.json").write_text(json.dumps(beat))
        (self.job / "glances" / f"{name}.left.1.1.1.0.0.4.100.5").touch()
        (self.job / "logs" / name).write_bytes(text.encode())
        (self.job / "stop").write_text(json.dumps({"reason": text, "lets_end": True}))
        (path,) = (self.job / "records").iterdir()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        more = [{**line, "machine": text, "error_line": text, "reason": text} for line in lines]
        path.with_name(f"{name}-0.jsonl").write_text("\n".join(map(json.dumps, more)))


@pytest.fixture(scope="module")
def house(program: Program, tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("hostile") / FOLDER
    folder.mkdir()
    made = House(program, folder)
    words = ["--start", "--wait", "--on-end", 'printf %s "$SC_JOB" > on-end']
    said = made.say("split", "recipe.yaml", "batch.json", "cmds", *words)
    assert said.code == 1, said.err.decode()
    check(said)
    made.write_as_a_stranger()
    return made


def steering(text: str) -> list[str]:
    """Characters that do more on a terminal than to be seen."""
    kinds = ("Cc", "Cf", "Zl", "Zp", "Cs")
    return [one for one in text if one != "\n" and unicodedata.category(one) in kinds]


def check(said: Said) -> None:
    assert steering(said.out.decode()) == []
    assert steering(said.err.decode()) == []


def test_commands_and_environments_arrive_as_they_were(house: House) -> None:
    assert (house.folder / "out/-rf/stdout").read_bytes() == f"{SHELL}{STEERING}".encode()
    assert (house.folder / "out/m" / MARKUP / "status_code").read_text() == "0"
    assert (house.folder / "on-end").read_text() == str(house.job)
    for word in ("report", "ps"):
        house.say(word, "batch.json")
    left = [path for path in house.folder.parent.rglob("*") if path.name == "pwned"]
    assert left == []
    assert not Path("pwned").exists()


def test_a_summary_is_a_line_for_each_run(house: House) -> None:
    said = house.say("summarize-batch", "batch.json", "--status", "failed")
    check(said)
    lines = said.out.decode().splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [["failed", "3"], ["failed", "4"]]
    assert lines[2].rstrip().endswith(f"{PRINTS} # {SHOWN}")
    assert said.err == b"sc: 4 runs: 2 failed, 2 completed\n"
    shown = json.loads(house.say("summarize-batch", "batch.json", "--json").out)
    assert shown["runs"][0]["cmd"] == f"{PRINTS} # {STEERING}"


def test_the_end_of_a_job_is_told_without_being_steered(house: House) -> None:
    said = house.say("watch", "cmds")
    check(said)
    told = f"{SHELL}{SHOWN}{MARKUP}"
    lines = said.err.decode().splitlines()
    assert lines[0] == f"sc: evil{SHELL}{SHOWN.replace('/', '')}: {told}"
    assert f"sc: {told}" in lines
    assert any(line == f"sc:   9 x {told} ({told})" for line in lines)
    assert all(line.startswith("sc: ") for line in lines)
    (line,) = house.say("watch", "cmds", "--json").out.splitlines()
    assert json.loads(line)["stopped"] == f"{SHELL}{STEERING}{MARKUP}"


def test_a_screen_is_drawn_by_nobody_else(house: House) -> None:
    seen = house.at_a_terminal("watch", "cmds")
    for ours in ("\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H", "\x1b[K", "\x1b[J"):
        seen = seen.replace(ours, "")
    for number in (0, 1, 2, 31, 32):
        seen = seen.replace(f"\x1b[{number}m", "")
    assert "evil" in seen
    assert steering(seen) == []


def test_a_file_gets_what_a_run_has_printed_and_a_terminal_only_its_colours(house: House) -> None:
    raw = b"err \x1b[31mred\x1b[0m \x1b]52;c;YQ==\x07\rhides\n"
    shown = "err \x1b[31mred\x1b[0m \\x1b]52;c;YQ==\\x07\nhides\n"
    assert house.say("logs", "batch.json", "0", "--stderr") == Said(0, raw, b"")
    assert house.say("logs", "batch.json", "0", "--stderr", "-f").out == raw
    assert house.at_a_terminal("logs", "batch.json", "0", "--stderr") == shown
    assert house.at_a_terminal("logs", "batch.json", "0", "--stderr", "-f").startswith(shown)
    worker = house.say("logs", "cmds", "--worker", "evil")
    assert worker == Said(0, f"{SHELL}{STEERING}{MARKUP}".encode(), b"")
    assert steering(house.at_a_terminal("logs", "cmds", "--worker", "evil")) == []


def test_attempts_have_numbers_and_no_other_names(house: House) -> None:
    for name in ("²", SHELL, "-1", "1e9"):
        kept = house.folder / "out/javascript:alert(1)/attempts" / name
        kept.mkdir(parents=True)
        (kept / "stdout").touch()
    said = house.say("logs", "batch.json", "2", "--attempt", "1", "--stderr")
    assert said == Said(0, f"{MARKUP[:-1]}\n".encode(), b"")
    said = house.say("logs", "batch.json", "2", "--attempt", "2")
    assert said.err.endswith(b"alert(1): it was tried once\n")


def test_a_batch_and_a_rerun_talk_in_lines_of_ours(house: House) -> None:
    said = house.say("batch", "batch.json", "--remote-output-path", "again")
    check(said)
    told = said.err.decode().splitlines()
    path = f"{house.folder}/again/{SHELL}\u202e".replace("\u202e", "\\u202e")
    assert f"sc:   {path}: exit code 3" in told
    assert all(line.startswith("sc: ") for line in told)
    said = house.say("rerun", "batch.json", "1")
    assert said.out == f"{SHELL}{STEERING}".encode()  # it is the run of whoever asks for it
    check(said._replace(out=b""))
    assert all(line.startswith("sc: ") for line in said.err.decode().splitlines())


def test_failures_are_told_in_lines_of_ours(house: House) -> None:
    said = house.say("logs", "batch.json", "--failed")
    check(said)
    lines = said.out.decode().splitlines()
    assert "    | err \\x1b[31mred\\x1b[0m \\x1b]52;c;YQ==\\x07" in lines
    assert {line[:4] for line in lines} == {"1 ru", "    "}
    check(house.say("ps"))
    check(house.say("pull", "batch.json", f"pulled{STEERING.replace('/', '')}"))


WORDS = f"name; rm -rf {SHELL}{STEERING}".replace("/", "")
TOLD = f"name; rm -rf {SHELL}{SHOWN}".replace("/", "")
SENTENCES = [
    ((WORDS,), f"sc: there is no command {WORDS!r} ('sc --help' lists them)"),
    (("batch", WORDS), f"sc: {TOLD}: there is no such file."),
    (("split", WORDS, "batch.json"), f"sc: {TOLD}: there is no such file."),
    (
        ("batch", "batch.json", f"--{WORDS}"),
        f"sc: batch: there is no option --{TOLD.split('=')[0]} ('sc batch --help' lists them)",
    ),
    (
        ("completion", WORDS),
        f"sc: completion: shell: invalid choice: {WORDS!r} (choose from",
    ),
    (("logs", "cmds", "--worker", WORDS), f"sc: there is no worker {WORDS!r}: there are evil"),
    (
        ("split", "recipe.yaml", "batch.json", "--name", WORDS),
        f"sc: recipe.yaml: spec.name: {WORDS[:60]!r}… is no name of a job: it takes 1 to 63",
    ),
    (("stop", WORDS), f"sc: There is no file or folder '{TOLD}'; as the name of a job:"),
    (("watch", WORDS), f"sc: There is no file or folder '{TOLD}'; as the name of a job:"),
]


@pytest.mark.parametrize(
    ("words", "sentence"), SENTENCES, ids=[words[0][:9] for words, _ in SENTENCES]
)
def test_a_sentence_about_a_name_stays_one_line(
    house: House, words: tuple[str, ...], sentence: str
) -> None:
    said = house.say(*words)
    assert (said.code, said.out) == (2, b"")
    check(said)
    assert said.err.decode().splitlines()[0].startswith(sentence)
    assert all(line.startswith("sc: ") for line in said.err.decode().splitlines())


def test_completion_looks_at_names_and_runs_none(house: House, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    name = "$(touch pwned)`touch pwned`;x"
    (tmp_path / name).touch()
    script = house.say("completion", "bash").out.decode()
    ask = 'COMP_WORDS=(sc batch "$1"); COMP_CWORD=2; _sc; printf "%s\\n" "${COMPREPLY[@]}"'
    for word in ("$(", name, "$(touch pwned)", "--$(touch pwned)"):
        done = subprocess.run(
            [bash, "-c", f"{script}\n{ask}", "bash", word],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() in (name, ""), done.stderr
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")
def test_a_report_runs_no_script_but_its_own(house: House, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    said = house.say("report", "batch.json", "-o", str(report))
    assert said.code == 0
    check(said)
    with browser(tmp_path) as chromium:
        opened = chromium.open(report, 1280)
        assert opened.evaluate(
            "new Promise((ready) => { const look = () => document.body.dataset.ready ? ready(true) : "
            "setTimeout(look, 20); look(); })"
        )
        assert opened.evaluate("typeof window.pwned") == "undefined"
        assert opened.evaluate("document.querySelectorAll('img, iframe, object, base').length") == 0
        assert opened.evaluate("document.querySelectorAll('script').length") == 3
        links = opened.evaluate("[...document.querySelectorAll('a')].map((a) => a.protocol)")
        assert set(links) == {"file:"}
        assert opened.evaluate("document.body.innerText.includes('<script>window.pwned=1')")
        assert opened.problems == []
