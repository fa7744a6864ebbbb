"""The instance metadata service of a machine, at 169.254.169.254 in its network.

Version 2: a token is fetched with PUT and shown with each GET; without one the answer is 401, unless the
instance was launched with HttpTokens "optional".
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from typing import Any, Optional

from tests.cloud.signing import Credentials

TTL, TOKEN = "x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"
CREDENTIAL_HOURS = 6


@dataclass
class Metadata:
    """What one machine is told about itself. A test may change it while the machine runs."""

    instance_id: str
    facts: Mapping[str, str]
    """Path below meta-data/ -> text, of what does not change."""
    identity: Mapping[str, Any]
    """The instance identity document."""
    user_data: bytes
    token_required: bool
    role: Optional[str]
    credentials: Credentials
    lifecycle: Callable[[], Optional[str]] = lambda: None
    """What its Auto Scaling group has in mind for it: `InService` or `Terminated`."""
    action: Optional[Mapping[str, str]] = None
    """The spot interruption: `action` and `time`."""
    rebalance_at: Optional[datetime] = None
    silent: bool = False
    """As if there were no such service."""
    asked: list[str] = field(default_factory=list)
    """The paths of all GETs that were answered."""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        return type("MetadataHandler", (_Telling,), {"metadata": self, "tokens": {}})

    def text(self, path: str) -> Optional[str]:
        """The answer below `latest/`, or None: 404."""
        if path == "dynamic/instance-identity/document":
            return json.dumps(self.identity, indent=2)
        if not path.startswith("meta-data"):
            return None
        name = path[len("meta-data") :].strip("/")
        known = {**self.facts, **self._passing()}
        if name in known and not path.endswith(f"{name}/"):
            return known[name]
        return self._role(name) or _listing(known, name)

    def _passing(self) -> dict[str, str]:
        """What is there only at times."""
        found = {}
        lifecycle = self.lifecycle()
        if lifecycle is not None:
            found["autoscaling/target-lifecycle-state"] = lifecycle
        if self.action is not None:
            found["spot/instance-action"] = json.dumps(dict(self.action))
            found["spot/termination-time"] = self.action["time"]
        if self.rebalance_at is not None:
            notice = {"noticeTime": stamp(self.rebalance_at)}
            found["events/recommendations/rebalance"] = json.dumps(notice)
        return found

    def _role(self, name: str) -> Optional[str]:
        if self.role is None:
            return None
        if name == "iam/security-credentials":
            return self.role
        if name != f"iam/security-credentials/{self.role}":
            return None
        now = datetime.now(timezone.utc)
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": stamp(now),
                "Type": "AWS-HMAC",
                "AccessKeyId": self.credentials.key,
                "SecretAccessKey": self.credentials.secret,
                "Token": self.credentials.token,
                "Expiration": stamp(now + timedelta(hours=CREDENTIAL_HOURS)),
            },
            indent=2,
        )


def stamp(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _listing(known: Mapping[str, str], folder: str) -> Optional[str]:
    start = folder + "/" if folder else ""
    below = [name[len(start) :] for name in known if name.startswith(start)]
    if not below:
        return None
    return "\n".join(sorted({one.split("/")[0] + ("/" if "/" in one else "") for one in below}))


class _Telling(BaseHTTPRequestHandler):
    metadata: Metadata
    tokens: dict[str, float]
    """Token -> when it ends, by the monotonic clock."""
    protocol_version = "HTTP/1.1"
    server_version = "EC2ws"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        return

    def do_PUT(self) -> None:
        seconds = self.headers.get(TTL, "")
        if self.path.rstrip("/") != "/latest/api/token" or "x-forwarded-for" in self.headers:
            self._answer(403)
        elif not seconds.isdecimal() or not 1 <= int(seconds) <= 21600:
            self._answer(400)
        else:
            token = secrets.token_urlsafe(40)
            self.tokens[token] = time.monotonic() + int(seconds)
            self._answer(200, token.encode(), {TTL: seconds})

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        shown = self.headers.get(TOKEN)
        if self.metadata.silent:
            self.close_connection = True
        elif self.metadata.token_required if shown is None else not self._holds(shown):
            self._answer(401)
        elif path.startswith("/latest/user-data") and self.metadata.user_data:
            self._answer(200, self.metadata.user_data)
        else:
            text = self.metadata.text(
                path[len("/latest/") :] if path.startswith("/latest/") else ""
            )
            self.metadata.asked.append(path)
            self._answer(404 if text is None else 200, (text or "").encode())

    def _holds(self, token: str) -> bool:
        return self.tokens.get(token, 0.0) > time.monotonic()

    def _answer(
        self, status: int, body: bytes = b"", headers: Optional[Mapping[str, str]] = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
