"""Whether a disk was full, or read-only, while a run went on, as any process of an execution has seen it.

What met a full disk is judged when it has ended, and by then another run may have ended, too, and have made room by
it. So each process looks before it removes something, and what it sees is known to all.
"""

from __future__ import annotations

import mmap
import os
import struct

FEW_BLOCKS = 8
"""So few may have come free, by a heartbeat that was replaced, say, after an output had been cut off."""
FREE_BYTES, FREE_SHARE = 1 << 30, 0.1
"""A disk is short of room while less than the smaller of these is free."""
_SEEN = struct.Struct("dQ")
"""When a full disk was seen last, and which one."""


class Fullness:
    """To be made before the forks, which share it. Moments are those of one clock that only goes forward."""

    def __init__(self) -> None:
        self._seen = mmap.mmap(-1, _SEEN.size)

    def look(self, folder: str, now: float) -> bool:
        """True when nothing more can be written there, so that what is being written may be cut off."""
        try:
            disk = os.statvfs(folder)
            free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
            has_room = (not disk.f_blocks or free > FEW_BLOCKS) and (
                not disk.f_files or disk.f_favail > 0
            )
            if has_room and not disk.f_flag & os.ST_RDONLY:
                return False
            _SEEN.pack_into(self._seen, 0, now, os.stat(folder).st_dev)
        except OSError:
            return False
        return True

    def was_seen(self, folder: str, since: float) -> bool:
        """True when somebody has seen the disk of this folder full at that moment or later."""
        moment, device = _SEEN.unpack_from(self._seen)
        try:
            return bool(moment >= since and device == os.stat(folder).st_dev)
        except OSError:
            return False


def is_short(folder: str) -> bool:
    """True when its disk has little room left."""
    try:
        disk = os.statvfs(folder)
    except OSError:  # somebody has removed it
        return False
    total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    return free < min(FREE_BYTES, FREE_SHARE * total)
