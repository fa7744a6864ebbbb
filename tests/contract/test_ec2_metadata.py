"""The metadata service of an instance, over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import pytest

from sc.errors import CloudError
from sc.fleets.ec2_instance import InstanceSide, Metadata
from tests.fakes.http_server import http_server


class Imds(BaseHTTPRequestHandler):
    """Version 2, with a token that is good for one answer only."""

    tokens = 0
    asked = 0
    troubles: ClassVar[list[str]] = []
    """What becomes of the next requests for a token: `503`, or `silence`."""

    def do_PUT(self) -> None:
        Imds.asked += 1
        if Imds.troubles:
            if Imds.troubles.pop(0) == "silence":
                self.rfile.read(1)  # until the asker has had enough
            else:
                self._answer(503, "")
            return
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
        Imds.tokens += 1
        self._answer(200, f"token-{Imds.tokens}")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != f"token-{Imds.tokens}":
            self._answer(401, "")
        elif self.path == "/latest/meta-data/instance-id":
            self._answer(200, "i-7")
        elif self.path == "/latest/dynamic/instance-identity/document":
            self._answer(200, '{"instanceId": "i-7", "region": "eu-west-1"}')
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
    Imds.tokens, Imds.asked, Imds.troubles = 0, 0, []
    with http_server(Imds) as url:
        yield url


def test_the_metadata_service_is_asked_with_a_token_that_is_renewed(imds: str) -> None:
    metadata = Metadata(imds)
    assert metadata.get("meta-data/instance-id") == "i-7"
    assert metadata.get("meta-data/spot/instance-action") is None
    Imds.tokens += 1
    assert metadata.get("meta-data/instance-id") == "i-7"


def test_no_metadata_service_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=r"refused|unreachable"):
        Metadata("http://127.0.0.1:1").get("meta-data/instance-id")


def test_a_worker_asks_a_late_service_again(imds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds)
    Imds.troubles[:] = ["503", "silence", "silence"]
    here = InstanceSide.on_this_machine("s3://bucket/.sc/job", pauses=[0.0] * 30, seconds=0.5)
    assert (here.id, here.region) == ("i-7", "eu-west-1")
    assert Imds.troubles == []


def test_a_service_that_never_answers_is_told(imds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds)
    Imds.troubles[:] = ["silence", "503"] * 10
    with pytest.raises(CloudError, match="does not answer"):
        InstanceSide.on_this_machine("s3://bucket/.sc/job", pauses=[0.0] * 3, seconds=0.2)
    assert Imds.asked == 4


def test_where_there_is_none_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(CloudError, match="This is no EC2 instance"):
        InstanceSide.on_this_machine("s3://bucket/.sc/job")
