"""A headless Chromium, spoken to over a pipe: no driver, no network.

with browser(folder) as chromium:
    page = chromium.open(path, width=390, dark=True)
    page.evaluate("document.title"); page.problems; page.screenshot()
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

PROGRAM = shutil.which("chromium")
LIMIT_SECONDS = 60.0
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--hide-scrollbars", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
)


class Page:
    """A page that has been loaded."""

    def __init__(self, chromium: Chromium, session: str) -> None:
        self._chromium = chromium
        self._session = session
        self.problems: list[str] = []
        """What it said on the console, or failed to do."""

    def call(self, method: str, **parameters: Any) -> Any:
        """A call of the protocol, to this page."""
        return self._chromium.call(method, parameters, self._session)

    def evaluate(self, expression: str) -> Any:
        """The value of some JavaScript; of a promise what it comes to."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def resize(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def screenshot(self) -> bytes:
        """The whole page, as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])


class Chromium:
    """One browser."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self.process = process
        self._to, self._back = to, back
        self._rest = b""
        self._number = 0
        self._pages: dict[str, Page] = {}
        self._loaded: set[str] = set()

    def open(self, path: Path, width: int, dark: bool = False) -> Page:
        """Load a file and wait until all that belongs to it has been done."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        asked = {"targetId": target, "flatten": True}
        session = self.call("Target.attachToTarget", asked)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded.discard(session)
        page.call("Page.navigate", url=path.as_uri())
        while session not in self._loaded:
            self._hear(self._next(time.monotonic() + LIMIT_SECONDS))
        return page

    def call(self, method: str, parameters: Any, session: Optional[str] = None) -> Any:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        limit = time.monotonic() + LIMIT_SECONDS
        while True:
            answer = self._next(limit)
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._hear(answer)

    def _next(self, limit: float) -> Any:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(0.0, limit - time.monotonic()))
            data = os.read(self._back, 1 << 16) if ready else b""
            assert data, "Chromium does not answer"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _hear(self, message: Any) -> None:
        method, session = message.get("method"), message.get("sessionId", "")
        if method == "Page.loadEventFired":
            self._loaded.add(session)
        elif method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self._pages[session].problems.append(json.dumps(message["params"]))
        elif method == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            if not url.startswith(("file:", "data:")):
                self._pages[session].problems.append(f"asked for {url}")


@contextmanager
def browser(folder: Path) -> Iterator[Chromium]:
    """A Chromium that keeps its things in `folder`, and ends with the block."""
    assert PROGRAM is not None
    read, to = os.pipe()
    back, write = os.pipe()
    # The protocol wants the pipe as descriptors 3 and 4.
    script = f'exec 3<&{read} 4>&{write}; exec "$@"'
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", PROGRAM, *_FLAGS, f"--user-data-dir={folder}/profile"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(read, write),
            start_new_session=True,
        )
    os.close(read)
    os.close(write)
    try:
        yield Chromium(process, to, back)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        os.close(to)
        os.close(back)
