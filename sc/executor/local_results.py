"""Results into a folder of this machine, as the run made them: modes, times, holes, links and empty folders included.

A file is linked to its new place, and removed at the old one when all is stored. So nothing is copied, nobody sees half
a file, and after a kill in the middle the same is done again. Copied is what cannot be linked: on another file system,
of another owner, or with names outside of the results, through which somebody could change it later.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from sc.executor.removal import identity_of
from sc.executor.results import Results, linked_files

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class LocalResults:
    """Stores results in a folder, which may hold some of them from an attempt that was cut off."""

    def __init__(
        self, found: Results, target: str, linked: Callable[[], None] = lambda: None
    ) -> None:
        """`linked` is called at each file that is given a name there, which is a sign of life."""
        self._found = found
        self._target = target
        self._linked = linked
        self._user = os.geteuid()

    def begin(self) -> list[tuple[str, str]]:
        """Make the folders and the links, and give the files another name there. Returns what is still to be copied:
        the name of each, and the path to read."""
        found = self._found
        if not (found.files or found.links or len(found.folders) > 1):
            return []
        os.makedirs(os.path.dirname(self._target), exist_ok=True)
        for name in found.folders:
            _make_folder(self._path(name))
        copies = self._make_links()
        shared: dict[str, os.stat_result] = {}
        for name in found.files:
            status = os.lstat(found.path(name))
            if not self._is_ours(status):
                copies.append((name, found.path(name)))
            elif status.st_nlink > 1:
                shared[name] = status
            elif not self._link(name):
                copies.append((name, found.path(name)))
        return copies + self._link_shared(shared)

    def finish(self) -> None:
        """Give the folders their modes and times, when all is in them."""
        for name, status in reversed(self._found.folders.items()):
            path = self._path(name)
            with suppress(OSError):  # there was nothing to store, or modes are unknown there
                inherited = os.stat(path).st_mode & stat.S_ISGID
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.chmod(path, inherited | status.st_mode & 0o777)

    def _path(self, name: str) -> str:
        return f"{self._target}/{name}"

    def _is_ours(self, status: os.stat_result) -> bool:
        return self._user in (0, status.st_uid)

    def _link_shared(self, shared: dict[str, os.stat_result]) -> list[tuple[str, str]]:
        """Files with several names. Returns those that also have one outside."""
        names = Counter(map(identity_of, shared.values()))
        copies = []
        for name, status in shared.items():
            with suppress(OSError):
                if identity_of(os.lstat(self._path(name))) == identity_of(status):
                    continue  # linked by an attempt that was cut off
            if status.st_nlink > names[identity_of(status)] or not self._link(name):
                copies.append((name, self._found.path(name)))
        return copies

    def _link(self, name: str) -> bool:
        try:
            os.link(self._found.path(name), self._path(name), follow_symlinks=False)
        except OSError:
            return False  # whatever it is, the one that copies says it better
        self._linked()
        return True

    def _make_links(self) -> list[tuple[str, str]]:
        """Returns the files that stand for them on a file system that has no links."""
        try:
            for name in self._found.links:
                self._make_link(name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return list(linked_files(self._found))
        return []

    def _make_link(self, name: str) -> None:
        text, path = self._text(name), self._path(name)
        try:
            os.symlink(text, path)
        except FileExistsError:
            os.unlink(path)
            os.symlink(text, path)

    def _text(self, name: str) -> str:
        """What the link says; rewritten where it would lead elsewhere from its new place."""
        text, target = os.readlink(self._found.path(name)), self._found.links[name]
        head = os.path.dirname(name)
        lexical = os.path.normpath(os.path.join(head, text))
        is_plain = os.path.normpath(text) == text.rstrip("/") and not text.startswith("/")
        if is_plain and target in (self._found.links.get(lexical), lexical, f"{lexical}/"):
            return text
        return os.path.relpath(target.rstrip("/"), head or ".")


def _make_folder(path: str) -> None:
    """Open to nobody else until all is in it."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        os.chmod(path, 0o700)
