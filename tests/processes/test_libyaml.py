"""The machine's libyaml is used, although the program brings a PyYAML without it, and does without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

LOOK = """
import yaml
from sc.documents.yaml_text import read_yaml, yaml_parser
assert not yaml.__with_libyaml__
print(yaml_parser().__name__, read_yaml(iter(["a: [1, 0.10]"])))
"""


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """PyYAML as in `sc.pyz`, without its compiled part."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(os.path.dirname(yaml.__file__), tmp_path / "ours/yaml", ignore=ignored)
    return tmp_path / "ours"


def parser_with(checkout: Path, *search_path: Path) -> str:
    """What a Python with this path, and nothing else installed, reads YAML with."""
    environ = {"PYTHONPATH": os.pathsep.join(map(str, [checkout, *search_path]))}
    command = [sys.executable, "-S", "-W", "error", "-c", LOOK]
    return subprocess.check_output(command, env=environ, text=True).strip()


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="this machine has no libyaml")
def test_the_compiled_part_of_the_machine_is_found(ours: Path, checkout: Path) -> None:
    machines = Path(yaml.__file__).parent.parent
    assert parser_with(checkout, ours, machines) == "CParser {'a': ['1', '0.10']}"


def test_a_machine_without_it(ours: Path, checkout: Path) -> None:
    assert parser_with(checkout, ours) == "PythonParser {'a': ['1', '0.10']}"


def test_one_that_was_built_for_something_else(ours: Path, checkout: Path, tmp_path: Path) -> None:
    package = tmp_path / "other/yaml"
    package.mkdir(parents=True)
    (package / "_yaml.abi3.so").write_bytes(b"\x7fELF for another machine")
    assert parser_with(checkout, ours, tmp_path / "other").startswith("PythonParser ")
