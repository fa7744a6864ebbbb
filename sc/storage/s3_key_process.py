"""The process that fetches keys: one loop, which goes on answering while it waits for a person to type a code."""

from __future__ import annotations

import hmac
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Optional, Union

from sc.storage import question
from sc.storage.s3_errors import CODE_ERROR
from sc.storage.s3_sessions import (
    Refusal,
    cli_call,
    new_session,
    no_terminal,
    refusal_of,
    told_error,
)
from sc.storage.s3_signing import Keys

MESSAGE_BYTES = 1 << 17
RENEW_SECONDS = 600.0
"""Before their end keys are replaced; of those that last for less than an hour, in the last sixth of their time."""
SHARE_OF_LIFE = 1 / 6
ANSWER_SECONDS = 2.0
"""Whoever has keys that are still good waits no longer for others: a lease is to be renewed."""
_HEAR_SECONDS = 1.0
_LOOK_SECONDS = 1.0


class NobodyThereError(Exception):
    """The process of the keys has gone."""


class Door(NamedTuple):
    """Where the process is asked, and what shows that one may."""

    address: str
    secret: str


class Terminal(NamedTuple):
    """Descriptors of where a person sits."""

    reading: int
    writing: int


NO_TERMINAL = Terminal(-1, -1)


class Loan(NamedTuple):
    """Keys, and for how long."""

    keys: Keys
    ends: Optional[float] = None
    """Unix seconds."""
    fetched: float = 0.0

    def is_ending(self, now: float) -> bool:
        """Whether others should be fetched."""
        if self.ends is None:
            return False
        spare = min(RENEW_SECONDS, SHARE_OF_LIFE * max(0.0, self.ends - self.fetched))
        return now >= self.ends - spare

    def has_ended(self, now: float) -> bool:
        return self.ends is not None and now >= self.ends

    def to_json(self) -> Mapping[str, Any]:
        return {"keys": list(self.keys), "ends": self.ends, "fetched": self.fetched}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Loan:
        """Raises TypeError, KeyError or ValueError for what is none."""
        access, secret, token = document["keys"]
        ends = document["ends"]
        return Loan(
            Keys(access, secret, token),
            None if ends is None else float(ends),
            float(document["fetched"]),
        )


class BusyError(Exception):
    """The process of the keys waits for a person, for a program or for AWS."""


def ask(door: Door, rejected: str = "", seconds: Optional[float] = None) -> Union[Loan, Refusal]:
    """The keys of now; not those with the id `rejected`. Waits for as long as fetching takes, or for `seconds`. Raises
    NobodyThereError, BusyError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(seconds)
            connection.connect(door.address)
            connection.send(json.dumps([door.secret, rejected]).encode())
            data = connection.recv(MESSAGE_BYTES)
        document = json.loads(data)
        return Refusal(*document["no"]) if "no" in document else Loan.from_json(document)
    except (socket.timeout, BlockingIOError) as error:
        raise BusyError from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NobodyThereError(str(error)) from error


class _Over(BaseException):
    """Nobody is left who could ask."""


def serve(
    listener: socket.socket,
    life: socket.socket,
    door: Door,
    terminal: Terminal,
    above: Optional[Door],
    loan: Optional[Loan],
) -> None:
    """Be the process, until the other end of `life` is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not SIG_IGN, which a credential_process would inherit. Who has made us ends us, when all is stored.
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(-1)
    _let_go_of_all_but(terminal, listener.fileno(), life.fileno())
    with suppress(_Over):
        _Keys(listener, life, door, terminal, above, loan).serve()


def _let_go_of_all_but(terminal: Terminal, *kept: int) -> None:
    """A pipe of others that is held open here would never end."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    if terminal.reading >= 0:
        os.dup2(terminal.reading, 0)  # a credential_process may have questions
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in (*terminal, *kept):
            with suppress(OSError):
                os.close(int(name))


class _Keys:
    """Asks for keys, and lends them."""

    def __init__(
        self,
        listener: socket.socket,
        life: socket.socket,
        door: Door,
        terminal: Terminal,
        above: Optional[Door],
        loan: Optional[Loan],
    ) -> None:
        self._listener, self._life, self._door, self._terminal = listener, life, door, terminal
        self._above, self._loan = above, loan
        self._waiting: list[tuple[socket.socket, str]] = []
        self._was_asked = False
        """Whether this fetch has needed a code that somebody has typed."""
        self._final: Optional[Refusal] = None
        """What came of the first code: it is not asked for again."""

    def serve(self) -> None:
        while True:
            self._hear(0 if self._waiting else None)
            waiting, self._waiting = self._waiting, []
            for connection, rejected in waiting:
                self._answer(connection, self._keys(rejected))

    def _hear(self, seconds: Optional[float], *more: int) -> bool:
        """Take in what is asked; whether one of `more` has something to read."""
        poll = select.poll()
        for number in (self._listener.fileno(), self._life.fileno(), *more):
            poll.register(number, select.POLLIN)
        ready = [number for number, _ in poll.poll(None if seconds is None else 1000 * seconds)]
        if self._life.fileno() in ready:
            raise _Over
        if self._listener.fileno() in ready:
            self._accept()
        return any(number in ready for number in more)

    def _accept(self) -> None:
        with suppress(Exception):  # whatever a stranger sends
            connection, _ = self._listener.accept()
            if not _is_ours(connection):
                connection.close()
                return
            connection.settimeout(_HEAR_SECONDS)
            secret, rejected = json.loads(connection.recv(MESSAGE_BYTES))
            if not hmac.compare_digest(secret.encode(), self._door.secret.encode()):
                connection.close()
            elif question.is_asked() and self._loan is not None:
                self._answer(connection, self._meanwhile())
            else:
                self._waiting.append((connection, rejected))

    def _meanwhile(self) -> Union[Loan, Refusal]:
        """While a new code is awaited, the old keys are good to their end."""
        loan = self._loan
        if loan is not None and not loan.has_ended(time.time()):
            return loan
        return Refusal(
            CODE_ERROR,
            "the keys have expired, and a new code is asked for on the terminal: type it",
        )

    def _answer(self, connection: socket.socket, answer: Union[Loan, Refusal]) -> None:
        document = {"no": list(answer)} if isinstance(answer, Refusal) else answer.to_json()
        with suppress(OSError), connection:  # nobody waits any more
            connection.send(json.dumps(document).encode())

    def _keys(self, rejected: str) -> Union[Loan, Refusal]:
        now, loan = time.time(), self._loan
        if self._final is not None:
            return self._final
        is_rejected = loan is not None and rejected == loan.keys.access and rejected != ""
        if loan is not None and not is_rejected and not loan.is_ending(now):
            return loan
        found = self._from_above(rejected) or self._fetched(rejected)
        if isinstance(found, Loan):
            self._loan = found
            return found
        if loan is not None and not is_rejected and not loan.has_ended(time.time()):
            return loan
        if loan is None and self._was_asked:
            self._final = found
        return found

    def _from_above(self, rejected: str) -> Optional[Union[Loan, Refusal]]:
        """From who has started this program; None where there is nobody any more."""
        if self._above is None:
            return None
        loan = self._loan
        is_good = loan and rejected != loan.keys.access and not loan.has_ended(time.time())
        try:
            found = ask(self._above, rejected, ANSWER_SECONDS if is_good else None)
        except BusyError:
            return loan
        except NobodyThereError:
            self._above = None
            return None
        return found

    def _fetched(self, rejected: str) -> Union[Loan, Refusal]:
        """A new code that was mistyped is asked for again, since work goes on and waits for it; a first one is not,
        since nothing has begun."""
        while True:
            self._was_asked = False
            try:
                return _fetch(new_session(self._typed, rejected=rejected))
            except Exception as error:  # noqa: BLE001 - botocore's errors, and a program's, have no common root
                refusal = refusal_of(error)
            if not self._was_asked:
                return refusal
            if refusal.kind != CODE_ERROR:
                reason = f"no keys were given for that code ({refusal.text.rstrip('.')})"
                refusal = Refusal(CODE_ERROR, f"{reason}: try again with the next code")
            if self._loan is None or not self._say(f"sc: {refusal.text}\n"):
                return refusal

    def _typed(self, text: str) -> str:
        """A code, from the terminal."""
        if not self._is_in_front():
            raise told_error(no_terminal(text))
        if self._loan is not None:
            text = f"\nsc: the AWS keys end soon, and others need a new code.\n{text}"
        self._was_asked = True
        question.note(True)
        try:
            self._say(text)
            while not self._hear(_LOOK_SECONDS, self._terminal.reading):
                pass
            typed = os.read(self._terminal.reading, 1024).decode("utf-8", "replace")
        except OSError:
            typed = ""
        finally:
            question.note(False)
        if not typed.strip():
            raise told_error(
                Refusal(CODE_ERROR, f"no code was typed: try again, or call `{cli_call()}` first")
            )
        return typed.strip()

    def _is_in_front(self) -> bool:
        """Whether a terminal is there, and what is typed goes to us; who reads elsewhere is stopped."""
        if self._terminal == NO_TERMINAL:
            return False
        try:
            return os.tcgetpgrp(self._terminal.reading) == os.getpgrp()
        except OSError:  # not the one that this session belongs to
            return os.isatty(self._terminal.reading)

    def _say(self, text: str) -> bool:
        try:
            os.write(self._terminal.writing, text.encode())
        except OSError:
            return False
        return True


def _is_ours(connection: socket.socket) -> bool:
    """Anybody on this machine finds the socket: see unix(7) for SO_PEERCRED."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return bool(user == os.getuid())


def _fetch(session: Any) -> Loan:
    """Ask whoever has the keys. Raises what botocore does."""
    from botocore.exceptions import NoCredentialsError

    found = session.get_credentials()
    if found is None:
        raise NoCredentialsError
    # What lasts for less than a quarter of an hour it would fetch a second time at once.
    found._advisory_refresh_timeout = found._mandatory_refresh_timeout = 0
    keys = found.get_frozen_credentials()
    ends = getattr(found, "_expiry_time", None)
    return Loan(
        Keys(keys.access_key, keys.secret_key, keys.token or None),
        None if ends is None else ends.timestamp(),
        time.time(),
    )
