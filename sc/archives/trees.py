"""Synced folders on a machine: each content is unpacked once, beside its destination, and put in place at one instant.

    <parent>/code ─▶ .sc-sync-<version>        a link, and another one is renamed over it; `..` is what it was
    <parent>/.sc-sync/<version>/name           of the destination
                               /lock           held, shared, by every worker that uses this version
                               /files          what the archives held, as it was when it was unpacked
                               /jobs           the jobs that have found it so, or have changed it themselves
    <parent>/.sc-sync/new-…                    not finished, or about to be removed

Whoever works in an older version keeps it; when nobody does, the next worker removes it. What runs left in it, and
what was not synced, goes along to the version that takes its place.

A destination that holds other files already, or cannot be replaced (a mount point, the folder where the worker
began), stays a folder. Its versions are inside of it, in `.sc-sync/here`, and it gets the tree's files one by one, each
by a rename; that is refused while somebody uses another version of them. What it held under the same names is kept as
NAME.before-sync.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Callable, NamedTuple, Optional

from sc.archives.copying import copy_entry
from sc.archives.ignoring import Ignored
from sc.archives.overlaying import Overlay, kept_name
from sc.archives.unpacking import unpack
from sc.errors import ScError
from sc.widths import umask

ROOT = ".sc-sync"
_TREE = re.compile(r"\.sc-sync-[0-9a-f]{32}(\.[0-9]+)?")
_HERE, _NEW, _CURRENT = "here", "new-", "current"
_WHOLE = "whole"
"""Ends the note of what the archives held."""
_CACHES = Ignored(["!.sc-sync/", "!.sc-sync-*/"])

Say = Callable[[str], None]


class Piece(NamedTuple):
    """An archive of a destination."""

    sha256: str
    below: str
    """Where it belongs, relative to the destination; empty for the destination itself."""
    fetch: Callable[[str], None]
    """Writes the archive to a file."""


class Order(NamedTuple):
    """What is wanted."""

    destination: str
    """Absolute and without dots."""
    pieces: Sequence[Piece]
    job: str
    """The job's nonce: workers of one job do not take each other's changes for a difference."""
    home: str
    """A folder in which this process works, and which cannot be replaced."""


class Placed(NamedTuple):
    """A destination that is ready."""

    destination: str
    tree: str
    """The folder behind it, which stays as it is for those who have its lock. The destination itself if it has to be
    a folder."""
    lock: str
    descriptor: int
    """Holds the lock. To be closed when the tree is not used any more."""


def hold(lock: str) -> int:
    """One more hold of the same lock, for this process; the descriptor is closed at the end of its use."""
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    with suppress(OSError):  # some network folders know no locks; then nothing is ever removed
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def place(order: Order, say: Say) -> Placed:
    """Put the pieces in place. Raises ScError with the reason; OSError if the disk says no."""
    target = _followed(order.destination)
    if os.path.lexists(target) and not os.path.islink(target) and not os.path.isdir(target):
        raise ScError(f"{target} is a file, so no folder can be synced there; move it away.")
    is_fixed = False
    while True:
        is_fixed = is_fixed or _has_to_stay(target, order.home)
        root = _root(target, is_fixed)
        os.makedirs(root, exist_ok=True)
        with _alone_in(root) as is_alone:
            if is_fixed or not _has_to_stay(target, order.home):
                kind = _Fixed if is_fixed else _Replaced
                placed = kind(target, root, order, say, is_alone).place()
                if placed is not None:
                    return placed
        is_fixed = True


def _root(target: str, is_fixed: bool) -> str:
    if is_fixed:
        return os.path.join(target, ROOT, _HERE)
    return os.path.join(os.path.dirname(target), ROOT)


def _followed(destination: str) -> str:
    """The place where links of other people lead; ours is not followed, it is to be replaced."""
    parent, name = os.path.split(destination)
    path = os.path.join(os.path.realpath(parent), name)
    for _ in range(40):
        if not os.path.islink(path) or is_ours(path):
            return path
        parent, name = os.path.split(os.path.join(os.path.dirname(path), os.readlink(path)))
        path = os.path.join(os.path.realpath(parent), name)
        if name in ("", ".", ".."):
            path = os.path.realpath(path)
    raise ScError(f"{destination} is a link that leads in a circle; remove it.")


def is_ours(path: str) -> bool:
    """Whether this is a link that `place` has made."""
    return os.path.islink(path) and _TREE.fullmatch(os.readlink(path)) is not None


def _has_to_stay(target: str, home: str) -> bool:
    """Whether there is a folder that a link cannot, or may not, replace."""
    if os.path.islink(target) or not os.path.lexists(target):
        return False
    is_above = f"{os.path.realpath(home)}/".startswith(target.rstrip("/") + "/")
    parent = os.path.dirname(target)
    return (
        is_above
        or os.path.ismount(target)
        or bool(os.listdir(target))
        or not os.access(parent, os.W_OK | os.X_OK)
    )


@contextmanager
def _alone_in(root: str) -> Iterator[bool]:
    """False where that cannot be had, as on some network folders."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    is_alone = False
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            is_alone = True
        yield is_alone
    finally:
        os.close(descriptor)


class _Place:
    """One destination, while nobody else changes anything there."""

    def __init__(self, target: str, root: str, order: Order, say: Say, is_alone: bool) -> None:
        self._target, self._root, self._order, self._say = target, root, order, say
        self._is_alone = is_alone
        self._name = os.path.basename(target)

    def place(self) -> Optional[Placed]:
        """None if the destination has become another one meanwhile."""
        raise NotImplementedError

    def _tree(self, version: str) -> str:
        raise NotImplementedError

    def _lock(self, version: str) -> str:
        return os.path.join(self._root, version, "lock")

    def _versions(self) -> list[str]:
        """All that are there, of all destinations."""
        names = [one for one in os.listdir(self._root) if not one.startswith((_NEW, _CURRENT))]
        return [one for one in names if os.path.isfile(self._lock(one))]

    def _base(self) -> str:
        """What the version would be called if nobody had changed it."""
        words = [
            self._name,
            *(word for one in self._order.pieces for word in (one.below, one.sha256)),
        ]
        return hashlib.sha256(os.fsencode("\0".join(words))).hexdigest()[:32]

    def _ready(self) -> str:
        """The version, unpacked and as its archives have it."""
        base = version = self._base()
        number = 0
        while True:
            is_there = os.path.isdir(self._tree(version))
            if not is_there:
                _remove(os.path.join(self._root, version))  # whose maker has died
                break
            if self._fits(version):
                return version
            number += 1
            version = f"{base}.{number}"
        self._unpack(version)
        return version

    def _fits(self, version: str) -> bool:
        jobs = os.path.join(self._root, version, "jobs")
        job = self._order.job
        try:
            with open(jobs, encoding="ascii") as file:
                if job and job in file.read().split("\n"):
                    return True
            files = self._files(version)
            if files is None or not _is_unchanged(self._tree(version), files):
                return False
            with suppress(PermissionError), open(jobs, "a", encoding="ascii") as file:
                file.write(f"{job}\n")
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _unpack(self, version: str) -> None:
        draft = os.path.join(self._root, f"{_NEW}{os.getpid()}-{os.urandom(4).hex()}")
        os.mkdir(draft, 0o700)  # till it is known who may read what is in it
        try:
            tree = os.path.join(draft, "tree")
            os.mkdir(tree)
            for piece in self._order.pieces:
                archive = os.path.join(draft, "archive.tar.gz")
                piece.fetch(archive)
                _check_hash(archive, piece.sha256)
                unpack(archive, os.path.join(tree, piece.below))
                os.unlink(archive)
            _write_files(draft, tree)
            notes = {"lock": b"", "jobs": b"%s\n" % os.fsencode(self._order.job)}
            for name, data in {**notes, "name": os.fsencode(self._name)}.items():
                with open(os.path.join(draft, name), "wb") as file:
                    file.write(data)
            os.chmod(draft, _usual_mode(self._root))
            self._bring(draft, version)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _bring(self, draft: str, version: str) -> None:
        """What is finished becomes a version."""
        os.rename(draft, os.path.join(self._root, version))

    def _files(self, version: str) -> Optional[dict[str, str]]:
        """What the archives held; None if the note of it is gone, or not whole, as after a loss of power."""
        try:
            with open(os.path.join(self._root, version, "files"), "rb") as file:
                *lines, end, _ = ["", *os.fsdecode(file.read()).split("\0")]
        except FileNotFoundError:
            return None
        if end != _WHOLE:
            return None
        pairs = (line.partition(" ")[::2] for line in lines if line)
        return {relative: state for state, relative in pairs}

    def _clean(self, version: str) -> None:
        """Remove what nobody uses any more, and what was left unfinished."""
        if not self._is_alone:
            return
        for name in os.listdir(self._root):
            path = os.path.join(self._root, name)
            if name.startswith(_NEW):
                _remove(path)
            elif name not in (version, _CURRENT, _HERE):
                with suppress(OSError), _unused(self._lock(name)):
                    self._clean_one(name)

    def _clean_one(self, version: str) -> None:
        """First of all it is no version any more."""
        gone = os.path.join(self._root, f"{_NEW}{os.urandom(8).hex()}")
        os.rename(os.path.join(self._root, version), gone)
        _remove(gone)

    def _done(self, version: str, tree: str) -> Placed:
        lock = self._lock(version)
        return Placed(self._order.destination, tree, lock, hold(lock))


class _Replaced(_Place):
    """The destination is a link to a version, or becomes one."""

    def _tree(self, version: str) -> str:
        return os.path.join(os.path.dirname(self._root), f"{ROOT}-{version}")

    def _bring(self, draft: str, version: str) -> None:
        super()._bring(draft, version)
        os.rename(os.path.join(self._root, version, "tree"), self._tree(version))

    def place(self) -> Optional[Placed]:
        version = self._ready()
        placed = self._done(version, self._tree(version))
        before = self._now(self._name)
        if before != placed.tree:
            if before is not None:
                self._carry(os.path.basename(before)[len(ROOT) + 1 :], placed.tree)
            if not self._swap(version):
                os.close(placed.descriptor)
                return None
        self._clean(version)
        return placed

    def _now(self, name: str) -> Optional[str]:
        """The tree that a destination of this parent shows."""
        link = os.path.join(os.path.dirname(self._root), name)
        return os.path.join(os.path.dirname(link), os.readlink(link)) if is_ours(link) else None

    def _swap(self, version: str) -> bool:
        """False if there is a folder that cannot be replaced, as something has come into it."""
        link = os.path.join(self._root, f"{_NEW}{os.urandom(8).hex()}")
        os.symlink(f"{ROOT}-{version}", link)
        try:
            if not os.path.islink(self._target) and os.path.lexists(self._target):
                os.rmdir(self._target)
            os.rename(link, self._target)
        except OSError:
            os.unlink(link)
            if os.path.isdir(self._target) and not os.path.islink(self._target):
                return False
            raise
        return True

    def _clean_one(self, version: str) -> None:
        with open(os.path.join(self._root, version, "name"), "rb") as file:
            now = self._now(os.fsdecode(file.read()))
        tree = self._tree(version)
        if now == tree:
            return
        if now is None and os.path.isdir(tree) and any(self._extras(version)):
            return  # the link was removed by somebody; what only is there stays
        if now is not None:
            self._carry(version, now)
        if os.path.isdir(tree):
            os.rename(tree, os.path.join(self._root, version, "tree"))
        super()._clean_one(version)

    def _extras(self, version: str) -> Iterator[str]:
        """What is in a version and in none of its archives, but for caches."""
        files = self._files(version) or {}  # if that is not known, everything may be of somebody
        for relative, state in _survey(self._tree(version)):
            is_folder = "," not in state
            if relative not in files and not _CACHES.leaves_out_all_of(relative, is_folder):
                yield relative

    def _carry(self, version: str, new: str) -> None:
        """What does not come from the archives, such as what runs have written, is in the new version too."""
        old = self._tree(version)
        if not os.path.isdir(old) or not os.path.isdir(new):
            return
        for relative in self._extras(version):
            with suppress(FileNotFoundError):  # a run has removed it meanwhile
                self._carry_one(old, new, relative)

    def _carry_one(self, old: str, new: str, relative: str) -> None:
        source = os.path.join(old, relative)
        mode = os.lstat(source).st_mode
        kept = kept_name(new, relative, source)
        if kept is None or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            return
        _put(source, os.path.join(new, kept), mode)
        if kept != relative:
            self._say(
                f"{os.path.join(self._target, relative)} was replaced by what is synced; "
                f"what was there is kept as {kept}."
            )


class _Fixed(_Place):
    """The destination is a folder with other things in it."""

    def _tree(self, version: str) -> str:
        return os.path.join(self._root, version, "tree")

    def place(self) -> Optional[Placed]:
        base = self._base()
        current = self._read_current()
        is_same = current is not None and current.partition(".")[0] == base
        others = [one for one in self._versions() if one != (current if is_same else None)]
        if any(not _is_unused(self._lock(one)) for one in others):
            raise ScError(
                f"{self._target} holds files of its own, so that it cannot be replaced as a whole, and a worker of "
                "another job uses what is synced there now; wait until that job has ended, or sync to a "
                "folder of another name."
            )
        if current is not None and is_same and not _is_unused(self._lock(current)):
            return self._done(current, self._target)
        version = self._ready()
        placed = self._done(version, self._target)
        trees = [self._tree(one) for one in self._versions()]
        Overlay(self._tree(version), trees, self._target, self._say).lay()
        self._write_current(version)
        self._clean(version)
        return placed

    def _read_current(self) -> Optional[str]:
        try:
            version = os.readlink(os.path.join(self._root, _CURRENT))
        except OSError:
            return None
        return version if version in self._versions() else None

    def _write_current(self, version: str) -> None:
        link = os.path.join(self._root, f"{_NEW}{os.urandom(8).hex()}")
        os.symlink(version, link)
        os.rename(link, os.path.join(self._root, _CURRENT))


def _survey(folder: str, below: str = "") -> Iterator[tuple[str, str]]:
    """Everything below a folder, relative to it, folders first; and what tells whether it has been changed."""
    found: list[tuple[str, os.stat_result]] = []
    with suppress(FileNotFoundError), os.scandir(os.path.join(folder, below)) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    for name, state in sorted(found, key=lambda pair: pair[0]):
        relative = f"{below}/{name}" if below else name
        if stat.S_ISDIR(state.st_mode):
            yield relative, f"{state.st_mode:o}"
            yield from _survey(folder, relative)
        else:
            yield relative, f"{state.st_mode:o},{state.st_size},{state.st_mtime_ns}"


def _write_files(draft: str, tree: str) -> None:
    path = os.path.join(draft, "files")
    with open(path, "wb") as file:
        for relative, state in _survey(tree):
            file.write(os.fsencode(f"{state} {relative}\0"))
        file.write(os.fsencode(f"{_WHOLE}\0"))
    os.chmod(path, os.stat(tree).st_mode & 0o666)


def _is_unchanged(tree: str, files: dict[str, str]) -> bool:
    left = dict(files)
    for relative, state in _survey(tree):
        if relative in left and left.pop(relative) != state:
            return False
    return not left


def _put(source: str, target: str, mode: int) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if stat.S_ISDIR(mode):
        os.mkdir(target)
        os.chmod(target, stat.S_IMODE(mode))
    else:
        copy_entry(source, target)


def _check_hash(archive: str, sha256: str) -> None:
    digest = hashlib.sha256()
    with open(archive, "rb") as file:
        for data in iter(lambda: file.read(1 << 20), b""):
            digest.update(data)
    if digest.hexdigest() != sha256:
        raise ScError(
            f"The archive {sha256}.tar.gz of a synced folder is not what was packed: its SHA-256 is "
            f"{digest.hexdigest()}. Nothing of it was unpacked. Remove it where it is kept, and start the job again."
        )


def _usual_mode(root: str) -> int:
    return 0o777 & ~umask() | os.stat(root).st_mode & stat.S_ISGID


@contextmanager
def _unused(lock: str) -> Iterator[None]:
    """While nobody uses this version. Raises OSError if somebody does."""
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_unused(lock: str) -> bool:
    try:
        with _unused(lock):
            return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def _remove(path: str) -> None:
    if os.path.islink(path) or not os.path.isdir(path):
        with suppress(OSError):
            os.unlink(path)
    else:
        shutil.rmtree(path, ignore_errors=True)
