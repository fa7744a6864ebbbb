"""Reads one HTTP answer; what did not arrive whole, or is not all that arrived, is none.

`http.client` takes headers that break off for all of them, and passes over what comes after the announced end.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Mapping
from typing import NamedTuple, Optional

_READ_AT_ONCE = 16 * 1024**2


class Response(NamedTuple):
    """An answer that arrived whole."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def receive(sock: socket.socket, method: str) -> tuple[Response, bool]:
    """The answer to a request of that method, and whether the connection ends with it.

    Raises OSError or HTTPException.
    """
    answer = http.client.HTTPResponse(sock, method=method)
    answer.fp.close()
    reader = answer.fp = _Reader(sock.makefile("rb", buffering=0))
    try:
        answer.begin()
        if reader.line.strip(b"\r\n") or not reader.line:
            raise http.client.IncompleteRead(b"")  # its headers ended without the empty line
        body = _body(answer)
        found = {name.lower(): value for name, value in answer.getheaders()}
        bounded = "content-length" in found or "chunked" in found.get("transfer-encoding", "")
        if not bounded and answer.status < 300 and method in ("GET", "POST", "HEAD"):
            raise http.client.IncompleteRead(body)  # nothing tells whether this is all of it
        if _has_more(sock, reader):
            raise http.client.HTTPException("the answer was longer than it said")
    finally:
        answer.close()
        reader.end()
    return Response(answer.status, found, body), answer.will_close


def _body(answer: http.client.HTTPResponse) -> bytes:
    """All of it. `read()` makes room at once for as much as the answer promises, which may be any number."""
    if answer.length is not None and answer.length <= _READ_AT_ONCE:
        return answer.read()
    body = b"".join(iter(lambda: answer.read(_READ_AT_ONCE), b""))
    if answer.length:
        raise http.client.IncompleteRead(body, answer.length)
    return body


class _Reader(io.BufferedReader):
    """Knows the last line, and stays open when an answer has got all that it wants."""

    line = b""

    def readline(self, size: Optional[int] = -1, /) -> bytes:
        self.line = super().readline(size)
        return self.line

    def close(self) -> None:
        """Left to `end`."""

    def end(self) -> None:
        super().close()


def _has_more(sock: socket.socket, reader: _Reader) -> bool:
    """Whether something has come that nobody asked for; the end of the connection is not."""
    seconds = sock.gettimeout()
    sock.settimeout(0)
    try:
        return bool(reader.peek(1))
    except OSError:
        return False  # nothing yet, or a connection that is broken only now
    finally:
        sock.settimeout(seconds)
