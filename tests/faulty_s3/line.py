"""One port of the proxy: listens, forwards, hurts, and counts. A thread for each connection."""

from __future__ import annotations

import http.client
import random
import socket
import time
from calendar import timegm
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from threading import Condition, Thread
from typing import Any, Optional

from tests.cloud.signing import Credentials, Request, read, sign
from tests.faulty_s3.faults import KINDS, Exchange
from tests.faulty_s3.wire import Answer, Hangup, Head, Upstream, close_rudely, read_head, refusal
from tests.servers import KEYS

SEED = 20261125
MOST_SKEW_SECONDS = 15 * 60
BURST_SECONDS = 0.2
"""What a line with a rate has room for, in seconds of its rate."""


class Line:
    """Opened when it is made. Methods are called from the thread that takes the orders."""

    def __init__(
        self,
        server: str,
        kinds: Sequence[str],
        share: float,
        rate: Optional[float],
        clock_seconds: float,
        most: Optional[int],
    ) -> None:
        self.expired_keys: set[str] = set()
        self._server, self._kinds, self._share = server, kinds, share
        self._rate, self._clock_seconds, self._most = rate, clock_seconds, most
        self._random, self._changed = random.Random(SEED), Condition()
        self._requests, self._faults = 0, Counter[str]()
        self._lists = self._deletes = 0
        self._room, self._filled = (rate or 0.0) * BURST_SECONDS, time.monotonic()
        self._hurt_last: set[tuple[str, str]] = set()
        self._outage = ""
        self._connections: set[socket.socket] = set()
        self._reserved = _bound(0)  # keeps the port ours while nothing listens on it
        self.port: int = self._reserved.getsockname()[1]
        self._listener: Optional[socket.socket] = None
        self._listen()

    def tally(self) -> dict[str, Any]:
        with self._changed:
            counts = {"requests": self._requests, "lists": self._lists, "deletes": self._deletes}
            return {**counts, "faults": dict(self._faults)}

    def cut(self, how: str) -> None:
        """Begin an outage, or end it."""
        with self._changed:
            self._outage = how
            self._changed.notify_all()
            if how == "refused":
                self._close_listener()
                self._end_connections()
        if self._listener is None and how != "refused":
            self._listen()

    def close(self) -> None:
        self.cut("refused")
        self._reserved.close()

    # Connections

    def _listen(self) -> None:
        listener = _bound(self.port)
        listener.listen(256)
        self._listener = listener
        Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            self._listener.close()
            self._listener = None

    def _end_connections(self) -> None:
        for one in list(self._connections):
            self._faults["outage"] += 1
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self._connections.add(sock)
        upstream, is_rude = Upstream(self._server), False
        reader = sock.makefile("rb")
        try:
            while (head := read_head(reader)) is not None:
                self._pass(Exchange(sock, reader, head, upstream))
        except Hangup as hangup:
            is_rude = hangup.is_rude
        except (OSError, http.client.HTTPException):
            is_rude = True
        finally:
            self._connections.discard(sock)
            upstream.close()
            reader.close()
            with suppress(OSError):
                close_rudely(sock) if is_rude else sock.close()

    # One request

    def _pass(self, exchange: Exchange) -> None:
        with self._changed:
            self._requests += 1
            self._lists += exchange.head.is_list
            self._deletes += exchange.head.is_delete
        self._fall_into_outage()
        refused = self._refused(exchange.head)
        if refused is not None:
            exchange.body()
            exchange.reply(refused)
            return
        kind = self._chosen(exchange.head)
        if self._clock_seconds:
            exchange.head = _signed_now(exchange.head)
        if kind:
            KINDS[kind].hurt(exchange)
            return
        answer = exchange.forward()
        self._fall_into_outage()
        exchange.reply(self._dated(answer))

    def _fall_into_outage(self) -> None:
        """If there is one: a black hole says nothing until it is over."""
        with self._changed:
            if not self._outage:
                return
            self._faults["outage"] += 1
            self._changed.wait_for(lambda: self._outage != "black hole")
        raise Hangup(is_rude=True)

    def _refused(self, head: Head) -> Optional[Answer]:
        """The answer to what is not even looked at."""
        with self._changed:
            if not self._has_room():
                self._faults["over the rate"] += 1
                return refusal(503, "SlowDown")
            if self._clock_seconds and abs(self._skew(head)) > MOST_SKEW_SECONDS:
                self._faults["wrong clock"] += 1
                return self._dated(refusal(403, "RequestTimeTooSkewed"))
            if _access_key(head) in self.expired_keys:
                self._faults["expired key"] += 1
                return refusal(400, "ExpiredToken")
        return None

    def _has_room(self) -> bool:
        """Take one from the bucket, if there is one."""
        if self._rate is None:
            return True
        now = time.monotonic()
        room = self._room + (now - self._filled) * self._rate
        self._room, self._filled = min(room, max(1.0, self._rate * BURST_SECONDS)), now
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def _chosen(self, head: Head) -> str:
        """The fault for this request, or nothing. The first that fits is hurt in any case."""
        asked = (head.method, head.target)
        with self._changed:
            was_hurt = asked in self._hurt_last
            self._hurt_last.discard(asked)
            if self._most is not None and sum(self._faults.values()) >= self._most:
                return ""
            fitting = [
                name
                for name in self._kinds
                if KINDS[name].fits(head) and not (was_hurt and KINDS[name].is_once)
            ]
            is_spared = self._random.random() >= self._share and bool(self._faults)
            if is_spared or not fitting:
                return ""
            self._random.shuffle(fitting)
            kind = min(fitting, key=lambda name: self._faults[name])
            self._faults[kind] += 1
            if KINDS[kind].is_once:
                self._hurt_last.add(asked)
            return kind

    # The server's clock

    def _skew(self, head: Head) -> float:
        told = time.strptime(head.headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ")
        return timegm(told) - (time.time() + self._clock_seconds)

    def _dated(self, answer: Answer) -> Answer:
        if not self._clock_seconds:
            return answer
        date = formatdate(time.time() + self._clock_seconds, usegmt=True)
        fields = [pair for pair in answer.fields if pair[0].lower() != "date"]
        return replace(answer, fields=[*fields, ("Date", date)])


def _bound(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    return one


def _access_key(head: Head) -> str:
    signed = read(head.headers.get("authorization", ""))
    return signed.key if signed else ""


def _signed_now(head: Head) -> Head:
    """The same request with the real time, for the server behind us, whose clock is right."""
    signed = read(head.headers.get("authorization", ""))
    if signed is None:
        return head
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {**head.headers, "x-amz-date": now}
    anew = replace(signed, day=now[:8])
    request = Request(head.method, head.target, headers)
    headers["authorization"] = sign(request, anew, Credentials(signed.key, dict(KEYS)[signed.key]))
    return Head(head.first_line, list(headers.items()))
