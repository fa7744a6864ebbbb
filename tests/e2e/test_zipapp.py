"""sc.pyz as a file: small, the same each time, for every Python, and ready after any first start."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

import pytest

from sc import __version__
from tests.machines import Machine, machine
from tests.pythons import OLDEST, pythons

FOUND = {
    f"{found[0]}.{found[1]}": program for found, program in pythons().items() if found >= OLDEST
}
TOO_OLD = [program for found, program in pythons().items() if found < OLDEST]
TOLD = f"sc {__version__}\n"


def run(
    *words: object, env: Optional[Mapping[str, str]] = None, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run Python with no environment but PATH and `env`."""
    return subprocess.run(
        [python, *map(str, words)],
        env={"PATH": os.environ["PATH"], **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def imported(*words: object, env: Mapping[str, str]) -> set[str]:
    """The modules that a start of sc imports, of whatever depth."""
    told = run("-X", "importtime", *words, env=env)
    assert told.returncode == 0, told.stderr
    lines = [line for line in told.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


# What it is


def test_it_is_small_and_has_no_compiled_part(pyz: Path) -> None:
    with zipfile.ZipFile(pyz) as packed:
        endings = {Path(name).suffix for name in packed.namelist()}
    assert pyz.stat().st_size <= 4_000_000
    assert endings & {".so", ".pyd", ".pyc", ".dylib", ".dll"} == set()


def test_it_is_the_same_wherever_and_whenever_it_is_built(
    pyz: Path, checkout: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "a'; echo foo"
    copy.mkdir()
    for name in ("build.sh", "pyz", "requirements", "sc"):
        (shutil.copytree if (checkout / name).is_dir() else shutil.copy)(
            checkout / name, copy / name
        )
    (copy / ".build").symlink_to(
        checkout / ".build"
    )  # what is installed, so as not to install it again
    for path in copy.rglob("sc/*.py"):
        os.utime(path, (0, 10**9))
        path.chmod(0o600)
    strange = {
        "TZ": "Asia/Kolkata",
        "PYTHONHASHSEED": "7",
        "LC_ALL": "C",
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    done = subprocess.run(
        ["sh", "-c", "umask 077; exec ./build.sh"],
        cwd=copy,
        env={"PATH": os.environ["PATH"], **strange},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert (copy / "dist" / "sc.pyz").read_bytes() == pyz.read_bytes()


def test_it_carries_every_service_that_sc_asks_for(
    pyz: Path, checkout: Path, tmp_path: Path
) -> None:
    trees = [ast.parse(path.read_text()) for path in (checkout / "sc").rglob("*.py")]
    asked = {
        str(node.args[0].value)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("client")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    services = {"autoscaling", "ec2", "iam", "pricing", "s3", "ssm", "sts"} | asked
    program = (
        "import boto3, sys\n"
        "keys = dict(aws_access_key_id='a', aws_secret_access_key='b', region_name='us-east-1')\n"
        "for each in sys.argv[1:]: print(boto3.client(each, **keys).meta.service_model.service_name)"
    )
    switch = {"SHIV_INTERPRETER": "1", "HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    told = run(pyz, "-c", program, *sorted(services), env=switch)
    assert told.stdout.split() == sorted(services), told.stderr


def test_pip_installs_the_same_program(pyz: Path, checkout: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("sc", "pyproject.toml", "README.md", "LICENSE"):
        (shutil.copytree if (checkout / name).is_dir() else shutil.copy)(
            checkout / name, source / name
        )
    words = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", target, source]
    done = run(
        *words, env={name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(pyz) as packed:
        inside = {
            name.partition("/")[2]: packed.read(name)
            for name in packed.namelist()
            if name.startswith("site-packages/sc/")
        }
    installed = {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in (target / "sc").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert installed == inside
    told = run(target / "bin" / "sc", "--version", env={"PYTHONPATH": str(target)})
    assert told.stdout == TOLD, told.stderr


# Who runs it


@pytest.mark.parametrize("python", FOUND.values(), ids=FOUND)
def test_every_python_here_runs_it(python: str, pyz: Path, tmp_path: Path) -> None:
    (tmp_path / "batch.txt").write_text("echo ran\n")
    env = {"HOME": str(tmp_path / "home")}
    assert run(pyz, "--version", env=env, python=python).stdout == TOLD
    words = ["batch", tmp_path / "batch.txt", "--remote-output-path", tmp_path / "out"]
    assert run(pyz, *words, env=env, python=python).returncode == 0
    assert (tmp_path / "out" / "0" / "stdout").read_text() == "ran\n"


def test_an_old_python_tells_what_is_wrong(pyz: Path, checkout: Path) -> None:
    start = (checkout / "pyz" / "start.py").read_text()
    ast.parse(start, feature_version=(3, 4))
    for python in TOO_OLD:
        told = run(pyz, "--version", python=python)
        assert told.returncode == 3
        assert told.stderr.startswith("sc: it needs Python 3.9 or newer, and this is ")


def test_it_starts_with_what_it_needs_and_no_more(pyz: Path, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path / "home")}
    run(pyz, "--version", env=env)
    (tmp_path / "batch.json").write_text('{"nprocs": 1, "runs": [{"cmd": "true"}]}')
    strangers = {"boto3", "botocore", "s3transfer", "urllib3", "dateutil", "jmespath"}
    for words in (["--version"], ["--help"], ["batch", "--help"], ["summarize-batch", "--help"]):
        assert imported(pyz, *words, env=env) & {*strangers, "yaml"} == set()
    out = tmp_path / "out"
    ran = imported(pyz, "batch", tmp_path / "batch.json", "--remote-output-path", out, env=env)
    assert ran & strangers == set()
    assert (out / "0" / "status_code").read_text() == "0"


# Its first start


def test_first_starts_at_the_same_moment_all_start(pyz: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(pyz), "--version"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    started = [
        subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    assert [process.communicate()[0] for process in started] == [TOLD] * 8
    (left,) = (tmp_path / ".cache" / "sc").iterdir()
    assert sorted(path.name for path in left.iterdir()) == ["site-packages"]


def test_it_knows_its_own_path(pyz: Path, tmp_path: Path) -> None:
    (tmp_path / "sc.pyz").symlink_to(pyz)
    told_at_the_end = "import atexit, sys\natexit.register(lambda: print(sys.argv[0]))\n"
    (tmp_path / "sitecustomize.py").write_text(told_at_the_end)
    env = {"SHIV_ROOT": str(tmp_path / "root"), "PYTHONPATH": str(tmp_path)}
    told = run(os.path.relpath(tmp_path / "sc.pyz"), "--version", env=env)
    assert told.stdout == f"{TOLD}{tmp_path}/sc.pyz\n", told.stderr


def test_a_home_that_is_none_is_done_without(pyz: Path, tmp_path: Path) -> None:
    for home in (os.devnull, str(pyz), "relative"):
        temp = tmp_path / str(len(home))
        temp.mkdir()
        told = run(pyz, "--version", env={"HOME": home, "TMPDIR": str(temp)})
        assert told.stdout == TOLD, told.stderr
        assert [path.name for path in temp.iterdir()] == [f"sc-{os.geteuid()}"]


def test_a_folder_where_others_can_write_is_not_trusted(pyz: Path, tmp_path: Path) -> None:
    bait = tmp_path / f"sc-{os.geteuid()}"
    bait.mkdir()
    bait.chmod(0o777)
    told = run(pyz, "--version", env={"HOME": os.devnull, "TMPDIR": str(tmp_path)})
    assert (told.returncode, told.stdout) == (3, "")
    assert f"{bait} (others can write there)" in told.stderr
    assert list(bait.iterdir()) == []
    assert run(pyz, "--version", env={"SHIV_ROOT": str(bait)}).stdout == TOLD  # as the user wishes


def test_a_damaged_file_says_so(pyz: Path, tmp_path: Path) -> None:
    damaged = bytearray(pyz.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 5000] = bytes(5000)
    (tmp_path / "sc.pyz").write_bytes(damaged)
    told = run(tmp_path / "sc.pyz", "--version", env={"HOME": str(tmp_path)})
    assert told.returncode == 3
    assert told.stderr == f"sc: {tmp_path}/sc.pyz is damaged: get it again.\n"
    assert list((tmp_path / ".cache" / "sc").iterdir()) == []


@pytest.mark.bare
def test_no_home_no_space_and_no_rights_on_a_bare_machine(pyz: Path) -> None:
    with machine("bookworm") as bare:
        bare.copy(pyz, "/opt/sc.pyz")
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        assert version(bare, []) == (0, TOLD, "")
        assert version(bare, [], HOME="") == (0, TOLD, "")
        assert version(bare, nobody, HOME="/root") == (0, TOLD, "")
        assert bare.run("ls /root/.cache /tmp").stdout.split() == [
            "/root/.cache:",
            "sc",
            "/tmp:",
            "sc-65534",
        ]

        bare.run("mkdir /full; mount -t tmpfs -o size=1m tmpfs /full")
        code, out, err = version(bare, [], SHIV_ROOT="/full/sc")
        assert (code, out) == (3, "")
        assert err == (
            "sc: it cannot unpack itself into /full/sc (No space left on device). "
            "Free some space, or set SHIV_ROOT to a folder that can be written.\n"
        )
        assert bare.run("ls -A /full/sc").stdout == ""


def version(bare: Machine, before: list[str], **env: str) -> tuple[int, str, str]:
    done = bare.run([*before, "python3", "/opt/sc.pyz", "--version"], env)
    return done.returncode, done.stdout, done.stderr
