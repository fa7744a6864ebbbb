"""A terminal with a person at it: tmux, on a server of its own."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.processes.conftest import wait_until


class Terminal:
    """A shell in a window of so many columns and lines. To be closed."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], width: int, height: int
    ) -> None:
        self._socket = f"sc-test-{uuid.uuid4().hex[:12]}"
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
        size = ("-x", str(width), "-y", str(height))
        shell = "env PS1='$ ' bash --norc --noprofile"
        self._tmux("-f", os.devnull, "new-session", "-d", *size, "-c", str(folder), shell)

    def type(self, *keys: str) -> None:
        """Keys by their names, or texts."""
        self._tmux("send-keys", *keys)

    def enter(self, line: str) -> None:
        """Type a line."""
        self.type("-l", line)
        self.type("Enter")

    def screen(self) -> str:
        """What is to be seen."""
        return self._tmux("capture-pane", "-p")

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def state(self, name: str) -> str:
        """A variable of tmux, as `alternate_on` and `cursor_flag`."""
        return self._tmux("display-message", "-p", f"#{{{name}}}").strip()

    def wait_for(self, *texts: str, seconds: float = 120.0) -> str:
        """The screen as soon as all the texts are on it."""
        try:
            return str(wait_until(lambda: self._seen(texts), f"{texts} on the screen", seconds))
        except AssertionError as error:
            raise AssertionError(f"{error}; there is:\n{self.screen()}") from error

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False)

    def _seen(self, texts: tuple[str, ...]) -> str:
        screen = self.screen()
        return screen if all(text in screen for text in texts) else ""

    def _tmux(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-u", "-L", self._socket, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
