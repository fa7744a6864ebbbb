"""The proxy's process: `python -m tests.faulty_s3 HOST:PORT`. One order a line comes in, one answer a line goes out."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.faulty_s3.line import Line


def main(server: str) -> None:
    lines: dict[int, Line] = {}
    for text in sys.stdin:
        sys.stdout.write(json.dumps(obey(json.loads(text), lines, server)) + "\n")
        sys.stdout.flush()


def obey(order: dict[str, Any], lines: dict[int, Line], server: str) -> dict[str, Any]:
    do = order.pop("do")
    if do == "open":
        line = Line(server, **order)
        lines[line.port] = line
        return {"port": line.port}
    line = lines[order["port"]]
    if do == "cut":
        line.cut(order["how"])
    elif do == "expire":
        line.expired_keys.add(order["key"])
    elif do == "close":
        lines.pop(line.port).close()
    return line.tally()


if __name__ == "__main__":
    main(sys.argv[1])
