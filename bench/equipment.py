"""What a measurement needs on this machine: peers of pinned versions, the compiled limit, apt's tools.

Everything is made under `bench/.cache` at its first use. What cannot be had raises Missing, with a sentence that
says what to do; a measurement leaves that contender out and tells the sentence.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

BENCH = Path(__file__).resolve().parent
CACHE = BENCH / ".cache"


class Missing(Exception):
    """A contender cannot be measured here; the text says why and what to do."""


def environment(name: str, requirements: str) -> Path:
    """The `bin` folder of a virtual environment with these pinned requirements, made if need be.

    It is made anew when the requirements change: the stamp is written last.
    """
    wanted = (BENCH / requirements).read_bytes() + sys.version.encode()
    digest = hashlib.sha256(wanted).hexdigest()
    folder = CACHE / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    stamp = folder / "stamp"
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {requirements} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "-q",
            "--no-warn-script-location",
        ]
        done = subprocess.run([*pip, "-r", str(BENCH / requirements)], stderr=subprocess.PIPE)
        if done.returncode != 0:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise Missing(f"pip could not install {requirements}: {' '.join(last)}")
        stamp.write_text(digest)
    return folder / "bin"


def peers() -> Path:
    return environment("peers", "peers.txt")


def saturn() -> Path:
    return environment("saturn", "peer_saturn.txt")


def compiled_limit() -> Path:
    """The path of `limit.c`, compiled."""
    source, program = BENCH / "limit.c", CACHE / "limit"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        compiler = tool("cc", "gcc")
        CACHE.mkdir(exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return program


def tool(name: str, package: str) -> str:
    """The path of a program of this machine, which apt's `package` has."""
    path = shutil.which(name)
    if path is None:
        raise Missing(f"`{name}` is not installed; install it with: apt-get install {package}")
    return path


def version(command: list[str]) -> str:
    """The first line that a program says about its version."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace").strip().split("\n")[0]


def machine() -> dict[str, object]:
    """What a reader must know to compare: processor, cores, memory, kernel, Python."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
