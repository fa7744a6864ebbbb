"""The folder that `sc split` writes and `sc apply` reads: `0.json …`, `recipe.yaml`, and `.sc-split.json`.

The last one, the manifest, tells what an earlier split wrote there. Just that is replaced or removed by a later one;
what it would overwrite and is not ours is an error. `recipe.yaml` is removed first and written last: where it is,
everything is.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional

from sc.errors import InputError, StorageError
from sc.widths import ALL_OPEN, OPEN, Width, Widths, umask

MANIFEST, RECIPE = ".sc-split.json", "recipe.yaml"
_TEXTS = ("file_syncs_base_dir_url", "folder")
DEFAULT = "/tmp/commands"
"""Where Saturn Cloud's client writes, too."""


class Split(NamedTuple):
    """What an earlier split has left in a folder, for `sc apply`."""

    parts: tuple[str, ...]
    """Paths of the parts, in their order."""
    sync: tuple[str, ...]
    """As `--sync` had them, with absolute sources."""
    file_syncs_base_dir_url: Optional[str]
    folder: Optional[str] = None
    """Where it was called; None: of a version that did not note it."""


def part_name(number: int) -> str:
    """Of a part's file."""
    return f"{number}.json"


def check(folder: str, parts: int) -> None:
    """Prove that a split into so many parts can be written there, without any effect. Raises InputError."""
    if not os.path.lexists(folder):
        return _check_parent(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is not a folder; name another as COMMANDS_DIR")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder} may not be written to; name another folder as COMMANDS_DIR")
    if os.stat(folder).st_uid not in (os.getuid(), 0) and folder == DEFAULT:
        raise InputError(
            f"{folder} belongs to somebody else; name a folder of yours as COMMANDS_DIR"
        )
    ours = set(_manifest(folder).get("files", []))
    names = [RECIPE, *map(part_name, range(parts))]
    strange = [name for name in names if name not in ours and os.path.lexists(_in(folder, name))]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise InputError(
            f"{_in(folder, strange[0])}{more} was not written by 'sc split' and would be overwritten; "
            "move it away, or name another folder as COMMANDS_DIR"
        )
    return None


def _check_parent(folder: str) -> None:
    parent = os.path.dirname(os.path.abspath(folder))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise InputError(f"{folder} cannot be made, {parent} is not a folder; name another one")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{folder} cannot be made in {parent}, which may not be written to; name another one"
        )


def write(
    folder: str,
    parts: Iterable[bytes],
    recipe: str,
    notes: Mapping[str, Any],
    widths: Widths = ALL_OPEN,
) -> Iterator[bytes]:
    """Replace what the last split left by this one; gives back each part when its file is there.

    To be iterated to its end: `recipe.yaml` is written then. Whoever starts machines on the way need not wait for
    the last part. `notes` is what `read` gives back: `sync`, `file_syncs_base_dir_url` and `folder`. Nobody beyond
    `widths` may read the files. Raises StorageError, on a full disk say: then there is no recipe.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        yield from _write(folder, parts, recipe, notes, widths)
    except OSError as error:
        raise StorageError(
            f"{error.filename or folder} cannot be written: {error.strerror}; "
            "put that right, or name another folder as COMMANDS_DIR"
        ) from error


def _write(
    folder: str, parts: Iterable[bytes], recipe: str, notes: Mapping[str, Any], widths: Widths
) -> Iterator[bytes]:
    with _lock(folder):
        old = list(_manifest(folder).get("files", []))
        _remove(folder, RECIPE if RECIPE in old else None)
        written: list[str] = []
        for number, data in enumerate(parts):
            name = part_name(number)
            if number % 1000 == 0:
                coming = [part_name(n) for n in range(number, number + 1000)]
                _note(folder, {**notes, "files": [*old, *written, *coming]})
            _put_part(folder, name, data, widths.parts)
            written.append(name)
            yield data
        for name in set(old) - {*written, RECIPE}:
            _remove(folder, name)
        _note(folder, {**notes, "files": [*written, RECIPE]})
        _put(folder, RECIPE, recipe.encode(), widths.recipe)


def read(recipe_path: str) -> Optional[Split]:
    """What the split has left that wrote this recipe; None if no split of ours did."""
    folder = os.path.dirname(os.path.abspath(recipe_path))
    manifest = _manifest(folder)
    files = manifest.get("files", [])
    if os.path.basename(recipe_path) != RECIPE or RECIPE not in files:
        return None
    parts = tuple(_in(folder, name) for name in files if name != RECIPE)
    missing = next((part for part in parts if not os.path.isfile(part)), None)
    if missing is not None:
        raise InputError(f"{missing} is missing beside {recipe_path}; run 'sc split' again")
    base, called = manifest.get("file_syncs_base_dir_url"), manifest.get("folder")
    return Split(parts, tuple(manifest.get("sync", [])), base, called)


def _in(folder: str, name: str) -> str:
    return os.path.join(folder, name)


def _manifest(folder: str) -> Mapping[str, Any]:
    """What is remembered of the last split; names that are no plain names of ours are not believed."""
    try:
        with open(_in(folder, MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(manifest, dict) or not _is_manifest(manifest):
        return {}
    files = [name for name in manifest["files"] if isinstance(name, str) and _is_ours(name)]
    return {**manifest, "files": list(dict.fromkeys(files))}


def _is_manifest(fields: Mapping[str, Any]) -> bool:
    sync, *others = fields.get("sync", []), *map(fields.get, _TEXTS)
    has_sync = isinstance(sync, list) and all(isinstance(one, str) for one in sync)
    has_texts = all(one is None or isinstance(one, str) for one in others)
    return isinstance(fields.get("files"), list) and has_sync and has_texts


def _is_ours(name: str) -> bool:
    stem, ending = os.path.splitext(name)
    return name == RECIPE or (ending == ".json" and stem.isascii() and stem.isdigit())


def _note(folder: str, manifest: Mapping[str, Any]) -> None:
    text = json.dumps({"written_by": "sc split", **manifest}, indent=1)
    _put(folder, MANIFEST, (text + "\n").encode(), OPEN)


def _put_part(folder: str, name: str, data: bytes, width: Width) -> None:
    """A new file in place of an old one (which somebody may be reading). While parts are written there is no recipe
    that leads to them, so that this may be quick."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    path = _in(folder, name)
    try:
        descriptor = os.open(path, flags, width.surely)
    except FileExistsError:
        os.unlink(path)
        descriptor = os.open(path, flags, width.surely)
    try:
        width.settle(descriptor)
        with open(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        os.unlink(path)
        raise


def _put(folder: str, name: str, data: bytes, width: Width) -> None:
    """The file appears at once, with all that is in it."""
    descriptor, path = tempfile.mkstemp(dir=folder, prefix=".sc-")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, width.mode_for(os.fstat(descriptor).st_gid) & ~umask())
        os.replace(path, _in(folder, name))
    except BaseException:
        os.unlink(path)
        raise


def _remove(folder: str, name: Optional[str]) -> None:
    if name is not None:
        try:
            os.unlink(_in(folder, name))
        except FileNotFoundError:
            return


@contextmanager
def _lock(folder: str) -> Iterator[None]:
    """One split at a time. Raises InputError if another one is at it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InputError(
            f"another 'sc split' is writing to {folder}; name another COMMANDS_DIR"
        ) from None
    finally:
        os.close(descriptor)
