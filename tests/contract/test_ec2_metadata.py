"""The metadata service of an instance, over the wire."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sc.fleets.ec2_instance import Metadata


class Imds(BaseHTTPRequestHandler):
    """Version 2, with a token that is good for one answer only."""

    tokens = 0

    def do_PUT(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
        Imds.tokens += 1
        self._answer(200, f"token-{Imds.tokens}")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != f"token-{Imds.tokens}":
            self._answer(401, "")
        elif self.path == "/latest/meta-data/instance-id":
            self._answer(200, "i-7")
        else:
            self._answer(404, "")

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def imds() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Imds)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_metadata_service_is_asked_with_a_token_that_is_renewed(imds: str) -> None:
    metadata = Metadata(imds)
    assert metadata.get("meta-data/instance-id") == "i-7"
    assert metadata.get("meta-data/spot/instance-action") is None
    Imds.tokens += 1
    assert metadata.get("meta-data/instance-id") == "i-7"


def test_no_metadata_service_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=r"refused|unreachable"):
        Metadata("http://127.0.0.1:1").get("meta-data/instance-id")
