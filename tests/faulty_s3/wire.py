"""Requests and answers as they go over the wire; read whole, passed on unchanged."""

from __future__ import annotations

import http.client
import io
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

_NOT_PASSED_ON = ("transfer-encoding", "connection", "content-length")


class Hangup(Exception):
    """This connection is to be closed; `is_rude`: by a reset."""

    def __init__(self, is_rude: bool = False) -> None:
        super().__init__()
        self.is_rude = is_rude


@dataclass(frozen=True)
class Head:
    """The head of a request."""

    first_line: str
    fields: Sequence[tuple[str, str]]

    @property
    def method(self) -> str:
        return self.first_line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.first_line.split(" ")[1]

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        return {name.lower(): value for name, value in self.fields}

    @property
    def body_bytes(self) -> int:
        return int(self.headers.get("content-length", "0"))

    @property
    def is_conditional(self) -> bool:
        return "if-match" in self.headers or "if-none-match" in self.headers

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and "list-type=2" in self.target

    @property
    def is_delete(self) -> bool:
        return self.method == "DELETE" or (self.method == "POST" and "?delete" in self.target)

    def to_bytes(self) -> bytes:
        lines = [self.first_line, *(f"{name}: {value}" for name, value in self.fields)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_head(reader: io.BufferedReader) -> Optional[Head]:
    """None if the other side has closed."""
    lines = []
    while line := reader.readline().decode("latin-1").rstrip("\r\n"):
        lines.append(line)
    if not lines:
        return None
    pairs = (line.partition(":") for line in lines[1:])
    return Head(lines[0], [(name, value.strip()) for name, _, value in pairs])


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    fields: Sequence[tuple[str, str]]
    """Without those that tell where the body ends."""
    body: bytes
    length: Optional[int]
    """What Content-Length says; the body's own, unless it is of a HEAD, or somebody lies."""

    def says(self, length: int) -> Answer:
        return replace(self, length=length)

    def to_bytes(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        if self.length is not None:
            lines.append(f"Content-Length: {self.length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


def refusal(status: int, code: str, date: str = "") -> Answer:
    """An error as S3 words it; without a code it has no body."""
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>" if code else ""
    fields = [("Content-Type", "application/xml"), *([("Date", date)] if date else [])]
    return Answer(status, fields, body.encode(), len(body))


class Upstream:
    """One kept connection to the server."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._address = (host, int(port))
        self._sock: Optional[socket.socket] = None

    def ask(self, head: Head, body: bytes) -> Answer:
        if self._sock is None:
            self._sock = socket.create_connection(self._address)
        self._sock.sendall(head.to_bytes() + body)
        response = http.client.HTTPResponse(self._sock, method=head.method)
        response.begin()
        content = response.read()
        fields = response.getheaders()
        told = response.getheader("content-length")
        if response.will_close:
            self.close()
        length = int(told) if told and head.method == "HEAD" else len(content)
        kept = [pair for pair in fields if pair[0].lower() not in _NOT_PASSED_ON]
        return Answer(response.status, kept, content, None if response.status == 204 else length)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def close_rudely(sock: socket.socket) -> None:
    """The other side sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
