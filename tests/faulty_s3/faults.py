"""The ways in which one exchange goes wrong: before it took effect, after, or in the middle of it."""

from __future__ import annotations

import io
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Optional

from tests.faulty_s3.wire import Answer, Hangup, Head, Upstream, refusal


@dataclass
class Exchange:
    """One request that has begun to arrive."""

    sock: socket.socket
    reader: io.BufferedReader
    head: Head
    upstream: Upstream
    _body: Optional[bytes] = None

    def body(self) -> bytes:
        """The request's body, taken in to its end."""
        if self._body is None:
            self._body = self.reader.read(self.head.body_bytes)
            if len(self._body) < self.head.body_bytes:
                raise Hangup
        return self._body

    def forward(self) -> Answer:
        """Have it done; again, if it was done already."""
        return self.upstream.ask(self.head, self.body())

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reply(self, answer: Answer) -> None:
        self.send(answer.to_bytes())


Hurt = Callable[[Exchange], None]
"""Does what it does to an exchange; raises Hangup if the connection ends with it."""


class Kind(NamedTuple):
    """One way to go wrong."""

    hurt: Hurt
    fits: Callable[[Head], bool] = lambda head: True
    is_once: bool = False
    """Not twice in a row to the same request."""


def _instead(status: int, code: str) -> Hurt:
    def hurt(exchange: Exchange) -> None:
        exchange.body()
        exchange.reply(refusal(status, code))

    return hurt


def _afterwards(status: int, code: str) -> Hurt:
    def hurt(exchange: Exchange) -> None:
        exchange.forward()
        exchange.reply(refusal(status, code))

    return hurt


def _reset_before(exchange: Exchange) -> None:
    exchange.body()
    raise Hangup(is_rude=True)


def _reset_in_request(exchange: Exchange) -> None:
    exchange.reader.read(exchange.head.body_bytes // 2)
    raise Hangup(is_rude=True)


def _reset_after(exchange: Exchange) -> None:
    exchange.forward()
    raise Hangup(is_rude=True)


def _close_after(exchange: Exchange) -> None:
    exchange.forward()
    raise Hangup


def _half(exchange: Exchange) -> bytes:
    """Half of the body, or half of the head where there is no body."""
    answer = exchange.forward()
    whole = answer.to_bytes()
    return whole[: len(whole) - len(answer.body) // 2 if answer.body else len(whole) // 2]


def _reset_in_answer(exchange: Exchange) -> None:
    exchange.send(_half(exchange))
    raise Hangup(is_rude=True)


def _half_an_answer(exchange: Exchange) -> None:
    exchange.send(_half(exchange))
    raise Hangup


def _length_too_long(exchange: Exchange) -> None:
    answer = exchange.forward()
    exchange.reply(answer.says((answer.length or 0) + 100))
    raise Hangup


def _length_too_short(exchange: Exchange) -> None:
    answer = exchange.forward()
    exchange.reply(answer.says(len(answer.body) // 2))


def _garbage(exchange: Exchange) -> None:
    exchange.body()
    exchange.send(b"\x16\x03\x01\x02\x00 what no HTTP begins with\r\n\r\n" * 10)
    raise Hangup


def _stall(exchange: Exchange) -> None:
    exchange.forward()
    select.select([exchange.sock], [], [])  # until the client has had enough and closes
    raise Hangup


def _twice(exchange: Exchange) -> None:
    """As a proxy does that gets no answer in time and repeats what is idempotent: a condition then meets itself."""
    exchange.forward()
    exchange.reply(exchange.forward())


def _is_conditional(head: Head) -> bool:
    return head.is_conditional


def _has_answer(head: Head) -> bool:
    return head.method == "GET"


KINDS: Mapping[str, Kind] = {
    "500 before": Kind(_instead(500, "InternalError")),
    "500 after": Kind(_afterwards(500, "InternalError")),
    "503": Kind(_instead(503, "SlowDown")),
    "429": Kind(_instead(429, "")),
    "reset before": Kind(_reset_before),
    "reset in the request": Kind(_reset_in_request),
    "reset after": Kind(_reset_after),
    "reset in the answer": Kind(_reset_in_answer),
    "close after": Kind(_close_after),
    "half an answer": Kind(_half_an_answer),
    "length too long": Kind(_length_too_long, lambda head: head.method != "HEAD"),
    "length too short": Kind(_length_too_short, _has_answer),
    "garbage": Kind(_garbage),
    "stall": Kind(_stall),
    "expired": Kind(_instead(400, "ExpiredToken"), is_once=True),
    "409": Kind(_instead(409, "ConditionalRequestConflict"), _is_conditional),
    "twice": Kind(_twice),
}
