"""One HTTP request and its answer, over connections that are kept.

The standard library's `http.client` needs a third of the time that botocore's HTTP session
needs per request, and nothing here wants more: retries, signatures and meanings are the client's.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import select
import socket
import ssl
import sys
import termios
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from typing import Callable, NamedTuple, Optional, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from sc.storage.s3_receiver import Response, receive

_SMALL_BYTES = 64 * 1024
_SENT_AT_ONCE = 256 * 1024
"""`sendall` takes the time-out for the whole of its data: a large part over a thin line needs more."""


class Request(NamedTuple):
    """What goes over the wire."""

    method: str
    url: str
    """`https://host:port`, without a path."""
    target: str
    """Path and query, encoded."""
    headers: Mapping[str, str]
    body: bytes = b""


class Trouble(Exception):
    """No answer.

    `reached`: a connection was there, so that the request may have taken effect.
    `distrusted`: the certificate is not one that we trust, and asking again is no use.
    """

    def __init__(self, reason: str, reached: bool, distrusted: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.reached, self.distrusted = reason, reached, distrusted


class Transport(Protocol):
    """Sends one request, once. Raises Trouble if no whole answer comes."""

    def moved(self) -> int:
        """A number that changes while bodies move, and stays while everything waits for answers."""

    def __call__(self, request: Request, connect_seconds: float, read_seconds: float) -> Response:
        """The answer, whatever its status; the seconds bound each wait, not their sum."""


class Connections:
    """The real transport: a pool of connections for the threads of one process.

    After a fork the child starts with an empty pool, so that it never shares a socket.
    """

    def __init__(
        self, ca_file: Callable[[], str], proxies: Callable[[str], Mapping[str, str]]
    ) -> None:
        """`ca_file` tells the file of certificates to trust, asked for when one is needed;
        `proxies` tells, for a URL, the proxy of each scheme on the way there.
        """
        self._ca_file, self._proxies = ca_file, proxies
        self._proxy_of: dict[str, SplitResult] = {}
        self._context: Optional[ssl.SSLContext] = None
        self._idle: dict[str, deque[http.client.HTTPConnection]] = {}
        self._process = os.getpid()
        self._sent_bytes = 0
        self._busy: set[socket.socket] = set()
        """On which something is being sent, or an answer is waited for."""

    def __call__(self, request: Request, connect_seconds: float, read_seconds: float) -> Response:
        connection = self._take(request.url) or self._connected(request.url, connect_seconds)
        sock = connection.sock
        assert sock is not None
        try:
            sock.settimeout(read_seconds)
            self._busy.add(sock)
            response = self._exchange(connection, request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise Trouble(_reason(error), reached=True) from error
        except BaseException:  # Ctrl-C in the middle: this connection cannot be used again
            connection.close()
            raise
        finally:
            self._busy.discard(sock)
        if connection.sock is not None:
            self._idle[request.url].append(connection)
        return response

    def moved(self) -> int:
        return self._sent_bytes - sum(map(_unsent_bytes, list(self._busy)))

    def close(self) -> None:
        """Close what is idle. Later requests connect anew."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
            idle.clear()

    __del__ = close

    def idle_socket(self, url: str) -> Optional[socket.socket]:
        """The socket that the next request would use, if there is one."""
        idle = self._idle_to(url)
        return idle[-1].sock if idle else None

    def _idle_to(self, url: str) -> deque[http.client.HTTPConnection]:
        if self._process != os.getpid():
            self._process, self._idle = os.getpid(), {}
        return self._idle.setdefault(url, deque())

    def _take(self, url: str) -> Optional[http.client.HTTPConnection]:
        """A connection that still stands; one that the other side closed is left behind."""
        idle = self._idle_to(url)
        while True:
            try:
                connection = idle.pop()
            except IndexError:
                return None
            if connection.sock is not None and not _readable(connection.sock):
                return connection
            connection.close()

    def _connected(self, url: str, seconds: float) -> http.client.HTTPConnection:
        connection = self._new(url, seconds)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise Trouble(_reason(error), reached=False, distrusted=True) from error
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            connection.close()
            raise Trouble(_reason(error), reached=False) from error
        assert connection.sock is not None
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    def _new(self, url: str, seconds: float) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        proxy = self._proxy(url)
        if not secure:
            if proxy.hostname:
                host, port = proxy.hostname, proxy.port or 80
            return http.client.HTTPConnection(host, port, timeout=seconds)
        if self._context is None:
            self._context = self._trusting()
        if not proxy.hostname:
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=self._context)
        tunnel = http.client.HTTPSConnection(
            proxy.hostname, proxy.port or 80, timeout=seconds, context=self._context
        )
        tunnel.set_tunnel(host, port, _proxy_headers(proxy.username, proxy.password))
        return tunnel

    def _trusting(self) -> ssl.SSLContext:
        file = self._ca_file()
        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:
            reason = f"the certificates in {file} cannot be read, {_reason(error)}"
            raise Trouble(reason, reached=False, distrusted=True) from error

    def _absolute(self, request: Request) -> tuple[str, Mapping[str, str]]:
        """Target and headers: a proxy for plain http wants the whole URL, and who we are."""
        proxy = self._proxy(request.url)
        if not proxy.hostname or request.url.startswith("https:"):
            return request.target, request.headers
        extra = _proxy_headers(proxy.username, proxy.password)
        return request.url + request.target, {**request.headers, **extra}

    def _exchange(self, connection: http.client.HTTPConnection, request: Request) -> Response:
        head, body = _head(request, *self._absolute(request)), request.body
        try:
            if len(body) <= _SMALL_BYTES:
                connection.send(
                    head + body
                )  # one packet: a second one costs a tenth of a millisecond
            else:
                connection.send(head)
                self._send_large(connection, body)
        except (BrokenPipeError, ConnectionResetError) as error:
            # A server that refuses may answer before it has read all of the body: hear it out.
            try:
                response = _response(connection, request.method)
            except (OSError, http.client.HTTPException):
                raise error from None
            connection.close()
            return response
        return _response(connection, request.method)

    def _send_large(self, connection: http.client.HTTPConnection, body: bytes) -> None:
        for start in range(0, len(body), _SENT_AT_ONCE):
            connection.send(memoryview(body)[start : start + _SENT_AT_ONCE])
            self._sent_bytes += _SENT_AT_ONCE
        sock = connection.sock
        if sock is not None:  # the kernel still holds some megabytes, which have to go out first
            sock.settimeout(2 * (sock.gettimeout() or 0) or None)

    def _proxy(self, url: str) -> SplitResult:
        """The proxy on the way to `url`; without a host if there is none."""
        proxy = self._proxy_of.get(url)
        if proxy is None:
            told = self._proxies(url).get(urlsplit(url).scheme, "")
            proxy = urlsplit(told if "//" in told or not told else "//" + told)
            self._proxy_of[url] = proxy
        return proxy


def _head(request: Request, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{request.method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if request.body or request.method in ("PUT", "POST"):
        lines.append(f"content-length: {len(request.body)}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header contains the end of a line")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _response(connection: http.client.HTTPConnection, method: str) -> Response:
    assert connection.sock is not None
    response, is_last = receive(connection.sock, method)
    if is_last:
        connection.close()
    return response


def _unsent_bytes(sock: socket.socket) -> int:
    """What the kernel has of ours, and the other side has not acknowledged: tcp(7), SIOCOUTQ."""
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return 0  # closed meanwhile, or another system


def _readable(sock: socket.socket) -> bool:
    """Whether there is something to read on an idle connection, which can only be its end."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))


def _proxy_headers(user: Optional[str], password: Optional[str]) -> dict[str, str]:
    if not user:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": "Basic " + b64encode(pair.encode()).decode()}


def _reason(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer broke off"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted, {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() if isinstance(error, ConnectionError) else error.strerror
    return str(error) or type(error).__name__
