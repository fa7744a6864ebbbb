"""Demands of buckets as companies have them, in front of a real S3 server that has none: it refuses in AWS's words.

    with strict_s3(seaweed) as front:
        front.demands = Demands(encryption="aws:kms", kms_key="alias/team")
        front.environment()            leads sc and boto3 here
        front.stored                   what was stored, each with the headers that concern it

A checksum is demanded of each PutObject and UploadPart, as Object Lock with a default retention does, and must fit. The
words are from issues that quote AWS: versity/versitygw#1776, s3tools/s3cmd#1436, buildkite/docs#2344, and
docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html.
"""

from __future__ import annotations

import hashlib
import http.client
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Optional
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from tests.cloud.signing import Credentials, Request, read, sign
from tests.fakes.http_server import http_server
from tests.servers import S3Server

SSE = "x-amz-server-side-encryption"
SSE_HEADERS = (SSE, f"{SSE}-aws-kms-key-id", f"{SSE}-bucket-key-enabled")
USER = "arn:aws:iam::123456789012:user/me"


@dataclass(frozen=True)
class Demands:
    """Empty: what S3 itself demands, and a checksum."""

    encryption: str = ""
    kms_key: str = ""
    bucket_key: str = ""
    payer: str = ""
    denies_key: bool = False
    """KMS lets these credentials not use the key."""
    is_checksum_demanded: bool = True


@dataclass
class Front:
    """A running front."""

    server: S3Server
    url: str = ""
    demands: Demands = field(default_factory=Demands)
    stored: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Target, and headers, of each PutObject, UploadPart and CreateMultipartUpload."""
    refused: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        return {**self.server.environment(), "AWS_ENDPOINT_URL": self.url}

    def answer_to(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Optional[tuple[int, str, str]]:
        """The refusal of a request, or None."""
        query = parse_qs(urlsplit(target).query, keep_blank_values=True)
        is_part = method == "PUT" and "partNumber" in query
        is_new = (method == "PUT" and not is_part) or (method == "POST" and "uploads" in query)
        if self.demands.payer and headers.get("x-amz-request-payer") != self.demands.payer:
            return 403, "AccessDenied", "Access Denied"
        if not is_new and any(name in headers for name in SSE_HEADERS):
            return 400, "InvalidArgument", f"{SSE} is not a valid header of this request"
        if is_new or is_part:
            self.stored.append((target, headers))
        if method == "PUT":
            return self._checked(headers, body, is_part) or (
                self._encrypted(headers, target) if is_new else None
            )
        return self._encrypted(headers, target) if is_new else None

    def _checked(
        self, headers: Mapping[str, str], body: bytes, is_part: bool
    ) -> Optional[tuple[int, str, str]]:
        digests = {
            "content-md5": hashlib.md5(body, usedforsecurity=False).digest(),
            "x-amz-checksum-sha256": hashlib.sha256(body).digest(),
        }
        found = [name for name in digests if name in headers]
        if "x-amz-trailer" in headers or "aws-chunked" in headers.get("content-encoding", ""):
            return (
                501,
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
            )
        if not found and self.demands.is_checksum_demanded:
            what = "Put Part" if is_part else "Put Object"
            words = f"Content-MD5 OR x-amz-checksum- HTTP header is required for {what} requests "
            return 400, "InvalidRequest", words + "with Object Lock parameters"
        if any(headers[name] != b64encode(digests[name]).decode() for name in found):
            return 400, "InvalidDigest", "The Content-MD5 you specified was invalid."
        return None

    def _encrypted(self, headers: Mapping[str, str], target: str) -> Optional[tuple[int, str, str]]:
        wanted = (self.demands.encryption, self.demands.kms_key, self.demands.bucket_key)
        for name, value in zip(SSE_HEADERS, wanted):
            if value and headers.get(name) != value:
                path = urlsplit(target).path.lstrip("/")
                words = f'User: {USER} is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::{path}" '
                return (
                    403,
                    "AccessDenied",
                    words + "with an explicit deny in a resource-based policy",
                )
        if self.demands.denies_key:
            words = f"User: {USER} is not authorized to perform: kms:GenerateDataKey on resource: "
            words += "arn:aws:kms:us-east-1:123456789012:key/1 because no identity-based policy allows the "
            words += "kms:GenerateDataKey action"
            return 403, "AccessDenied", words
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def log_message(self, *args: Any) -> None:
        pass

    def _pass(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length") or 0))
        refusal = self.front.answer_to(self.command, self.path, headers, body)
        if refusal is not None:
            status, code, words = refusal
            self.front.refused.append(f"{self.command} {self.path}: {words}")
            text = f"<Error><Code>{code}</Code><Message>{escape(words)}</Message></Error>".encode()
            self._tell(status, [("Content-Type", "application/xml")], text)
            return
        connection = http.client.HTTPConnection(urlsplit(self.front.server.url).netloc)
        connection.request(self.command, self.path, body, self._signed(headers))
        answer = connection.getresponse()
        self._tell(answer.status, answer.getheaders(), answer.read())
        connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 - the library's names

    def _signed(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Without what the server behind would do, or not know, and signed again."""
        ours = (*SSE_HEADERS, "x-amz-request-payer")
        kept = {name: value for name, value in headers.items() if name not in ours}
        signed = read(headers.get("authorization", ""))
        if signed is not None:
            known = Credentials(*self.front.server.keys)
            kept["authorization"] = sign(Request(self.command, self.path, kept), signed, known)
        return kept

    def _tell(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        dropped = ("transfer-encoding", "connection") + (
            () if self.command == "HEAD" else ("content-length",)
        )
        for name, value in fields:
            if name.lower() not in dropped:
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def strict_s3(server: S3Server) -> Iterator[Front]:
    front = Front(server)
    handler = type("Handler", (_Handler,), {"front": front})
    with http_server(handler) as front.url:
        yield front
