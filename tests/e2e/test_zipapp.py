"""sc.pyz as a file: small, the same each time, for every Python, and ready after any first start."""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
import sys
import time
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
    *words: object,
    env: Optional[Mapping[str, str]] = None,
    python: str = sys.executable,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run Python with no environment but PATH and `env`."""
    return subprocess.run(
        [python, *map(str, words)],
        env={"PATH": os.environ["PATH"], **(env or {})},
        input=stdin,
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
    assert sorted(path.name for path in left.iterdir()) == ["complete", "site-packages"]


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


# Damage, and age


def unpacked_below(folder: Path) -> list[Path]:
    """Its copies, in the order in which they were made."""
    return sorted((folder / ".cache" / "sc").iterdir())


def hurt(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "without rights":
        path.chmod(0)
    elif how == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    else:
        with path.open("r+b") as file:
            file.truncate(0 if how == "empty" else path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("sc/cli.py", "missing"),
        ("sc/cli.py", "empty"),
        ("sc/cli.py", "without rights"),
        ("sc/__init__.py", "missing"),
        ("sc/feed.py", "cut"),
        ("yaml/__init__.py", "a folder"),
        ("botocore/data/endpoints.json", "cut"),
        ("../complete", "missing"),
        ("../complete", "cut"),
    ],
)
def test_start_from_a_damaged_copy_makes_another(
    pyz: Path, tmp_path: Path, name: str, how: str
) -> None:
    env = {"HOME": str(tmp_path)}
    assert run(pyz, "--version", env=env).stdout == TOLD
    (first,) = unpacked_below(tmp_path)
    hurt(first / "site-packages" / name, how)
    words = ["batch", "-", "--remote-output-path", tmp_path / "out"]
    done = run(pyz, *words, env=env, stdin="echo one\n")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/0/stdout").read_text() == "one\n"
    assert "Traceback" not in done.stderr
    assert run(pyz, "--version", env=env).stdout == TOLD
    assert len(unpacked_below(tmp_path)) == 2


@pytest.mark.parametrize("name", ["sc/cli.py", "sc/commands/batch.py", "sc/feed.py"])
@pytest.mark.parametrize("what", ["source", "compiled"])
def test_damage_that_keeps_the_size_is_found_where_it_shows(
    pyz: Path, tmp_path: Path, name: str, what: str
) -> None:
    """What is imported before anything is done is made anew at once, the rest for the next time."""
    env = {"HOME": str(tmp_path)}
    words = ["batch", "-", "--remote-output-path", tmp_path / "out"]
    assert run(pyz, *words, env=env, stdin="echo one\n").returncode == 0
    (first,) = unpacked_below(tmp_path)
    source = first / "site-packages" / name
    compiled = source.parent / "__pycache__"
    for path in compiled.glob(f"{source.stem}.*.pyc"):
        if what == "compiled":
            hurt(path, "cut")
        else:
            path.unlink()
    if what == "source":
        hurt(source, "zeros")
    done = run(pyz, *words, env=env, stdin="echo one\n")
    if name == "sc/feed.py":
        assert done.returncode == 3
        assert done.stderr.splitlines()[-1].endswith("another copy was made: run it again")
        done = run(pyz, *words, env=env, stdin="echo one\n")
    assert done.returncode == 0, done.stderr
    assert len(unpacked_below(tmp_path)) == 2


def test_damage_where_nothing_can_be_written_is_met_elsewhere(pyz: Path, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "temp")}
    (tmp_path / "temp").mkdir()
    assert run(pyz, "--version", env=env).stdout == TOLD
    cache = tmp_path / ".cache" / "sc"
    (first,) = cache.iterdir()
    hurt(first / "site-packages/sc/cli.py", "empty")
    for number in range(1, 100):
        (cache / f"{first.name}.{number}").mkdir()
        (cache / f"{first.name}.{number}" / "x").touch()
    assert run(pyz, "--version", env=env).stdout == TOLD
    assert [path.name for path in (tmp_path / "temp").iterdir()] == [f"sc-{os.geteuid()}"]


def test_starts_at_the_same_moment_from_a_damaged_copy_all_start(pyz: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert run(pyz, "--version", env=env).stdout == TOLD
    (first,) = unpacked_below(tmp_path)
    hurt(first / "site-packages/sc/cli.py", "empty")
    words = [sys.executable, str(pyz), "--version"]
    started = [
        subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    assert [process.communicate()[0] for process in started] == [TOLD] * 6
    assert [path.name for path in unpacked_below(tmp_path)] == [first.name, first.name + ".1"]


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    for each in [*path.rglob("*"), path]:
        os.utime(each, (then, then))


def test_copies_that_nobody_has_used_for_a_month_are_removed(pyz: Path, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    assert run(pyz, "--version", env=env).stdout == TOLD
    (own,) = unpacked_below(tmp_path)
    cache = own.parent
    names = {
        "a" * 20: 31,  # of another version
        "b" * 20 + ".1": 31,
        "new-dead": 31,
        "c" * 20: 29,
        "d" * 20: 31,  # used by a process that lives
        "not-ours": 31,
    }
    for name, days in names.items():
        shutil.copytree(own, cache / name)
        age(cache / name, days)
    shutil.copytree(own, cache / ("e" * 20))
    (cache / ("e" * 20) / "complete").unlink()  # as sc 0.1.0 left it
    age(cache / ("e" * 20), 31)
    (cache / ("f" * 20)).symlink_to(tmp_path)
    age(own, 2)
    with (cache / ("d" * 20) / "complete").open() as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        assert run(pyz, "--version", env=env).stdout == TOLD
    left = {path.name for path in cache.iterdir()}
    assert left == {own.name, "c" * 20, "d" * 20, "f" * 20, "not-ours"}
    assert time.time() - (own / "complete").stat().st_mtime < 3600


def test_a_running_sc_holds_the_lock_of_its_copy(pyz: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = f"touch {tmp_path}/begun; until [ -e {tmp_path}/end ]; do sleep 0.1; done"
    words = [sys.executable, str(pyz), "batch", "-", "--remote-output-path", str(tmp_path / "out")]
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(command + "\n")
        process.stdin.close()
        limit = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < limit:
            time.sleep(0.02)
        (own,) = unpacked_below(tmp_path)
        with (own / "complete").open() as marker, pytest.raises(BlockingIOError):
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (tmp_path / "end").touch()
    assert process.returncode == 0


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
