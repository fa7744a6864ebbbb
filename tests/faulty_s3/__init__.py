"""A proxy between sc and a real S3 server that hurts what goes through it, in a process of its own.

    with faulty_s3(server) as proxy:
        line = proxy.line(["503", "reset after"], share=0.2)    a port of its own, with its own weather
        line.environment()                    what leads sc through it to the server
        line.cut("black hole"); line.mend()   a total outage, and its end
        line.tally()                          how many requests it saw, and how many faults of each kind it injected

    sc (savers, clerks, watchers …) ──▶ line ──▶ server
                                         │ ▲
                     share, rate, clock ─┘ └── the test's orders, over a pipe

Lines of one proxy do not know each other, so several jobs under different faults can go on at the same time.
What is hurt is chosen by a seeded generator; of the kinds that fit a request, the one that came least is next.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Optional
from urllib.parse import urlsplit

from tests.faulty_s3.faults import KINDS
from tests.servers import S3Server

ROOT = Path(__file__).resolve().parent.parent.parent
PASSING = tuple(kind for kind in KINDS if kind != "stall")
"""All kinds that cost no time-out."""


class Tally(NamedTuple):
    """What a line has seen."""

    requests: int
    lists: int
    """Requests for a page of a listing."""
    deletes: int
    """Requests that remove something."""
    faults: Counter[str]
    """By kind; also `over the rate`, `wrong clock`, `expired key` and `outage`."""


class FaultyS3:
    """The proxy's process, as tests speak to it. Thread-safe."""

    def __init__(self, process: subprocess.Popen[str], server: S3Server) -> None:
        self._process, self._server, self._lock = process, server, Lock()

    def line(
        self,
        kinds: Sequence[str] = (),
        share: float = 0.0,
        rate: Optional[float] = None,
        clock_seconds: float = 0.0,
        most: Optional[int] = None,
    ) -> FaultyLine:
        """Open a port on which that share of the requests is hurt in these ways, `most` of them at most.

        `rate`: what comes faster, in requests per second, is refused with SlowDown. `clock_seconds`: how far the
        server's clock is before ours.
        """
        weather = {"kinds": list(kinds), "share": share, "rate": rate, "most": most}
        told = self._order(do="open", clock_seconds=clock_seconds, **weather)
        return FaultyLine(int(told["port"]), self._server, self._order)

    def _order(self, **words: Any) -> Mapping[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            return dict(json.loads(self._process.stdout.readline()))


@dataclass(frozen=True)
class FaultyLine:
    """One port of the proxy."""

    port: int
    server: S3Server
    _order: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> Mapping[str, str]:
        """Like the server's own."""
        return {**self.server.environment(), "AWS_ENDPOINT_URL": self.url}

    def tally(self) -> Tally:
        told = self._order(do="tell", port=self.port)
        return Tally(told["requests"], told["lists"], told["deletes"], Counter(told["faults"]))

    def cut(self, how: str) -> None:
        """From now on connections are `refused`, or end in a `black hole`; also those that are there already."""
        self._order(do="cut", port=self.port, how=how)

    def mend(self) -> None:
        """The outage is over."""
        self._order(do="cut", port=self.port, how="")

    def expire(self, access_key: str) -> None:
        """From now on this key gets ExpiredToken."""
        self._order(do="expire", port=self.port, key=access_key)

    def close(self) -> None:
        """Nothing listens there any more."""
        self._order(do="close", port=self.port)


@contextmanager
def faulty_s3(server: S3Server) -> Iterator[FaultyS3]:
    """A proxy before this server, ended with the block; it ends by itself when we die."""
    address = urlsplit(server.url).netloc
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faulty_s3", address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield FaultyS3(process, server)
