"""A person at a terminal, who answers one kind of question."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.e2e.program import LIMIT_SECONDS, Program


class Seat:
    """A command on a terminal of its own. `answers` is what is typed at each occurrence of `question`."""

    def __init__(
        self,
        program: Program,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        question: str = "Enter MFA code for",
        answers: Sequence[str] = (),
    ) -> None:
        self._main, terminal = pty.openpty()
        self._question, self._answers = question, list(answers)
        self._answered = 0
        self._is_over = False
        self.text = ""

        def sit() -> None:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*program.words, *words],
            cwd=folder,
            env={**program.surroundings(environment), "TERM": "xterm"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=sit,  # noqa: PLW1509 - this process has no threads that hold a lock
        )
        os.close(terminal)

    @property
    def questions(self) -> int:
        """How often it was asked so far."""
        return self.text.count(self._question)

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def read_until(self, condition: Callable[[], bool], what: str) -> None:
        """Go on until it holds, and answer what is asked meanwhile."""
        end = time.monotonic() + LIMIT_SECONDS
        while not condition():
            assert time.monotonic() < end, f"{what}; there is:\n{self.text}"
            assert not self._is_over, f"{what}; there is:\n{self.text}"
            self._read()
            while self._answered < self.questions and self._answers:
                self._answered += 1
                self.type(self._answers.pop(0))

    def end(self) -> int:
        """Its exit code, when it has come to its end."""
        self.read_until(lambda: self._is_over, "the end of what it says")
        return self.process.wait(LIMIT_SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._main)

    def _read(self) -> None:
        if not select.select([self._main], [], [], 0.2)[0]:
            return
        try:
            data = os.read(self._main, 65536)
        except OSError:  # nobody is left on the terminal
            data = b""
        self._is_over = not data
        self.text += data.decode("utf-8", "replace")
