"""A tree of files -> a folder that has other files too: those are kept, and each file changes at one instant."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Callable, Optional

from sc.archives.copying import copy_entry
from sc.errors import ScError

ASIDE = ".before-sync"


class Overlay:
    """One tree and one folder, of the same content afterwards as far as the tree goes."""

    def __init__(
        self, tree: str, trees: Sequence[str], folder: str, say: Callable[[str], None]
    ) -> None:
        """What is in the folder comes from an earlier time if it is the same file as in one of `trees`."""
        self._tree, self._folder, self._say = tree, folder, say
        self._trees = [one for one in trees if one != tree]

    def lay(self) -> None:
        """Do it. Raises ScError, before anything is changed, if a link in the folder leads elsewhere."""
        self._check("")
        self._lay("")
        for tree in self._trees:
            self._remove(tree, "")

    def _check(self, below: str) -> None:
        for name in os.listdir(os.path.join(self._tree, below)):
            relative = os.path.join(below, name)
            if _is_folder(os.path.join(self._tree, relative)):
                there = os.path.join(self._folder, relative)
                if os.path.islink(there) and not self._is_ours(relative):
                    raise ScError(
                        f"{there} is a link, and a folder of this name is to be synced; remove that first."
                    )
                self._check(relative)

    def _lay(self, below: str) -> None:
        for name in sorted(os.listdir(os.path.join(self._tree, below))):
            relative = os.path.join(below, name)
            source, there = os.path.join(self._tree, relative), os.path.join(self._folder, relative)
            if _is_folder(source):
                if not _is_folder(there):
                    self._make_way(relative)
                    os.mkdir(there)
                    is_ours = True
                else:
                    is_ours = any(_is_folder(os.path.join(tree, relative)) for tree in self._trees)
                if is_ours:
                    os.chmod(there, stat.S_IMODE(os.stat(source).st_mode))
                self._lay(relative)
            elif not _is_same(source, there):
                if _is_folder(there) or not self._is_ours(relative):
                    self._make_way(relative)
                _replace(source, there)

    def _is_ours(self, relative: str) -> bool:
        there = os.path.join(self._folder, relative)
        before = [os.path.join(tree, relative) for tree in self._trees]
        # Where there are no hard links, it is a copy.
        return any(_is_same(one, there) or _is_alike(one, there) for one in before)

    def _make_way(self, relative: str) -> None:
        """What is there is moved aside, unless it comes from an earlier time or is what will be there."""
        there, source = os.path.join(self._folder, relative), os.path.join(self._tree, relative)
        if not os.path.lexists(there):
            return
        if _is_folder(there):
            for tree in self._trees:
                if _is_folder(os.path.join(tree, relative)):
                    self._remove_folder(tree, relative, even_if_wanted=True)
        elif self._is_ours(relative):
            os.unlink(there)
        elif _is_alike(source, there):
            return
        if os.path.lexists(there):
            aside = free_name(there)
            os.rename(there, aside)
            self._say(
                f"{there} is not from an earlier sync, and was replaced; it is kept as {aside}."
            )

    def _remove(self, tree: str, below: str, even_if_wanted: bool = False) -> None:
        """What came from an earlier tree and is not in this one."""
        for name in os.listdir(os.path.join(tree, below)):
            relative = os.path.join(below, name)
            old, there = os.path.join(tree, relative), os.path.join(self._folder, relative)
            is_wanted = os.path.lexists(os.path.join(self._tree, relative)) and not even_if_wanted
            if _is_folder(old):
                if _is_folder(there):
                    self._remove_folder(tree, relative, even_if_wanted)
            elif not is_wanted and _is_same(old, there):
                os.unlink(there)

    def _remove_folder(self, tree: str, relative: str, even_if_wanted: bool = False) -> None:
        self._remove(tree, relative, even_if_wanted)
        if even_if_wanted or not os.path.lexists(os.path.join(self._tree, relative)):
            with suppress(OSError):  # there is something else in it
                os.rmdir(os.path.join(self._folder, relative))


def free_name(path: str, source: Optional[str] = None) -> str:
    """A name for what was at `path`, that nothing has, or only `source` itself."""
    number = 1
    name = os.path.basename(path)[: 255 - len(ASIDE) - 8]
    aside = first = os.path.join(os.path.dirname(path), name + ASIDE)
    while os.path.lexists(aside) and not (source is not None and _is_kept(source, aside)):
        number += 1
        aside = f"{first}-{number}"
    return aside


def kept_name(folder: str, relative: str, source: str) -> Optional[str]:
    """What `source` may be called in the folder, if not `relative` itself; None if it is there already."""
    *above, last = relative.split("/")
    at = folder
    for name in above:
        at = os.path.join(at, name)
        if os.path.lexists(at) and not _is_folder(at):
            at += ASIDE
    path = os.path.join(at, last)
    if os.path.lexists(path) and not _is_kept(source, path):
        path = free_name(path, source)
    return None if os.path.lexists(path) else os.path.relpath(path, folder)


def _is_kept(source: str, path: str) -> bool:
    both_folders = _is_folder(source) and _is_folder(path)
    return both_folders or _is_same(source, path) or _is_alike(source, path)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _is_same(one: str, other: str) -> bool:
    """The same file, or links to the same place."""
    try:
        a, b = os.lstat(one), os.lstat(other)
        if stat.S_ISLNK(a.st_mode) and stat.S_ISLNK(b.st_mode):
            return os.readlink(one) == os.readlink(other)
    except OSError:
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _is_alike(one: str, other: str) -> bool:
    """Files of the same content."""
    try:
        a, b = os.lstat(one), os.lstat(other)
        is_file = stat.S_ISREG(a.st_mode) and stat.S_ISREG(b.st_mode)
        return is_file and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _replace(source: str, there: str) -> None:
    draft = os.path.join(os.path.dirname(there), f".sc-new-{os.urandom(8).hex()}")
    try:
        copy_entry(source, draft)
        os.rename(draft, there)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
