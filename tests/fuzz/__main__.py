"""The fuzzer: `python tests/fuzz [TARGET …] [--seconds N] [--keep FOLDER]`.

Each target runs in a process of its own, one after the other, for its share of the time. What breaks a promise is kept
under FOLDER/found/TARGET, one input for each place in the code, and does not stop the search; an input that takes too
long or too much memory ends its process, and is kept as well. At the end there is a line for each target.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS, LIMIT_MIB = 10, 1024
"""For one input: CPython and the instruments are part of both."""
SLOW_SECONDS = 1.0
"""Of this process's own time; told, since nobody waits for a second in vain."""


def main() -> int:
    """Fuzz what is asked for, and tell."""
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", metavar="TARGET", nargs="*", help="by default all of them")
    parser.add_argument("--seconds", type=float, default=3600.0, help="for all of them together")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        default=Path(tempfile.gettempdir()) / "sc-fuzz",
        help="of the inputs that were found to be interesting, from which the next call goes on",
    )
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        fuzz_one(args.targets[0], args.seconds, args.keep)
    from tests.fuzz.targets import TARGETS

    names = args.targets or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(TARGETS)}")
    share = args.seconds / len(names)
    bad = sum(run(name, share, args.keep) for name in names)
    return 1 if bad else 0


def run(name: str, seconds: float, keep: Path) -> int:
    """One target in processes of its own; how many inputs of it are kept as bad."""
    found = keep / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    end, executions, coverage = time.monotonic() + seconds, 0, 0
    while (left := end - time.monotonic()) > 1:
        words = [sys.executable, __file__, "--one", name, f"--seconds={left}", f"--keep={keep}"]
        log = keep / f"{name}.log"
        with log.open("wb") as file:
            code = subprocess.run(words, stdout=file, stderr=file, cwd=ROOT).returncode
        told = log.read_text("utf-8", "replace")
        counts = re.findall(r"^#(\d+)\s.*?cov: (\d+)", told, re.MULTILINE)
        executions += int(counts[-1][0]) if counts else 0
        coverage = max([coverage, *(int(cov) for _, cov in counts)])
        if not counts and code:
            sys.stdout.write(told[-2000:])
            return 1
    bad = sorted(path.name for path in found.iterdir())
    line = f"{name:22} {executions:>10,} inputs  {coverage:>6,} edges  {len(bad)} kept"
    sys.stdout.write(" ".join([line, *bad]) + "\n")
    sys.stdout.flush()
    return len(bad)


def fuzz_one(name: str, seconds: float, keep: Path) -> None:
    """In this process, which does not return from it."""
    import atheris

    with atheris.instrument_imports(include=["sc", "tarfile"]):
        from tests.fuzz.mutating import mutated_json
        from tests.fuzz.seeds import SEEDS
        from tests.fuzz.targets import TARGETS

    corpus, found = keep / "corpus" / name, keep / "found" / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS.get(name, ())):
        (corpus / f"seed-{number}").write_bytes(seed)
    target = TARGETS[name]

    def watched(data: bytes) -> None:
        began = time.process_time()
        try:
            target(data)
        except Exception as error:  # noqa: BLE001 - told, and the search goes on
            where = traceback.extract_tb(error.__traceback__)[-1]
            kept(found, f"{type(error).__name__}-{Path(where.filename).stem}-{where.lineno}", data)
        if time.process_time() - began > SLOW_SECONDS:
            kept(found, "slow", data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        if seed % 2 and data[:1] == b"{":
            with contextlib.suppress(ValueError):
                return mutated_json(data, seed)[:most]
        return bytes(atheris.Mutate(data, most))

    resource.setrlimit(resource.RLIMIT_AS, (4 * LIMIT_MIB << 20, 4 * LIMIT_MIB << 20))
    atheris.Setup(
        [
            *(sys.argv[0], str(corpus), f"-max_total_time={int(seconds)}", "-max_len=8192"),
            *(f"-timeout={LIMIT_SECONDS}", f"-rss_limit_mb={LIMIT_MIB}"),
            f"-dict={Path(__file__).with_name('words.dict')}",
            *(f"-artifact_prefix={found}/", "-print_final_stats=1", "-use_value_profile=1"),
        ],
        watched,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


def kept(folder: Path, name: str, data: bytes) -> None:
    """The shortest input of each kind."""
    path = folder / name
    if not path.exists() or path.stat().st_size > len(data):
        path.write_bytes(data)


if __name__ == "__main__":
    raise SystemExit(main())
