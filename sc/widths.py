"""How many people may read a file, and how that is kept by what is derived from it.

A recipe and a batch may hold secrets; whoever may not read these must not find their values in a commands folder or
in a job's place. Bits of execution mean nothing here.
"""

from __future__ import annotations

import functools
import os
import stat
from typing import NamedTuple, Optional

_READ_WRITE = 0o666
_ACCESS_LIST = "system.posix_acl_access"


class Width(NamedTuple):
    """The bits of a mode, and for which group those of the group count. The owner's are always `rw`."""

    mode: int = _READ_WRITE
    group: Optional[int] = None
    """None: whichever group the new file has."""

    def mode_for(self, group: int) -> int:
        """The widest mode that a file of that group may have."""
        mode = self.mode if self.group in (None, group) else _without_group(self.mode)
        return (mode | 0o600) & _READ_WRITE

    @property
    def surely(self) -> int:
        """A mode that is right for any group: with it a file is made, whose group is known only then."""
        return ((self.mode if self.group is None else _without_group(self.mode)) | 0o600) & 0o666

    def settle(self, descriptor: int) -> None:
        """Give a new file, made with the mode `surely`, the mode of its group."""
        if self.group is None:
            return
        group = os.fstat(descriptor).st_gid
        mode = self.mode_for(group) & ~umask()
        if mode != self.surely & ~umask():
            os.fchmod(descriptor, mode)

    def and_(self, other: Width) -> Width:
        """No wider than either."""
        if self.group is None or other.group in (None, self.group):
            return Width(self.mode & other.mode, other.group if self.group is None else self.group)
        return Width(_without_group(self.mode) & _without_group(other.mode))


OPEN = Width()
"""As the umask has it."""
PRIVATE = Width(0o600)
"""Of a draft that gets its own mode before it is published."""


class Widths(NamedTuple):
    """Of what is derived from a batch, and from a recipe."""

    parts: Width = OPEN
    recipe: Width = OPEN


ALL_OPEN = Widths()


def width_of(descriptor: int) -> Width:
    """Of an open file."""
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    try:
        if _ACCESS_LIST in os.listxattr(descriptor):  # the bits of the group are a mask then
            mode = _without_group(mode)
    except (OSError, AttributeError):
        pass  # a file system, or a system, without such lists
    return Width(mode & _READ_WRITE, status.st_gid)


def _without_group(mode: int) -> int:
    """The group's members get what everybody gets."""
    return mode & ~0o070 | (mode & 0o007) << 3 & mode & 0o070


@functools.cache
def umask() -> int:
    """Of this process."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    mask = os.umask(0o077)  # for a moment: other threads may make files meanwhile
    os.umask(mask)
    return mask
