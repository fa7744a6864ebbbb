"""Make sc.pyz: python pyz/make.py DEPENDENCIES SOURCE TARGET

    DEPENDENCIES ─┐ trim            shiv            level
    (installed)   ├──────▶ stage/ ───────▶ a zip ────────▶ TARGET
    SOURCE/sc ────┘

The same input gives the same bytes, wherever it is built: names are sorted, and times, modes and what the file
system says are not taken over. (The bytes also depend on the zlib of the Python that builds.)
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SERVICES = ("autoscaling", "ec2", "iam", "pricing", "s3", "signin", "ssm", "sso", "sso-oidc", "sts")
"""What sc asks AWS for, and what botocore asks for credentials."""
ENDPOINTS = (*SERVICES, "api.pricing", "oidc", "portal.sso")
"""The names of these services in botocore's endpoints.json, where they differ."""
DROPPED = (
    "__pycache__/",
    "_yaml/",  # for callers of PyYAML before 5.4
    "bin/",
    "boto3/data/",  # of boto3.resource(), which sc does not use
    "boto3/examples/",
    "dateutil/zoneinfo/dateutil-zoneinfo.tar.gz",
    "urllib3/contrib/emscripten/",
)
KEPT_METADATA = ("METADATA", "LICENSE", "LICENSE.txt", "NOTICE", "COPYING")
COMPILED = (".so", ".pyd", ".pyc", ".dylib")
EPOCH = (1980, 1, 1, 0, 0, 0)
INTERPRETER = "/usr/bin/env python3"


def make(dependencies: Path, source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sc-pyz-", dir=target.parent) as folder:
        stage, packed, level = (Path(folder, name) for name in ("stage", "packed.pyz", "sc.pyz"))
        for name, data in [*trimmed(dependencies), *own(source)]:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_bytes(data)
        shiv(stage, packed)
        rewrite(packed, level, (Path(__file__).parent / "start.py").read_text())
        level.replace(target)


def trimmed(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of what sc needs of its dependencies."""
    for path in files(folder):
        name = path.relative_to(folder).as_posix()
        if name.startswith("botocore/data/"):
            yield from botocore_data(name, path)
        elif is_needed(name):
            yield name, path.read_bytes()


def is_needed(name: str) -> bool:
    if any(part in f"/{name}" for part in (f"/{dropped}" for dropped in DROPPED)):
        return False
    if ".dist-info/" in name:
        return name.rpartition("/")[2] in KEPT_METADATA
    return not name.endswith(COMPILED)


def botocore_data(name: str, path: Path) -> Iterator[tuple[str, bytes]]:
    """What is for all services, and the newest version of each one used, without its documentation."""
    service, _, rest = name[len("botocore/data/") :].partition("/")
    if rest:
        version, _, kind = rest.partition("/")
        newest = max(entry.name for entry in path.parent.parent.iterdir())
        if service not in SERVICES or version != newest or kind.startswith("examples"):
            return
    if not name.endswith((".json", ".json.gz")):
        yield name, path.read_bytes()
        return
    is_packed = name.endswith(".gz")
    document = json.loads(gzip.decompress(path.read_bytes()) if is_packed else path.read_bytes())
    if service == "endpoints.json":
        for partition in document["partitions"]:
            partition["services"] = {
                k: v for k, v in partition["services"].items() if k in ENDPOINTS
            }
    text = json.dumps(undocumented(document), separators=(",", ":"))
    yield name[: -len(".gz")] if is_packed else name, text.encode()


def undocumented(document: Any) -> Any:
    """Two thirds of a service's description, all of which is parsed before the first request.

    That of client parameters stays: botocore asks for it by its key.
    """
    if isinstance(document, dict):
        kept = document.get("clientContextParams")
        return {
            key: value if value is kept else undocumented(value)
            for key, value in document.items()
            if not (key == "documentation" and isinstance(value, str))
        }
    return [undocumented(each) for each in document] if isinstance(document, list) else document


def own(source: Path) -> Iterator[tuple[str, bytes]]:
    for path in files(source / "sc"):
        name = path.relative_to(source).as_posix()
        if is_needed(name):
            yield name, path.read_bytes()


def files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*"), key=os.fspath) if path.is_file())


def shiv(stage: Path, target: Path) -> None:
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "shiv", "--reproducible"]
    words += ["--entry-point", "sc.cli:main", "--python", INTERPRETER]
    words += ["--site-packages", str(stage), "--output-file", str(target)]
    subprocess.run(words, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"})


def rewrite(packed: Path, target: Path, start: str) -> None:
    """The same zip with sc's own start, as small as zlib makes it, and nothing in it of the place of its birth."""
    build = hashlib.sha256(start.encode())
    with zipfile.ZipFile(packed) as before:
        contents = {name: before.read(name) for name in sorted(before.namelist())}
    for name, data in contents.items():
        build.update(f"{name}\0{len(data)}\0".encode() + data)
    contents["__main__.py"] = start.replace("@BUILD@", build.hexdigest()[:20]).encode()
    with target.open("wb") as out:
        out.write(f"#!{INTERPRETER}\n".encode())
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as after:
            for name, data in contents.items():
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
                entry.external_attr = 0o100644 << 16
                after.writestr(entry, data)
    target.chmod(0o755)


if __name__ == "__main__":
    make(*map(Path, sys.argv[1:]))
