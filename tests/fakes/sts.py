"""AWS's Security Token Service, and the portal of its single sign-on, as far as roles go: they give a server's keys to
who has the right code, or to anybody."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from typing import Optional
from urllib.parse import parse_qs

from tests.fakes.http_server import http_server

_GIVEN = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/work/me</Arn><AssumedRoleId>A:me</AssumedRoleId>
</AssumedRoleUser><Credentials><AccessKeyId>{0}</AccessKeyId><SecretAccessKey>{1}</SecretAccessKey>
<SessionToken></SessionToken><Expiration>{2}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
_DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>MultiFactorAuthentication failed with invalid MFA one time pass code. </Message>
</Error></ErrorResponse>"""


class FakeSts:
    """What it gives, and whom it was asked by."""

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        self.url = ""
        self.keys = keys
        """Given in turn."""
        self.seconds = [3600.0]
        """For how long: the first, the second …; the last one also to all that follow."""
        self.codes: list[Optional[str]] = []
        """Of each request."""
        self.right = {"123456", "654321"}
        self.given = 0
        self.lock = threading.Lock()

    def answer(self, asked: dict[str, list[str]]) -> tuple[int, str]:
        """Of AssumeRole, or of AssumeRoleWithWebIdentity."""
        with self.lock:
            code = asked.get("TokenCode", [None])[0]
            self.codes.append(code)
            if code is not None and code not in self.right:
                return 403, _DENIED
            seconds = self.seconds[min(self.given, len(self.seconds) - 1)]
            access, secret = self.keys[self.given % len(self.keys)]
            self.given += 1
        ends = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        given = _GIVEN.replace("AssumeRoleRes", f"{asked['Action'][0]}Res")
        return 200, given.format(access, secret, ends.strftime("%Y-%m-%dT%H:%M:%SZ"))

    def role_credentials(self) -> str:
        """What the portal gives: https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/"""
        with self.lock:
            self.codes.append(None)
        access, secret = self.keys[0]
        ends = int(1000 * (datetime.now(timezone.utc).timestamp() + self.seconds[-1]))
        keys = {"accessKeyId": access, "secretAccessKey": secret, "sessionToken": ""}
        return json.dumps({"roleCredentials": {**keys, "expiration": ends}})


@contextmanager
def fake_sts(keys: Sequence[tuple[str, str]]) -> Iterator[FakeSts]:
    """One that listens on 127.0.0.1 while the block lasts."""
    fake = FakeSts(keys)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
            self._send(*fake.answer(parse_qs(body)), "text/xml")

        def do_GET(self) -> None:
            self._send(200, fake.role_credentials(), "application/json")

        def _send(self, status: int, text: str, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    with http_server(Handler) as fake.url:
        yield fake
