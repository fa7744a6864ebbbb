"""What lies on the machines' disks: a Debian made once, and above it a layer that takes away or adds.

bullseye, trixie   Python 3.9 and 3.13, curl, a package manager that reaches nothing
without …          the same, lacking some of it; `bare` lacks all
apt, dnf           no Python and no curl, but that package manager, which has them
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.machines import prepare

_PYTHON, _CURL = ("usr/bin/python3*",), ("usr/bin/curl",)
_MANAGERS = ("usr/bin/apt*", "usr/bin/dpkg*")

_MANAGER = """#!/bin/sh
# A package manager whose packages lie in /usr/share/packages, each a folder to be laid over the root.
[ "$(id -u)" = 0 ] || { echo "are you root?" >&2; exit 100; }
echo "$0 $*" >>/var/log/packages
command=
for word; do
    case $word in
        -*) ;;
        install | update | makecache) command=$word ;;
        *)
            [ "$command" = install ] || exit 100
            [ -d "/usr/share/packages/$word" ] || { echo "Unable to locate package $word" >&2; exit 100; }
            cp -a "/usr/share/packages/$word/." / || exit 100 ;;
    esac
done
[ -n "$command" ]
"""


@dataclass(frozen=True)
class Variant:
    suite: str = "bullseye"
    without: Sequence[str] = ()
    """Patterns of paths below the root."""
    manager: str = ""
    """The path of a package manager that has what is lacking."""


VARIANTS: Mapping[str, Variant] = {
    "bullseye": Variant(),
    "trixie": Variant("trixie"),
    "bare": Variant(without=(*_PYTHON, *_CURL, *_MANAGERS)),
    "without-curl": Variant(without=_CURL),
    "without-python": Variant(without=(*_PYTHON, *_MANAGERS)),
    "apt": Variant(without=(*_PYTHON, *_CURL, *_MANAGERS), manager="usr/bin/apt-get"),
    "dnf": Variant(without=(*_PYTHON, *_CURL, *_MANAGERS), manager="usr/bin/dnf"),
}


def layers(name: str, folder: Path) -> list[Path]:
    """The layers of a variant, the upper first; what has to be made for it is made in `folder`.

    The first of a suite takes a minute. Raises RuntimeError where it cannot be made.
    """
    variant = VARIANTS[name]
    root = prepare(variant.suite)
    if not variant.without:
        return [root]
    layer = folder / name
    if not layer.exists():
        _make(variant, root, layer)
    return [layer, root]


def _make(variant: Variant, root: Path, layer: Path) -> None:
    layer.mkdir(parents=True)
    for path in _found(variant, root):
        hidden = layer / path.relative_to(root)
        _folders(hidden.parent, layer, root)
        # How an overlay is told that a file of the layer below is not there.
        os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0))
    if not variant.manager:
        return
    for package, patterns in {"python3": _PYTHON, "curl": _CURL}.items():
        for pattern in patterns:
            for path in root.glob(pattern):
                kept = layer / "usr/share/packages" / package / path.relative_to(root)
                _folders(kept.parent, layer, root)
                shutil.copy2(path, kept, follow_symlinks=False)
    _folders(layer / "usr/bin", layer, root)
    manager = layer / variant.manager
    manager.unlink(missing_ok=True)
    manager.write_text(_MANAGER)
    manager.chmod(0o755)


def _found(variant: Variant, root: Path) -> Iterator[Path]:
    for pattern in variant.without:
        yield from root.glob(pattern)


def _folders(folder: Path, layer: Path, root: Path) -> None:
    """Make a folder of the layer, with the modes that the root's have."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir()
        below = root / one.relative_to(layer)
        one.chmod(below.stat().st_mode & 0o7777 if below.exists() else 0o755)
