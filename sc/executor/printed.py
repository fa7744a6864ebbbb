"""The files that a run prints to, held open until it has ended: what somebody removes or moves away under it can then
be copied from what is still open, and no other file can be taken for one of them.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from typing import Optional

from sc.executor.removal import Identity, identity_of, remove

NAMES = ("stdout", "stderr")
WHOLE, GONE, REPLACED = "whole", "gone", "replaced"
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Printed:
    """Both files of one attempt. `close` lets go of them."""

    def __init__(self, folder: str) -> None:
        """Open new files in this folder. Raises OSError."""
        self.descriptors: list[int] = []
        try:
            # Not for reading, too: some file systems, of object storages for one, cannot do both.
            for name in NAMES:
                self.descriptors.append(os.open(f"{folder}/{name}", _APPEND, 0o666))
            self._identities = [identity_of(os.fstat(one)) for one in self.descriptors]
        except OSError:
            self.close()
            raise

    def state(self, folder: str) -> str:
        """WHOLE if the files are in this folder. REPLACED if another `stdout` is there, or another `stderr`: somebody
        else's. GONE if not both are there, or nothing can be known of them. Two system calls."""
        found = [_identity(f"{folder}/{name}") for name in NAMES]
        if found == self._identities:
            return WHOLE
        pairs = zip(found, self._identities)
        return REPLACED if any(one not in (None, own) for one, own in pairs) else GONE

    def copy(self, folder: str) -> None:
        """Put copies in place of what is not in this folder, which is ours. Raises OSError where what was printed
        cannot be read any more, or not be written."""
        for name, descriptor, own in zip(NAMES, self.descriptors, self._identities):
            path = f"{folder}/{name}"
            if _identity(path) != own:
                remove(path)
                _copy(descriptor, path)

    @classmethod
    def found(cls, folder: str) -> Printed:
        """Those that an earlier process has written to this folder, and that are as they should be."""
        printed = cls.__new__(cls)
        printed.descriptors = []
        try:
            for name in NAMES:
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
                printed.descriptors.append(os.open(f"{folder}/{name}", flags))
            printed._identities = [identity_of(os.fstat(one)) for one in printed.descriptors]
        except OSError:
            printed.close()
            raise
        return printed

    def explain(self, text: bytes) -> None:
        """Say something in `stderr`."""
        with suppress(OSError):
            os.write(self.descriptors[1], text)

    def close(self) -> None:
        """No error matters: what was written is read again from elsewhere, or is not needed any more."""
        for descriptor in self.descriptors:
            with suppress(OSError):
                os.close(descriptor)
        self.descriptors = []


def _identity(path: str) -> Optional[Identity]:
    try:
        return identity_of(os.stat(path))
    except OSError:
        return None


def _copy(descriptor: int, path: str) -> None:
    """The file of this descriptor, also if it has no name any more."""
    with open(_reopened(descriptor), "rb") as source, open(path, "xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _reopened(descriptor: int) -> int:
    """A descriptor of the same file that can be read from its beginning."""
    path = f"/proc/self/fd/{descriptor}"
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except PermissionError:  # the run has changed its mode
        os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | stat.S_IRUSR)
        return os.open(path, flags)
    except FileNotFoundError:
        raise OSError(errno.ENOENT, "this system cannot open it again", path) from None
