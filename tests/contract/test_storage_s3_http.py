"""The real transport against servers that misbehave."""

from __future__ import annotations

import os
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable

import pytest
from botocore.httpsession import get_cert_path

from sc.storage.s3_http import Connections, Request, Trouble
from sc.storage.s3_receiver import Response

Talk = Callable[[socket.socket], None]
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "x"\r\n\r\nok'
LONG_SECONDS = 10.0
"""A time-out that is none on a busy machine either."""


class Server:
    """Has a talk with each connection that comes, in turn; the last one with all that follow."""

    def __init__(self, *talks: Talk) -> None:
        self._talks = list(talks)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            talk = self._talks.pop(0) if len(self._talks) > 1 else self._talks[0]
            with connection:
                connection.settimeout(10)
                with suppress(OSError):
                    talk(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def serving(*talks: Talk) -> Iterator[Server]:
    server = Server(*talks)
    try:
        yield server
    finally:
        server.close()


def hear(connection: socket.socket) -> bytes:
    """The next request, with its body; empty when the other side has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line[15:]):
                body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def saying(*answers: bytes) -> Talk:
    """Answers each request with the next of these, then closes."""

    def talk(connection: socket.socket) -> None:
        for answer in answers:
            if not hear(connection):
                return
            connection.sendall(answer)

    return talk


def ask(
    connections: Connections,
    server: Server,
    method: str = "GET",
    body: bytes = b"",
    read_seconds: float = LONG_SECONDS,
) -> Response:
    request = Request(method, server.url, "/a", {"host": f"127.0.0.1:{server.port}"}, body)
    return connections(request, LONG_SECONDS, read_seconds)


def plain(proxies: Mapping[str, str] | None = None) -> Connections:
    return Connections(lambda: os.devnull, lambda url: proxies or {})


def test_a_connection_is_kept() -> None:
    connections = plain()
    with serving(saying(*[OK] * 5)) as server:
        answers = [ask(connections, server, "PUT", b"x" * size) for size in (0, 1, 10**5, 10**6)]
        assert server.connections == 1
        connections.close()
    assert answers == [Response(200, {"content-length": "2", "etag": '"x"'}, b"ok")] * 4


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    """So that an idle minute does not make the outcome of the next write unknown."""
    connections = plain()
    with serving(saying(OK)) as server:
        ask(connections, server)
        idle = connections.idle_socket(server.url)
        assert idle is not None
        idle.settimeout(5)
        assert idle.recv(1, socket.MSG_PEEK) == b""
        assert ask(connections, server).body == b"ok"
        assert server.connections == 2
        connections.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nhalf", "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\nhal", "broke off"),
        (b"HTTP/1.1 200 OK\r\n\r\nno length at all", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "broke off"),
        (b"HTTP/1.1 200 OK\r\n", "broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
        (b"", "closed connection without response"),
    ],
)
def test_half_an_answer_is_none(answer: bytes, reason: str) -> None:
    connections = plain()
    with serving(saying(answer)) as server, pytest.raises(Trouble, match=reason) as caught:
        ask(connections, server)
    assert caught.value.reached


@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_answer_of_many_megabytes_arrives_whole(is_chunked: bool) -> None:
    body = bytes(range(256)) * (40 * 4096)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    sent = head + body
    if is_chunked:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        sent = chunked + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    connections = plain()
    with serving(saying(sent)) as server:
        assert ask(connections, server).body == body
        connections.close()


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETa",
        b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "d41d8',
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Ty",
    ],
)
def test_half_the_headers_are_none(method: str, cut: bytes) -> None:
    with serving(saying(cut)) as server, pytest.raises(Trouble, match="broke off"):
        ask(plain(), server, method)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_answer_that_is_longer_than_it_says_is_none(method: str) -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n137"
    with serving(saying(long)) as server, pytest.raises(Trouble, match="longer than it said"):
        ask(plain(), server, method)


@pytest.mark.parametrize("method", ["HEAD", "PUT"])
def test_an_answer_may_be_the_last_of_its_connection(method: str) -> None:
    last = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    connections = plain()
    with serving(saying(last)) as server:
        assert ask(connections, server, method).status == 200
        idle = connections.idle_socket(server.url)
        assert idle is not None
        select.select([idle], [], [], 10)  # the server closes it a moment after its answer
        assert ask(connections, server, method).status == 200
        assert server.connections == 2
        connections.close()


def test_an_answer_in_chunks_is_whole() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    )
    connections = plain()
    with serving(saying(chunked, OK)) as server:
        assert ask(connections, server).body == b"onetwo"
        assert ask(connections, server).body == b"ok"
        assert server.connections == 1
        connections.close()


def test_a_head_has_no_body_whatever_its_length_says() -> None:
    connections = plain()
    with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", OK)) as server:
        assert ask(connections, server, "HEAD") == Response(200, {"content-length": "999"}, b"")
        assert ask(connections, server).body == b"ok"
        connections.close()


def test_a_stall_ends() -> None:
    def stall(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    with serving(stall) as server, pytest.raises(Trouble, match="no answer in time") as caught:
        ask(plain(), server, read_seconds=0.5)
    assert caught.value.reached


def test_a_thin_line_is_no_stall() -> None:
    """The whole takes longer than the time-out, but there is always something that moves."""

    def sip(connection: socket.socket) -> None:
        head = connection.recv(4096).partition(b"\r\n\r\n")
        left = (24 << 20) - len(head[2])
        while left > 0:
            time.sleep(0.1)
            some = len(connection.recv(min(left, 1 << 20), socket.MSG_WAITALL))
            if not some:
                return
            left -= some
        connection.sendall(OK)

    def try_it() -> bytes:
        connections = plain()
        with serving(sip) as server:
            answer = ask(connections, server, "PUT", b"x" * (24 << 20), read_seconds=1.0)
            connections.close()
        return answer.body

    for tries_left in (2, 1, 0):  # a busy machine may stand still for a second, but not each time
        try:
            assert try_it() == b"ok"
            return
        except Trouble as trouble:
            if not tries_left or trouble.reason != "no answer in time":
                raise


def test_a_refusal_before_the_body_was_read_is_heard() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!!")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    with serving(refuse) as server:
        answer = ask(plain(), server, "PUT", b"x" * (8 << 20))
    assert (answer.status, answer.body) == (403, b"no!!")


def test_nobody_listens() -> None:
    with serving(saying(OK)) as server:
        pass
    with pytest.raises(Trouble, match="refused") as caught:
        ask(plain(), server)
    assert not caught.value.reached


def test_a_name_that_does_not_exist() -> None:
    request = Request("GET", "http://no-such-host.invalid", "/", {})
    with pytest.raises(Trouble) as caught:
        plain()(request, LONG_SECONDS, LONG_SECONDS)
    assert not caught.value.reached


def test_no_header_smuggles_another() -> None:
    connections = plain()
    with serving(saying(OK)) as server:
        request = Request("GET", server.url, "/", {"if-match": '"a"\r\nx-amz-acl: public-read'})
        with pytest.raises(Trouble, match="end of a line"):
            connections(request, LONG_SECONDS, LONG_SECONDS)


def test_a_proxy_is_asked_for_the_whole_address() -> None:
    heard: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        heard.append(hear(connection))
        connection.sendall(OK)

    with serving(proxy) as server:
        connections = plain({"http": f"http://user:pass%40word@127.0.0.1:{server.port}"})
        request = Request("GET", "http://bucket.example", "/a?b", {"host": "bucket.example"})
        assert connections(request, LONG_SECONDS, LONG_SECONDS).body == b"ok"
        connections.close()
    head = heard[0].decode().split("\r\n")
    assert head[0] == "GET http://bucket.example/a?b HTTP/1.1"
    assert "Proxy-Authorization: Basic dXNlcjpwYXNzQHdvcmQ=" in head


def test_a_child_does_not_share_its_parents_connection() -> None:
    connections = plain()
    with serving(saying(*[OK] * 3)) as server:
        ask(connections, server)
        mine = connections.idle_socket(server.url)
        child = os.fork()
        if child == 0:
            os._exit(0 if connections.idle_socket(server.url) is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert connections.idle_socket(server.url) is mine
        connections.close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate of its own authority for 127.0.0.1, and its key."""
    files = str(tmp_path / "certificate"), str(tmp_path / "key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=test", "-addext"]
    command += ["subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files


def secured(certificate: tuple[str, str], talk: Talk) -> Talk:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def secure(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as safe:
            talk(safe)

    return secure


def test_a_certificate_is_checked(certificate: tuple[str, str]) -> None:
    with serving(secured(certificate, saying(OK, OK))) as server:
        request = Request("GET", f"https://127.0.0.1:{server.port}", "/", {})
        trusting = Connections(lambda: certificate[0], lambda url: {})
        assert trusting(request, LONG_SECONDS, LONG_SECONDS).body == b"ok"
        assert trusting(request, LONG_SECONDS, LONG_SECONDS).body == b"ok"
        assert server.connections == 1
        trusting.close()
        others = Connections(lambda: str(get_cert_path(True)), lambda url: {})
        with pytest.raises(Trouble, match="not trusted") as caught:
            others(request, LONG_SECONDS, LONG_SECONDS)
    assert caught.value.distrusted


def test_a_missing_file_of_certificates_is_named() -> None:
    request = Request("GET", "https://127.0.0.1:1", "/", {})
    with pytest.raises(Trouble, match="the certificates in /no/file cannot be read") as caught:
        Connections(lambda: "/no/file", lambda url: {})(request, LONG_SECONDS, LONG_SECONDS)
    assert caught.value.distrusted


def test_a_proxy_is_tunnelled_through_for_tls(certificate: tuple[str, str]) -> None:
    heard: list[bytes] = []

    def tunnel(connection: socket.socket) -> None:
        heard.append(hear(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        secured(certificate, saying(OK))(connection)

    with serving(tunnel) as server:
        proxies = {"https": f"http://127.0.0.1:{server.port}"}
        connections = Connections(lambda: certificate[0], lambda url: proxies)
        request = Request("GET", "https://127.0.0.1:9", "/a", {"host": "127.0.0.1:9"})
        assert connections(request, LONG_SECONDS, LONG_SECONDS).body == b"ok"
        connections.close()
    assert heard[0].startswith(b"CONNECT 127.0.0.1:9 HTTP/1.")
