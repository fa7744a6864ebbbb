"""The process that fetches AWS keys, while it cannot get any, and among strangers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_SECONDS = 60

BEGIN = """
import json, os, socket, sys, time
from sc.storage import s3_keys
from sc.storage.s3_key_process import Door, ask
name = chr(0) + "sc-test-" + os.urandom(8).hex()
silent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
silent.bind(name)
silent.listen(64)
now = time.time()
loan = {"keys": ["old", "secret", None], "ends": now + 300, "fetched": now - 3600}
s3_keys.begin({"door": [name, "secret"], "loan": loan})
"""
"""Whoever has started this program waits for a person, and the keys end in five minutes."""
STRANGERS = """
found = Door(*json.loads(s3_keys.hand_over())["door"])
def send(data):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        one.connect(found.address)
        one.send(data)
for data in (b'[1, ""]', b"[" * 100000, b"{}", b"null", b'["wrong", ""]', bytes(range(256))):
    send(data)
if os.geteuid() == 0:
    if os.fork() == 0:
        os.setuid(65534)
        send(json.dumps([found.secret, ""]).encode())
        os._exit(0)
    os.wait()
print(ask(found, seconds=20).keys.access)
"""


@pytest.mark.parametrize(
    "then", ["print(s3_keys.lent().access)", STRANGERS], ids=["wait", "strangers"]
)
def test_keys_that_are_good_are_lent_whatever_is_waited_for(then: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + then],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        timeout=LIMIT_SECONDS,
        check=True,
        text=True,
    )
    assert done.stdout == "old\n"
