"""Signature Version 4, to check what a machine signed with its role's keys and to sign it anew.

The S3 server of the box knows one user and no session tokens; a machine has keys of its own and a token. So its
requests are checked as AWS would check them, and then signed with the keys that the server knows.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/,]+)/(?P<day>\d{8})/(?P<region>[^/,]+)/(?P<service>[^/,]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<names>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True)
class Credentials:
    key: str
    secret: str
    token: Optional[str] = None


@dataclass(frozen=True)
class Signed:
    """What an Authorization header says."""

    key: str
    day: str
    region: str
    service: str
    names: Sequence[str]
    signature: str


@dataclass(frozen=True)
class Request:
    """What is signed of a request; the names of headers are in lower case."""

    method: str
    target: str
    """Path and query as they were sent."""
    headers: Mapping[str, str]
    body: bytes = b""
    """Only of one that names objects in it; of others it goes by unseen."""

    @property
    def path(self) -> str:
        """The path as S3 has it signed: encoded once."""
        return quote(unquote(urlsplit(self.target).path), safe="/-._~")

    @property
    def query(self) -> str:
        pairs = parse_qsl(urlsplit(self.target).query, keep_blank_values=True)
        encoded = sorted(
            (quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in pairs
        )
        return "&".join(f"{name}={value}" for name, value in encoded)


def read(authorization: str) -> Optional[Signed]:
    match = _AUTHORIZATION.match(authorization)
    if match is None:
        return None
    found = match.groupdict()
    names = found.pop("names").split(";")
    return Signed(names=names, **found)


def refusal(request: Request, signed: Signed, expected: Credentials) -> Optional[str]:
    """The code of the error with which S3 would answer, or None if the request is well signed."""
    if expected.token != request.headers.get("x-amz-security-token"):
        return "InvalidToken"
    if "host" not in signed.names:
        return "SignatureDoesNotMatch"
    mine = signature(request, signed, expected.secret)
    return None if hmac.compare_digest(mine, signed.signature) else "SignatureDoesNotMatch"


def sign(request: Request, signed: Signed, credentials: Credentials) -> str:
    """An Authorization header with the same date, scope and headers, by other keys."""
    names = [name for name in signed.names if name in request.headers]
    anew = Signed(credentials.key, signed.day, signed.region, signed.service, names, "")
    scope = f"{credentials.key}/{signed.day}/{signed.region}/{signed.service}/aws4_request"
    mine = signature(request, anew, credentials.secret)
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(names)}, Signature={mine}"


def signature(request: Request, signed: Signed, secret: str) -> str:
    headers = request.headers
    canonical = "\n".join(
        [
            request.method,
            request.path,
            request.query,
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed.names),
            "",
            ";".join(signed.names),
            headers.get("x-amz-content-sha256", ""),
        ]
    )
    day_scope = f"{signed.day}/{signed.region}/{signed.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", headers.get("x-amz-date", ""), day_scope, digest])
    key = ("AWS4" + secret).encode()
    for part in day_scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
