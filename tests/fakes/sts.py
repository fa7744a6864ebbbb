"""AWS's Security Token Service, as far as AssumeRole goes: gives a server's keys to who has the right code."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Optional
from urllib.parse import parse_qs

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
        with self.lock:
            code = asked.get("TokenCode", [None])[0]
            self.codes.append(code)
            if code is not None and code not in self.right:
                return 403, _DENIED
            seconds = self.seconds[min(self.given, len(self.seconds) - 1)]
            access, secret = self.keys[self.given % len(self.keys)]
            self.given += 1
        ends = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        return 200, _GIVEN.format(access, secret, ends.strftime("%Y-%m-%dT%H:%M:%SZ"))


@contextmanager
def fake_sts(keys: Sequence[tuple[str, str]]) -> Iterator[FakeSts]:
    """One that listens on 127.0.0.1 while the block lasts."""
    fake = FakeSts(keys)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
            status, text = fake.answer(parse_qs(body))
            self.send_response(status)
            self.send_header("content-type", "text/xml")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
