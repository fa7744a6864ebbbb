"""A shell in the cloud in a box, to try `sc` by hand: `python -m tests.cloud [ROOT]`, as root.

`log` follows what the box does. When the shell ends, all is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.cloud.box import Cloud
from tests.cloud.roots import VARIANTS
from tests.servers import s3_server

BUCKET = "box"


def main(words: list[str]) -> int:
    root = words[0] if words else "trixie"
    if root not in VARIANTS or len(words) > 1:
        sys.stderr.write(f"usage: python -m tests.cloud [{'|'.join(VARIANTS)}]\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="sc-box-") as name:
        folder = Path(name)
        with s3_server(folder / "s3") as s3, Cloud(folder / "cloud", s3, root) as cloud:
            s3.client().create_bucket(Bucket=BUCKET)
            log = folder / "log"
            threading.Thread(target=_follow, args=(cloud, log), daemon=True).start()
            sys.stderr.write(
                f"The cloud in a box. Bucket: s3://{BUCKET}. What it does: tail -f $BOX/log\n"
                f"Consoles: $BOX/cloud/machines/<instance>/console. Images for `image`: "
                + ", ".join(f"{cloud.image(one)} ({one})" for one in VARIANTS)
                + "\nLeave with exit: all is gone then.\n"
            )
            environment = {**os.environ, **cloud.environment(), "BOX": name}
            code = subprocess.call([os.environ.get("SHELL", "/bin/sh")], env=environment)
            for kind, names in cloud.leftovers().items():
                sys.stderr.write(f"left, and now gone: {kind}: {', '.join(names)}\n")
        return code


def _follow(cloud: Cloud, log: Path) -> None:
    """Write each call, and each change of a machine, as a line."""
    seen, states = 0, dict[str, str]()
    with log.open("w", buffering=1) as out:
        while True:
            calls = cloud.front.calls[seen:]
            seen += len(calls)
            lines = [f"{call.caller or 'stranger'} {call}" for call in calls]
            for boot in cloud.instances():
                state = f"{boot.state} {boot.end or ''}".strip()
                if states.get(boot.instance_id) != state:
                    states[boot.instance_id] = state
                    lines.append(f"{boot.instance_id} {boot.instance_type} {boot.zone}: {state}")
            out.writelines(f"{time.strftime('%H:%M:%S')} {line}\n" for line in lines)
            time.sleep(0.2)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
