"""The real `sc`, as a test calls it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

LIMIT_SECONDS = 240


@dataclass(frozen=True)
class Program:
    """`words` start it; nothing of the caller's environment but PATH and HOME reaches it."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def surroundings(self, more: Optional[Mapping[str, str]] = None) -> dict[str, str]:
        """The whole environment of a call."""
        own = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return {
            **own,
            "LC_ALL": "C.UTF-8",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **self.environment,
            **(more or {}),
        }

    def run(
        self,
        *words: str,
        cwd: Path,
        environment: Optional[Mapping[str, str]] = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Call it and wait for its end."""
        return subprocess.run(
            [*self.words, *words],
            cwd=cwd,
            env=self.surroundings(environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )

    def start(
        self, *words: str, cwd: Path, environment: Optional[Mapping[str, str]] = None
    ) -> subprocess.Popen[str]:
        """Call it, in a session of its own, and go on; the caller ends it."""
        return subprocess.Popen(
            [*self.words, *words],
            cwd=cwd,
            env=self.surroundings(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
