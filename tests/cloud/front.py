"""The fake AWS's front door: sees every call of its API, one at a time, and can meddle.

    front.calls                              what was called, in order
    front.after(3, do)                       run `do(call)` when the 3rd call has taken effect, before its answer
    front.before("CreateLaunchTemplate", do) run `do(call)` before the next such call is let in
    front.fail("CreateAutoScalingGroup", …)  the next such call, or several, are refused

Calls are counted from 1 and only where their caller is "laptop" (machines call when they like).
"""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.cloud import signing

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
LAPTOP = "laptop"
_CODE = re.compile(rb"<Code>([^<]+)</Code>|\"__type\": ?\"(?:[^\"#]*#)?([^\"]+)\"")


@dataclass(frozen=True)
class Call:
    """One call of the API, as its parameters came over the wire (`Tags.member.1.Key`)."""

    number: int
    """Among the calls of the same caller, from 1."""
    caller: str
    """`laptop`, or the id of the instance whose role's keys it was signed with."""
    service: str
    action: str
    parameters: Mapping[str, Any]
    error: Optional[str] = None
    """The code with which it was refused."""

    def __str__(self) -> str:
        return f"{self.service}:{self.action}" + (f" ({self.error})" if self.error else "")


@dataclass
class _Fault:
    action: str
    code: str
    message: str
    times: int
    status: int


Hook = Callable[[Call], None]
Allow = Callable[[Call], Optional[str]]


@dataclass
class Front:
    """A WSGI application around moto's."""

    behind: Wsgi
    lock: threading.RLock
    """Held while a call is carried out: the world stands still for it."""
    caller_of: Callable[[str], Optional[str]]
    """Access key -> caller; None: such a key does not exist."""
    allow: Allow
    """The sentence with which a call is refused as not allowed, or None."""
    services: Mapping[str, Optional[Callable[[Call], Any]]] = field(default_factory=dict)
    """Those that there are: with what answers, as JSON, for those that moto lacks."""
    calls: list[Call] = field(default_factory=list)
    _after: dict[Union[int, str], Hook] = field(default_factory=dict)
    _before: dict[Union[int, str], Hook] = field(default_factory=dict)
    _faults: list[_Fault] = field(default_factory=list)

    def actions(self, caller: Optional[str] = LAPTOP) -> list[str]:
        """The names of the calls of one caller, or of all, in order."""
        return [call.action for call in self.calls if caller in (None, call.caller)]

    def after(self, which: Union[int, str], do: Hook) -> None:
        """`which` is the number of a call, or the name of an action."""
        self._after[which] = do

    def before(self, which: Union[int, str], do: Hook) -> None:
        self._before[which] = do

    def fail(
        self, action: str, code: str, message: str = "told to", times: int = 1, status: int = 400
    ) -> None:
        """Refuse the next `times` calls of `action`, or, if it is "*", of any."""
        self._faults.append(_Fault(action, code, message, times, status))

    def forget(self) -> None:
        """No calls, no hooks, no faults: the next call of the laptop has number 1."""
        with self.lock:
            self.calls.clear()
            self._after.clear()
            self._before.clear()
            self._faults.clear()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self.lock:
            call, style = self._read(environ, body)
            status, headers, answer = self._carry_out(call, style, environ)
            code = _CODE.search(answer) if not status.startswith("2") else None
            error = next(filter(None, code.groups())).decode() if code else None
            done = Call(**{**vars(call), "error": error})
            self.calls.append(done)
            self._run(self._after, done)
        start_response(status, headers)
        return [answer]

    def _read(self, environ: Mapping[str, Any], body: bytes) -> tuple[Call, str]:
        signed = signing.read(environ.get("HTTP_AUTHORIZATION", ""))
        caller = (self.caller_of(signed.key) if signed else None) or ""
        number = 1 + sum(1 for call in self.calls if call.caller == caller)
        service = signed.service if signed else ""
        target = environ.get("HTTP_X_AMZ_TARGET")
        if target:
            action, parameters = target.split(".")[-1], json.loads(body or b"{}")
        else:
            parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
            action = parameters.pop("Action", "")
            parameters.pop("Version", None)
        style = "json" if target else "ec2" if service == "ec2" else "query"
        return Call(number, caller, service, action, parameters), style

    def _carry_out(
        self, call: Call, style: str, environ: dict[str, Any]
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        self._run(self._before, call)
        if not call.caller:
            return _refusal(style, 403, "InvalidClientTokenId", "The security token is invalid.")
        for fault in self._faults:
            if fault.times > 0 and fault.action in ("*", call.action):
                fault.times -= 1
                return _refusal(style, fault.status, fault.code, fault.message)
        sentence = self.allow(call)
        if sentence:
            code = "UnauthorizedOperation" if style == "ec2" else "AccessDenied"
            return _refusal(style, 403, code, sentence)
        if call.service not in self.services:
            return _refusal(style, 400, "UnknownService", f"the box has no {call.service}")
        own = self.services[call.service]
        if own is not None:
            answer = json.dumps(own(call)).encode()
            return "200 OK", _headers("application/x-amz-json-1.1", answer), answer
        answered: list[Any] = []
        pieces = self.behind(
            environ, lambda status, headers, *_: answered.extend([status, headers])
        )
        return answered[0], answered[1], b"".join(pieces)

    def _run(self, hooks: dict[Union[int, str], Hook], call: Call) -> None:
        for which in (call.number, call.action):
            if call.caller == LAPTOP and which in hooks:
                hooks.pop(which)(call)


def _refusal(
    style: str, status: int, code: str, message: str
) -> tuple[str, list[tuple[str, str]], bytes]:
    """An error as the service of this style writes it."""
    kind = "text/xml"
    one = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if style == "json":
        kind = "application/x-amz-json-1.1"
        text = json.dumps({"__type": code, "message": message})
    elif style == "ec2":
        text = (
            f"<Response><Errors><Error>{one}</Error></Errors><RequestID>box</RequestID></Response>"
        )
    else:
        error = f"<Error><Type>Sender</Type>{one}</Error>"
        text = f"<ErrorResponse>{error}<RequestId>box</RequestId></ErrorResponse>"
    reason = "Forbidden" if status == 403 else "Refused"
    return f"{status} {reason}", _headers(kind, text.encode()), text.encode()


def _headers(kind: str, body: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", kind), ("Content-Length", str(len(body)))]
