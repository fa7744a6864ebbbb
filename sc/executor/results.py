"""What a run has left in its results folder: files, folders and links to store, and what cannot be stored.

Nothing outside of the folder is stored: no link is followed out of it, and no folder that is mounted in it is entered.
All links are judged before anything is moved, so that the same is found when an attempt to store it was cut off.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Optional

from sc.executor.removal import MOUNTED, Identity, identity_of

MOUNTS = "/proc/self/mountinfo"
NAMED = 3
"""Of what is not stored, in a sentence."""
LEAST_LINKED, LINKED_PER_FILE = 10_000, 10
"""So many files, and so many for each file of the run, are stored under the names of links to folders. Links inside of
folders that links lead to would otherwise make 2**n files of n."""
LONGEST_CHAIN = 40
"""Of links to folders in one name, as the kernel has it."""
NO_FOLDER = "it is no folder any more"
UPWARDS, OUTSIDE, NOWHERE = "leads to a folder above", "leads out of the results", "leads nowhere"
CIRCLE, TOO_MANY = "leads round in a circle", "too many files by links to folders"
NO_FILE = "no plain file"


class Unstored:
    """Counts what is not stored."""

    def __init__(self) -> None:
        self.count = 0
        self._named: list[str] = []

    def add(self, name: str, why: str) -> None:
        self.count += 1
        if len(self._named) < NAMED:
            self._named.append(f"{name[:200]!r} ({why})")

    def told(self) -> str:
        """A part of a sentence; empty if all is stored."""
        if not self.count:
            return ""
        more = f" and {self.count - NAMED} more" if self.count > NAMED else ""
        return f"not stored: {', '.join(self._named)}{more}"


@dataclass
class Results:
    """All names are relative to the results folder, those of folders end with a slash; the folder itself is ``""``."""

    folder: str
    """Its path, in which there is no link."""
    unstored: Unstored = field(default_factory=Unstored)
    files: list[str] = field(default_factory=list)
    folders: dict[str, os.stat_result] = field(default_factory=dict)
    """Each after the one it is in."""
    links: dict[str, str] = field(default_factory=dict)
    """Those that can be stored, and the name of the file or folder that they lead to in the end."""

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"


def find_results(folder: str, identity: Optional[Identity] = None) -> Results:
    """Look at all of it. `folder` is a real path. `identity` is that of the folder if it is of the run's choice: it may
    have been a mount point before. One that is ours is removed if it is empty."""
    found = Results(folder)
    why = _refusal_of_ours(folder) if identity is None else _refusal_of_chosen(folder, identity)
    if why is not None:
        if why:
            found.unstored.add("results", why)
        return found
    links = _Walk(found).walk()
    targets = {name: _target(found, name) for name in links}
    for name, (target, why) in targets.items():
        if why:
            found.unstored.add(name, why)
        else:
            found.links[name] = target
    return found


def _refusal_of_ours(folder: str) -> Optional[str]:
    """Why nothing of it can be stored, empty if there is nothing; None if there is something. One system call, as most
    runs have no results: `rmdir` knows a mount point."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return ""
    except NotADirectoryError:
        return NO_FOLDER
    except OSError as error:
        return MOUNTED if error.errno == errno.EBUSY else None
    return ""


def _refusal_of_chosen(folder: str, identity: Identity) -> Optional[str]:
    try:
        status = os.lstat(folder)
    except OSError:
        return ""
    if not stat.S_ISDIR(status.st_mode):
        return NO_FOLDER
    if identity != identity_of(status) and folder in (mounts_at(folder) or ()):
        return MOUNTED
    return None


class _Walk:
    """Goes through the folder, without its links."""

    def __init__(self, found: Results) -> None:
        self._found = found
        self._device = os.stat(found.folder).st_dev
        self._links: list[str] = []

    @cached_property
    def _mounts(self) -> Optional[frozenset[str]]:
        """Read only where there are folders in the folder."""
        return mounts_at(self._found.folder)

    def walk(self) -> list[str]:
        """Returns the names of the links."""
        heads = [""]
        while heads:
            head = heads.pop()
            heads += [f"{name}/" for name in reversed(self._look(head))]
        self._found.files.sort()
        return sorted(self._links)

    def _look(self, head: str) -> list[str]:
        """The folders in one of them that are to be looked at next."""
        found, folders = self._found, []
        for entry in self._scan(head):
            name = f"{head}{entry.name}"
            if entry.is_symlink():
                self._links.append(name)
            elif entry.is_dir(follow_symlinks=False):
                if self._mounts and found.path(name) in self._mounts:
                    found.unstored.add(name, MOUNTED)
                else:
                    folders.append(name)
            elif not entry.is_file(follow_symlinks=False):
                found.unstored.add(name, NO_FILE)
            elif _is_readable(entry.path):
                found.files.append(name)
            else:
                found.unstored.add(name, "it may not be read")
        return folders

    def _scan(self, head: str) -> Sequence[os.DirEntry[str]]:
        path = self._found.path(head)
        try:
            if not os.access(path, os.R_OK | os.X_OK):
                os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | stat.S_IRWXU)
            status = os.stat(path)
            if status.st_dev != self._device:
                self._found.unstored.add(head[:-1], MOUNTED)
                return []
            with os.scandir(path) as entries:
                listed = list(entries)
        except OSError as error:
            self._found.unstored.add(head[:-1] or "results", error.strerror or str(error))
            return []
        self._found.folders[head] = status
        return listed


def _is_readable(path: str) -> bool:
    try:
        if not os.access(path, os.R_OK):
            os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | stat.S_IRUSR)
    except OSError:
        return False
    return True


def _target(found: Results, name: str) -> tuple[str, str]:
    """The name of the file or folder that a link leads to, or why it cannot be stored."""
    real = os.path.realpath(found.path(name))
    if real == found.folder:
        return "", UPWARDS
    if not real.startswith(found.folder + "/"):
        return "", OUTSIDE
    target = real[len(found.folder) + 1 :]
    if f"{target}/" in found.folders:
        return f"{target}/", UPWARDS if name.startswith(f"{target}/") else ""
    if _has(found.files, target):
        return target, ""
    if os.path.lexists(real) and not os.path.islink(real):
        return "", "leads to what is not stored"
    return "", CIRCLE if os.path.islink(real) else NOWHERE


def _has(names: Sequence[str], name: str) -> bool:
    place = bisect_left(names, name)
    return place < len(names) and names[place] == name


class _Linked(NamedTuple):
    """A folder under the name of a link."""

    name: str
    target: str
    above: tuple[str, ...]
    """The folders that hold the links on the way here."""


def linked_files(found: Results) -> Iterator[tuple[str, str]]:
    """(name, path to read) of what links lead to, for a storage that has no links: a folder's files, and what the links
    in it lead to, stand once more under the link's name. What goes too far is counted as not stored."""
    left = LEAST_LINKED + LINKED_PER_FILE * len(found.files)
    names = sorted(found.links)
    pending = [_Linked(name, found.links[name], (_above(name),)) for name in reversed(names)]
    while pending:
        link = pending.pop()
        if not link.target.endswith("/"):
            yield link.name, found.path(link.target)
            continue
        if any(one.startswith(link.target) for one in link.above):
            found.unstored.add(link.name, CIRCLE)
            continue
        files, links = _below(found.files, link.target), _below(names, link.target)
        left -= 1 + len(files) + len(links)
        if left < 0 or len(link.above) > LONGEST_CHAIN:
            found.unstored.add(link.name, TOO_MANY)
            continue
        cut = len(link.target)
        for name in files:
            yield f"{link.name}/{name[cut:]}", found.path(name)
        for name in reversed(links):
            above = (*link.above, _above(name))
            pending.append(_Linked(f"{link.name}/{name[cut:]}", found.links[name], above))


def _above(name: str) -> str:
    head, slash, _ = name.rpartition("/")
    return head + slash


def _below(names: Sequence[str], folder: str) -> Sequence[str]:
    """Of sorted names."""
    first = bisect_left(names, folder)
    return names[first : bisect_left(names, folder[:-1] + "0")]  # "0" comes after "/"


def mounts_at(folder: str, table_file: str = MOUNTS) -> Optional[frozenset[str]]:
    """The mount points in a folder, and the folder if it is one; None where nobody tells (there is no /proc).

    Of a bind mount of the same file system `st_dev` tells nothing. `folder` is a real path."""
    try:
        with open(table_file, "rb") as file:
            table = file.read()
    except OSError:
        return None
    wanted = os.fsencode(folder)
    for byte in b"\\ \t\n":
        wanted = wanted.replace(b"%c" % byte, b"\\%03o" % byte)
    if wanted not in table:  # as nearly always
        return frozenset()
    points = (line.split(b" ", 5)[4] for line in table.splitlines() if wanted in line)
    inside = (one for one in points if one == wanted or one.startswith(wanted + b"/"))
    return frozenset(os.fsdecode(_unescaped(one)) for one in inside)


def _unescaped(text: bytes) -> bytes:
    for byte in b"\n\t \\":
        text = text.replace(b"\\%03o" % byte, b"%c" % byte)
    return text
