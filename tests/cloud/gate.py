"""A machine's way out: its sockets, answered from the host.

    serve(socket, handler)     threads that answer what comes in at a socket, until it is closed
    Gate                       passes requests on to one server, if it is open and `admit` lets them

A cut line is silent: what was asked gets no answer until the line is mended.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from typing import Any, Optional, Union
from urllib.parse import parse_qs, urlsplit

from tests.cloud.signing import Request

PIECE = 1 << 18
HOP = frozenset(
    ["connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection", "te"]
)


@dataclass(frozen=True)
class Refusal:
    """An answer that the box gives in the server's place."""

    status: int
    body: bytes
    content_type: str = "application/xml"


Admit = Callable[[Request], Union[Request, Refusal]]


@dataclass
class Gate:
    """From one socket of a machine to one server of the host."""

    upstream: str
    """The server's URL."""
    admit: Admit
    """Returns the request to pass on, or the answer to give."""
    open: threading.Event = field(default_factory=threading.Event)
    closed: bool = False
    """The machine is gone: nobody waits any more."""

    def __post_init__(self) -> None:
        self.open.set()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        return type("GateHandler", (_Passing,), {"gate": self})

    def close(self) -> None:
        self.closed = True
        self.open.set()

    def wait(self) -> None:
        """Return when the line is whole. Raises ConnectionAbortedError when the machine is gone."""
        self.open.wait()
        if self.closed:
            raise ConnectionAbortedError("the machine is gone")


def serve(listening: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
    """Answer, in threads, what comes in until the socket is closed by `hang_up`."""
    threading.Thread(target=_accept, args=(listening, handler), daemon=True).start()


def hang_up(listening: socket.socket) -> None:
    with suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def _accept(listening: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
    while True:
        try:
            connection, address = listening.accept()
        except OSError:
            return
        threading.Thread(target=_talk, args=(connection, address, handler), daemon=True).start()


def _talk(connection: socket.socket, address: Any, handler: Callable[..., Any]) -> None:
    with connection, suppress(OSError, http.client.HTTPException):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handler(connection, address, None)


class _Passing(BaseHTTPRequestHandler):
    """One connection of a machine; it has one of its own to the server."""

    gate: Gate
    protocol_version = "HTTP/1.1"
    upstream: Optional[http.client.HTTPConnection] = None

    def handle(self) -> None:
        try:
            super().handle()
        finally:
            if self.upstream is not None:
                self.upstream.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        return

    def parse_request(self) -> bool:
        self.gate.wait()
        return super().parse_request()

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def _pass_on(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body()
        request = Request(self.command, self.path, headers)
        if self.command == "POST" and "delete" in parse_qs(request.query, keep_blank_values=True):
            request = replace(request, body=b"".join(body))
            body = iter([request.body])
        admitted = self.gate.admit(request)
        if isinstance(admitted, Refusal):
            for _ in body:
                pass
            self._answer(admitted)
            return
        self._relay(self._ask(admitted, body))

    def _ask(self, request: Request, body: Iterator[bytes]) -> http.client.HTTPResponse:
        if self.upstream is None:
            self.upstream = http.client.HTTPConnection(urlsplit(self.gate.upstream).netloc)
        passed = {name: value for name, value in request.headers.items() if name not in HOP}
        whole = request.path + ("?" + request.query if request.query else "")
        self.upstream.putrequest(request.method, whole, skip_host=True, skip_accept_encoding=True)
        for name, value in passed.items():
            self.upstream.putheader(name, value)
        chunked = "transfer-encoding" in request.headers
        if chunked:
            self.upstream.putheader("transfer-encoding", "chunked")
        self.upstream.endheaders()
        for piece in body:
            self.upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.upstream.send(b"0\r\n\r\n")
        return self.upstream.getresponse()

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                pass
            return
        left = int(self.headers.get("content-length") or 0)
        while left > 0:
            piece = self.rfile.read(min(left, PIECE))
            if not piece:
                raise ConnectionError("the machine hung up")
            left -= len(piece)
            yield piece

    def _relay(self, response: http.client.HTTPResponse) -> None:
        self.gate.wait()
        self.send_response_only(response.status, response.reason)
        length = response.getheader("content-length")
        for name, value in response.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        if length is None and response.length is None and self.command != "HEAD":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        while piece := response.read(PIECE):
            self.gate.wait()
            self.wfile.write(piece)

    def _answer(self, refusal: Refusal) -> None:
        self.gate.wait()
        self.send_response_only(refusal.status)
        self.send_header("Content-Type", refusal.content_type)
        self.send_header("Content-Length", str(len(refusal.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(refusal.body)
