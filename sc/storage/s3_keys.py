"""AWS keys that have to be fetched are fetched in one process, for `sc` and all its children.

    sc (what the user has started)  ─┐
    uploaders, storage process …    ─┼─ asks ──▶ process of the keys ──▶ STS, SSO, credential_process, the terminal
    `sc work` of the local fleet    ─┘                 (sc.storage.s3_key_process)

That process is a fork of the first one, made before the others, if `s3_profiles.are_fetched`. It is asked over a
socket without a file, and answers only who knows a secret that is in no file, variable or descriptor: commands that
`sc` runs get nothing of it. It leaves with the one that has made it. Who does not reach it any more looks for keys
alone, but never asks a person.

A worker of the local fleet, which may outlive whoever started it, has a process of its own, which gets the keys of
that moment over the worker's stdin, and asks the starter's process as long as there is one.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import secrets
import select
import socket
import stat
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, Optional

from sc.storage import FIRST_PROCESS
from sc.storage.s3_errors import Purpose, account_trouble
from sc.storage.s3_key_process import (
    ANSWER_SECONDS,
    MESSAGE_BYTES,
    NO_TERMINAL,
    BusyError,
    Door,
    Loan,
    NobodyThereError,
    Terminal,
    ask,
    serve,
)
from sc.storage.s3_profiles import Profiles, are_fetched, need_code, read_profiles
from sc.storage.s3_sessions import Refusal, new_session, no_terminal, told_error
from sc.storage.s3_signing import Keys

ASK_AGAIN_SECONDS = 10.0
"""For so long a process that has keys near their end does not ask for others."""


HANDED_BYTES = 1 << 15
"""As much as a pipe takes in that nobody reads yet: pipe(7)."""


class _State:
    """Of this process; its forks have it too."""

    def __init__(self) -> None:
        self.door: Optional[Door] = None
        self.loan: Optional[Loan] = None
        self.asked = 0.0
        self.process: Any = None
        self.life: Optional[socket.socket] = None


_state = _State()


@lru_cache(maxsize=1)
def _profiles() -> Profiles:
    return read_profiles(os.environ)


def begin(handed: Optional[Mapping[str, Any]] = None) -> None:
    """Have the process of the keys, if keys are to be fetched here; to be called before forks that need them.

    `handed` is what `take_over` has found. Nothing is asked of anybody yet.
    """
    if _state.door is not None or sys.platform != "linux" or os.getpid() != FIRST_PROCESS:
        return
    if handed is None and not are_fetched(os.environ, _profiles()):
        return
    above = None if handed is None else Door(*handed["door"])
    loan = None if handed is None else Loan.from_json(handed["loan"])
    with suppress(OSError):  # no process or socket more: each then looks for itself
        _start(above, loan)


def _start(above: Optional[Door], loan: Optional[Loan]) -> None:
    door = Door(f"\0sc-keys-{secrets.token_hex(16)}", secrets.token_hex(32))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    terminal = _terminal()
    ours, theirs = socket.socketpair()
    try:
        listener.bind(door.address)
        listener.listen(128)
        context: Any = multiprocessing.get_context("fork")
        process = context.Process(
            target=serve, args=(listener, theirs, door, terminal, above, loan), daemon=True
        )
        process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        listener.close()
        theirs.close()
        for number in set(terminal) - set(NO_TERMINAL):
            os.close(number)
    _state.door, _state.loan, _state.process, _state.life = door, loan, process, ours
    atexit.register(_end)


def _end() -> None:
    if os.getpid() == FIRST_PROCESS and _state.process is not None:
        _state.process.kill()
        _state.process.join()
        _state.process = None


def _terminal() -> Terminal:
    """Where the user sits, as getpass finds it."""
    with suppress(OSError):
        both = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        return Terminal(both, os.dup(both))
    with suppress(OSError):
        if os.isatty(0):
            return Terminal(os.dup(0), os.dup(2))
    return NO_TERMINAL


def lent() -> Optional[Keys]:
    """Keys of the process that fetches them; None where each process looks for its own. Raises what botocore does."""
    door, loan, now = _state.door, _state.loan, time.time()
    if door is None:
        return None
    if (
        loan is not None
        and (not loan.is_ending(now) or 0 <= now - _state.asked < ASK_AGAIN_SECONDS)
        and not loan.has_ended(now)
    ):
        return loan.keys
    if loan is None or loan.has_ended(now):
        return _fetched(door, "")
    _state.asked = now
    try:
        return _fetched(door, "", ANSWER_SECONDS) or loan.keys
    except BusyError:
        return loan.keys


def fetch(place: str) -> None:
    """Have the keys for this place now, while Ctrl-C still means that nothing has begun. Raises StorageError."""
    try:
        lent()
    except Exception as error:  # botocore's errors have no common root
        raise account_trouble(Purpose(place, "read", "s3:GetObject"), error) from error


def forget() -> None:
    """The server says that these keys have expired: get others."""
    door, loan = _state.door, _state.loan
    if door is not None and loan is not None:
        _state.loan = None
        with suppress(Exception):  # the next `lent` tells
            _fetched(door, loan.keys.access)


def _fetched(door: Door, rejected: str, seconds: Optional[float] = None) -> Optional[Keys]:
    try:
        answer = ask(door, rejected, seconds)
    except NobodyThereError:
        _state.door = None  # somebody has killed it
        return None
    if isinstance(answer, Refusal):
        raise told_error(answer)
    _state.loan, _state.asked = answer, time.time()
    return answer.keys


def session() -> Any:
    """A session of botocore with these keys, or those that it finds itself, without asking a person for any."""
    begin()
    if _state.door is None:
        is_first = os.getpid() == FIRST_PROCESS and sys.platform != "linux"
        return new_session(prompt=None if is_first else _ask_nobody)
    return new_session(prompt=_ask_nobody, lend=lent)


def _ask_nobody(text: str) -> str:
    raise told_error(no_terminal(text))


class Validity(NamedTuple):
    """How long what was fetched can be used by whoever cannot ask a person."""

    ends: float
    """Unix seconds."""
    profile: str


def validity() -> Optional[Validity]:
    """Of the keys that have been fetched; None where they end never, or others can be had without a person."""
    loan = _state.loan
    if loan is None or loan.ends is None or not need_code(os.environ, _profiles()):
        return None
    return Validity(loan.ends, _profiles().chosen)


def hand_over() -> Optional[bytes]:
    """For the stdin of a program that is to use our keys, and may outlive us; None if it finds its own."""
    door, loan = _state.door, _state.loan
    if door is None or loan is None:
        return None
    data = json.dumps({"door": list(door), "loan": loan.to_json()}).encode()
    return data if len(data) <= HANDED_BYTES else None


def take_over() -> Optional[Mapping[str, Any]]:
    """What the starter has written to our stdin, which is then empty for all that we start."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return None
    data = os.read(0, MESSAGE_BYTES) if select.select([0], [], [], 0)[0] else b""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        handed = json.loads(data)
        Door(*handed["door"]), Loan.from_json(handed["loan"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return dict(handed)
