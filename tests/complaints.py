"""What is told of a file that is no batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sc.documents import read_batch
from sc.errors import ExitCode, InputError


def problems(tmp_path: Path, name: str, content: object, **options: Any) -> list[str]:
    """What is wrong with a file of this content, without the folder in which it lies."""
    if not isinstance(content, (str, bytes)):
        content = json.dumps(content)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_batch(str(tmp_path / name), **options)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]
