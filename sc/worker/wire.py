"""Messages between two processes of ours, without ever waiting: neither for room in the pipe nor for half a message.

Each message is pickled, with its length before it. Both ends are the same program, so pickling is safe here.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 18


class WireClosedError(Exception):
    """The other side has gone."""


class Wire:
    """One end of the line."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def fileno(self) -> int:
        """Readable when `receive` has news, writable when `flush` can go on."""
        return self._end.fileno()

    @property
    def is_behind(self) -> bool:
        """True while something is left for `flush`."""
        return bool(self._outgoing)

    def send(self, message: object) -> None:
        """Send, or keep for the next `flush`. Raises WireClosedError."""
        data = pickle.dumps(message, protocol=4)
        self._outgoing += _LENGTH.pack(len(data)) + data
        self.flush()

    def flush(self) -> None:
        """Send what is left, as far as there is room. Raises WireClosedError."""
        while self._outgoing:
            try:
                sent = self._end.send(self._outgoing[:_CHUNK])
            except BlockingIOError:
                return
            except OSError as error:
                raise WireClosedError(str(error)) from error
            del self._outgoing[:sent]

    def receive(self) -> list[Any]:
        """The messages that are there. Raises WireClosedError when the other side has gone and all was read."""
        is_closed = not self._read()
        messages = []
        while len(self._incoming) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._incoming)
            end = _LENGTH.size + length
            if len(self._incoming) < end:
                break
            messages.append(pickle.loads(self._incoming[_LENGTH.size : end]))
            del self._incoming[:end]
        if is_closed and not messages:
            raise WireClosedError("end of file")
        return messages

    def close(self) -> None:
        """Hang up."""
        self._end.close()

    def _read(self) -> bool:
        """Take in what is there; False at the end of file."""
        while True:
            try:
                data = self._end.recv(_CHUNK)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self._incoming += data
